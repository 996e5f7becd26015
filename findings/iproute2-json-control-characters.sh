#!/bin/sh
# iproute2 6.1.0 (Debian 12): `ip -j` writes control characters of interface names as they are, so its output is no JSON.
#
# The kernel allows them in names (dev_valid_name refuses only white space, '/' and ':'), RFC 8259 section 7 wants them
# escaped. Seen: the byte 0x1b stands raw inside the string "ifname", and a JSON parser refuses the whole list, so one oddly
# named device hides all others from a program that reads it.
#
# Needs root, apt-get and node. Leaves nothing behind.
set -eu
VERSION=6.1.0-3
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
apt-get -qq -o APT::Sandbox::User=root download "iproute2=$VERSION"
dpkg-deb --extract iproute2_*.deb tree
name=$(printf 'odd\033name')
output=$(unshare --net sh -c '"$1" link add "$2" type veth peer name other && "$1" -j link show' sh "$folder/tree/sbin/ip" "$name")
raw=$(printf '%s' "$output" | LC_ALL=C grep -c "$(printf '\033')" || true)
if printf '%s' "$output" | node -e 'JSON.parse(require("fs").readFileSync(0, "utf8"))' 2>/dev/null; then parses=yes; else parses=no; fi
echo "iproute2 $VERSION: lines with a raw escape: $raw; output is JSON: $parses"
[ "$raw" -ge 1 ] && [ "$parses" = no ]
