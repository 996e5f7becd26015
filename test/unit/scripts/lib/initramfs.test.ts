import test from 'ava';
import { loadOrder } from '../../../../scripts/lib/initramfs.ts';

const MODULES_DEP = [
  'kernel/drivers/virtio/virtio.ko:',
  'kernel/drivers/virtio/virtio_ring.ko: kernel/drivers/virtio/virtio.ko',
  'kernel/drivers/char/virtio_console.ko.xz: kernel/drivers/virtio/virtio_ring.ko kernel/drivers/virtio/virtio.ko',
  'kernel/fs/fuse/fuse.ko:',
  'kernel/fs/fuse/virtio-fs.ko: kernel/fs/fuse/fuse.ko kernel/drivers/virtio/virtio_ring.ko kernel/drivers/virtio/virtio.ko',
  '',
].join('\n');

test('modules come after what they depend on, each once', (t) => {
  t.deepEqual(loadOrder(MODULES_DEP, ['virtio_console', 'virtio_fs']), [
    'kernel/drivers/virtio/virtio.ko',
    'kernel/drivers/virtio/virtio_ring.ko',
    'kernel/drivers/char/virtio_console.ko.xz',
    'kernel/fs/fuse/fuse.ko',
    'kernel/fs/fuse/virtio-fs.ko',
  ]);
});

test('what the kernel has built in is left out', (t) => {
  t.deepEqual(loadOrder(MODULES_DEP, ['overlay', 'fuse']), ['kernel/fs/fuse/fuse.ko']);
});
