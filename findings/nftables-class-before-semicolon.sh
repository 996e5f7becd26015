#!/bin/sh
# nftables 1.0.6 (Debian 12): `meta priority set 0:7;` is a syntax error, `meta priority set 0:7 ;` is the rule that was meant.
#
# A semicolon ends a statement wherever a line's end does (nft(8), "Lexical conventions"), and behind every other value it
# needs no space before it. Behind a traffic class it does: in quotes, before a space or at the end of a line the class is
# read, right before a semicolon the colon is unexpected.
#
# Needs root and apt-get. Leaves nothing behind.
set -eu
VERSION=1.0.6-2+deb12u2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
apt-get -qq -o APT::Sandbox::User=root download "nftables=$VERSION" "libnftables1=$VERSION"
for package in *.deb; do dpkg-deb --extract "$package" tree; done
LD_LIBRARY_PATH=$(dirname "$folder"/tree/usr/lib/*/libnftables.so.1)
export LD_LIBRARY_PATH
# Prints yes when the kernel has the rule afterwards, or what nft says.
takes() {
  printf 'table inet t {\nchain c {\ntype filter hook postrouting priority 0\n%s\n}\n}\n' "$1" >rules
  unshare --net sh -c '"$1" -f rules && "$1" list ruleset' sh "$folder/tree/usr/sbin/nft" >said 2>&1 || true
  if grep -q '^[[:space:]]*meta priority set 0:7$' said; then echo yes; else sed -n '1s/^[^ ]* //p' said; fi
}
close=$(takes 'meta priority set 0:7;')
apart=$(takes 'meta priority set 0:7 ;')
quoted=$(takes 'meta priority set "0:7";')
mark=$(takes 'meta mark set 7; meta priority set 0:7')
echo "nftables $VERSION: 'set 0:7;': $close; 'set 0:7 ;': $apart; 'set \"0:7\";': $quoted; behind 'mark set 7;': $mark"
[ "$close" = 'Error: syntax error, unexpected colon, expecting newline or semicolon' ]
[ "$apart" = yes ] && [ "$quoted" = yes ] && [ "$mark" = yes ]
