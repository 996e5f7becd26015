#!/bin/sh
# Linux 6.18: a new alias or alternative name makes an RTM_NEWLINK only while the device is up.
#
# Whoever follows a node's devices by events (`ip monitor link`, network managers) and not by asking keeps the former ones
# of devices that are down. A change of the name itself is told of, up or down.
# Seen: of the same two changes a device that is up tells twice, one that is down not at all, and has them both.
# do_setlink() and rtnl_linkprop() in net/core/rtnetlink.c call netdev_state_change(), which asks for IFF_UP.
#
# Needs root, apt-get and veth. Leaves nothing behind.
set -eu
VERSION=6.1.0-3
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
apt-get -qq -o APT::Sandbox::User=root download "iproute2=$VERSION"
dpkg-deb --extract iproute2_*.deb tree
# Prints the events of a device's two changes and of the change of its name, and whether it has them all.
cat >change <<'END'
ip=$1 state=$2
"$ip" link add one type veth peer name other
"$ip" link set one "$state"
sleep 0.5
"$ip" -o monitor link >events &
monitor=$!
sleep 0.5
"$ip" link set one alias words
"$ip" link property add dev one altname second
sleep 0.5
quiet=$(grep -c one@ events || true)
"$ip" link set one name renamed
sleep 0.5
kill "$monitor"
named=$(grep -c renamed@ events || true)
has=$("$ip" link show renamed | grep -cE 'alias words|altname second')
echo "$quiet $named $has"
END
up=$(unshare --net sh change "$folder/tree/sbin/ip" up)
down=$(unshare --net sh change "$folder/tree/sbin/ip" down)
echo "Linux $(uname -r), iproute2 $VERSION: events of alias and alternative name, of a new name, and what is there then:" \
  "up $up, down $down"
[ "${up% * *}" = 2 ] && [ "${down% * *}" = 0 ] && [ "${up##* }" = 2 ] && [ "${down##* }" = 2 ]
[ "$(echo "$down" | cut -d' ' -f2)" -ge 1 ]
