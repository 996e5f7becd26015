#!/bin/sh
# First process of the VM, run in the initramfs: makes the root file system out of the machine's own files, then
# hands over to session.sh. /vm/settings holds root (the folder of the machine that is the VM's), tree (the project's tree) and modules (the folder with this
# kernel's modules), both paths of the machine.
bb=/bin/busybox
. /vm/settings

fail() {
  echo "podpace-vm: $1" >/dev/console
  exec $bb poweroff -f
}
must() {
  "$@" || fail "this failed: $*"
}
# Where the machine lacks a mount point, the overlay takes it.
mount_at() {
  point=/root$1
  shift
  $bb mkdir -p "$point"
  must $bb mount "$@" "$point"
}

$bb mount -t proc proc /proc
$bb mount -t sysfs sysfs /sys
$bb mount -t devtmpfs devtmpfs /dev
while read -r module; do
  must $bb insmod "/modules/$module.ko"
done </modules/order

must $bb mount -t virtiofs machine /share
must $bb mount -t tmpfs -o mode=755 overlay /overlay
$bb mkdir /overlay/upper /overlay/work
must $bb mount -t overlay -o lowerdir="/share$root",upperdir=/overlay/upper,workdir=/overlay/work overlay /root

mount_at /proc -o move /proc
mount_at /sys -o move /sys
mount_at /dev -o move /dev
mount_at /dev/pts -t devpts -o ptmxmode=666,mode=620 devpts
mount_at /dev/shm -t tmpfs -o mode=1777 shm
mount_at /run -t tmpfs -o mode=755 run
mount_at /tmp -t tmpfs -o mode=1777 tmp
mount_at /sys/fs/bpf -t bpf bpf
mount_at /sys/fs/cgroup -t cgroup2 cgroup2
mount_at "$tree" -o bind "/share$tree"
mount_at "/lib/modules/$($bb uname -r)" -o bind "/share$modules"
for link in fd:/proc/self/fd stdin:/proc/self/fd/0 stdout:/proc/self/fd/1 stderr:/proc/self/fd/2; do
  [ -e "/root/dev/${link%%:*}" ] || $bb ln -s "${link#*:}" "/root/dev/${link%%:*}"
done

$bb hostname podpace-vm
$bb ip link set lo up
$bb cp -r /vm /root/run/podpace-vm
exec $bb switch_root -c /dev/console /root /bin/sh /run/podpace-vm/session.sh
