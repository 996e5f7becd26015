// What a VM of another architecture than this machine's has in the place of this machine's files: a
// small Debian, unpacked under build/.

import fs from 'node:fs';
import path from 'node:path';
import { ensureDebianFiles } from '../debian-files.ts';
import { capture } from '../process.ts';
import { crossDirectory, debianArchitectures, type Architecture } from '../target.ts';

/** `ip` and `tc`, `iperf3`, `setsid` and their libraries; busybox is everything else. */
const PACKAGES = [
  ...['busybox-static', 'util-linux', 'iproute2', 'iperf3', 'libc6', 'libgcc-s1'],
  ...['libbpf1', 'libelf1', 'libmnl0', 'libcap2', 'libtirpc3', 'libdb5.3', 'libbsd0', 'libmd0'],
  ...[
    'libselinux1',
    'libpcre2-8-0',
    'libxtables12',
    'libcap-ng0',
    'zlib1g',
    'liblzma5',
    'libzstd1',
  ],
  ...['libgssapi-krb5-2', 'libkrb5-3', 'libk5crypto3', 'libcom-err2', 'libkrb5support0'],
  ...['libkeyutils1', 'libiperf0', 'libsctp1', 'libssl3'],
];

/** Where busybox is in such a root, and in this machine's. */
export const BUSYBOX = '/bin/busybox';

/** The directory that a VM of another architecture has as its root, made at the first call. */
export async function ensureForeignRoot(architecture: Architecture): Promise<string> {
  const directory = path.join(crossDirectory(architecture), 'root');
  await ensureDebianFiles({
    packages: PACKAGES,
    suite: 'bookworm',
    architecture: debianArchitectures[architecture],
    directory,
  });
  // Of this machine's busybox, which is the same and can be asked.
  const applets = (await capture(BUSYBOX, ['--list-full'])).split('\n').filter(Boolean);
  for (const applet of applets) {
    const file = path.join(directory, applet);
    fs.mkdirSync(path.dirname(file), { recursive: true });
    if (fs.lstatSync(file, { throwIfNoEntry: false }) === undefined) fs.symlinkSync(BUSYBOX, file);
  }
  return directory;
}
