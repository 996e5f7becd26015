// The tables of proc(5) from which a helper learns who else is there, as the kernel writes them.

import test from 'ava';
import { holderIn } from '../../../../helper/kernel/locks.ts';
import { deviceNumbers, parseMounts } from '../../../../helper/kernel/mounts.ts';
import { listenerIn } from '../../../../helper/kernel/unix-sockets.ts';

test('the holder of a lock is found by device and inode, and a waiter is not it', (t) => {
  // fs/locks.c, lock_get_status: a waiter has an arrow, a lock of fcntl is POSIX.
  const table = [
    '1: POSIX  ADVISORY  WRITE 20016 fe:00:1491125 0 EOF',
    '2: FLOCK  ADVISORY  WRITE 5501 00:04:4026532453 0 EOF',
    '2: -> FLOCK  ADVISORY  WRITE 77 00:1b:12 0 EOF',
    '3: FLOCK  ADVISORY  READ  4814 fe:00:5357619 0 EOF',
    '',
  ].join('\n');
  t.is(holderIn(table, '00:04:4026532453'), 5501);
  t.is(holderIn(table, 'fe:00:5357619'), 4814);
  t.is(holderIn(table, 'fe:00:1491125'), undefined);
  t.is(holderIn(table, '00:1b:12'), undefined);
  t.is(holderIn('', '00:1b:12'), undefined);
});

test('a device number is taken apart as gnu_dev_major and gnu_dev_minor do', (t) => {
  t.deepEqual(deviceNumbers(0x27n), { major: 0n, minor: 0x27n });
  t.deepEqual(deviceNumbers(65024n), { major: 254n, minor: 0n });
  // makedev(0x12345, 0xabcde)
  t.deepEqual(deviceNumbers(0x1_2000_abc3_45den), { major: 0x12345n, minor: 0xabcden });
});

test('mounts are read with their device and type, however many optional fields there are', (t) => {
  // proc_pid_mountinfo(5)
  const table = [
    '36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 shared:2 - ext3 /dev/root rw,errors=continue',
    '52 24 0:39 / /sys/fs/bpf rw,relatime - bpf bpf rw',
    '53 24 0:40 / /with\\040space\\134 rw - tmpfs - rw',
    '',
  ].join('\n');
  t.deepEqual(parseMounts(table), [
    { device: '98:0', mountPoint: '/mnt2', fileSystem: 'ext3' },
    { device: '0:39', mountPoint: '/sys/fs/bpf', fileSystem: 'bpf' },
    { device: '0:40', mountPoint: '/with space\\', fileSystem: 'tmpfs' },
  ]);
});

test('the socket that listens at a path is found, not one that is connected to it', (t) => {
  const table = [
    'Num       RefCount Protocol Flags    Type St Inode Path',
    '00000000d6e77916: 00000003 00000000 00000000 0001 03  1673 /run/podpace/helper.sock',
    '00000000f4758bae: 00000002 00000000 00010000 0001 01 41674 /run/podpace/helper.sock',
    '00000000f4758baf: 00000002 00000000 00010000 0001 01   675 /run/podpace/helper.sock2',
    '00000000f4758bad: 00000003 00000000 00000000 0001 03  1674',
  ].join('\n');
  t.is(listenerIn(table, '/run/podpace/helper.sock'), '41674');
  t.is(listenerIn(table, '/run/podpace/other.sock'), undefined);
});
