#!/bin/sh
# Linux: a filter that is put at `egress` of a device whose qdisc is `ingress` is accepted, and stands at ingress.
#
# `ingress` has one block of filters, clsact two. ingress_tcf_block (net/sched/sch_ingress.c) gives the one for whatever
# class is asked for, and `tc filter ... egress` names clsact's second class, ffff:fff3. So adding there succeeds, and a
# listing of `egress` shows what runs at ingress: a program that looks for its own filter at egress finds the one that it
# put at ingress, and replacing or deleting "the one at egress" takes that one.
#
# Seen on Linux 6.18 with iproute2 6.1.0 (Debian 12): under `ingress` a filter added at egress is listed at ingress
# and at egress; under clsact at egress only.
#
# Needs root and apt-get. Leaves nothing behind.
set -eu
VERSION=6.1.0-3
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
apt-get -qq -o APT::Sandbox::User=root download "iproute2=$VERSION"
dpkg-deb --extract iproute2_*.deb tree
cat > in-namespace.sh <<'END'
set -eu
"$1/sbin/ip" link add left type veth peer name right
for qdisc in ingress clsact; do
  "$1/sbin/tc" qdisc add dev left "$qdisc"
  "$1/sbin/tc" filter add dev left egress pref 9 protocol all u32 match u32 0 0 flowid 1:1
  for hook in ingress egress; do
    "$1/sbin/tc" filter show dev left "$hook" | grep -q flowid && echo "$qdisc: listed at $hook"
  done || true
  "$1/sbin/tc" qdisc del dev left "$qdisc"
done
END
seen=$(unshare --net sh in-namespace.sh "$folder/tree")
echo "Linux $(uname -r), iproute2 $VERSION, a filter added at egress:"
echo "$seen"
[ "$seen" = "ingress: listed at ingress
ingress: listed at egress
clsact: listed at egress" ]
