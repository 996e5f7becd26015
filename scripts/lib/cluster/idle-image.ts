// An image for pods that do nothing but answer: busybox, and for pods' sandboxes too.

import path from 'node:path';
import { buildImage, fromFile } from '../image/build.ts';
import { buildDirectory } from '../paths.ts';

export const IDLE_IMAGE = 'localhost/idle:1';
export const IDLE_IMAGE_FILE = path.join(buildDirectory, 'cluster', 'idle-image.tar');

/** Of Debian's busybox-static. */
const BUSYBOX = '/bin/busybox';

export async function buildIdleImage(): Promise<void> {
  await buildImage(
    [
      fromFile('/bin/busybox', BUSYBOX, true),
      { path: 'bin/sh', kind: 'symbolic link', target: 'busybox' },
    ],
    {
      ...{ name: IDLE_IMAGE, architecture: process.arch === 'arm64' ? 'arm64' : 'amd64' },
      entrypoint: ['/bin/busybox', 'sleep', '2147483647'],
      labels: {},
    },
    IDLE_IMAGE_FILE,
  );
}
