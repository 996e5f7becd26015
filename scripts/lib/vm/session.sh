#!/bin/sh
# Process 1 of the VM once the root file system stands: runs the command with its output going to the ports named
# stdout and stderr, ends what it left running, and reports `started` and `ended STATUS` on the port named control.
# Both outputs are closed by end_mark: the launcher, which then ends the VM, knows that nothing is still on its way.
cd /run/podpace-vm || exit 1
. ./settings

port() {
  for folder in /sys/class/virtio-ports/*; do
    read -r name <"$folder/name"
    if [ "$name" = "$1" ]; then
      echo "/dev/${folder##*/}"
      return
    fi
  done
}
stdout_port=$(port stdout)
stderr_port=$(port stderr)
control_port=$(port control)

echo started >"$control_port"
mkfifo stdout stderr
cat stdout >"$stdout_port" &
stdout_relay=$!
cat stderr >"$stderr_port" &
stderr_relay=$!

# A session of its own: a signal to the command's whole process group must not meet the relays.
# By its path: where the shell is busybox it would take its own.
/usr/bin/setsid -w /bin/sh ./command.sh </dev/null >stdout 2>stderr &
wait $!
status=$?

for folder in /proc/[0-9]*; do
  pid=${folder#/proc/}
  case $pid in
    1 | "$stdout_relay" | "$stderr_relay") ;;
    *) kill -KILL "$pid" 2>/dev/null ;;
  esac
done
wait "$stdout_relay"
wait "$stderr_relay"
sync
printf '%s' "$end_mark" >"$stdout_port"
printf '%s' "$end_mark" >"$stderr_port"
echo "ended $status" >"$control_port"
while :; do sleep 3600; done
