// Lists of exempt addresses as long as a cloud's.

import fs from 'node:fs';
import path from 'node:path';
import test from 'ava';
import { lookupBatches, openPinned } from '../../../helper/kernel/bpf.ts';
import { EXEMPTION_KEY_SIZE, EXEMPTION_SIZE } from '../../../helper/wire/exemption.ts';
import { makeHelperDirectories, startOwnHelper } from '../../kit/helper.ts';
import { makeNetns } from '../../kit/netns.ts';

/** Prefixes of both families, none twice. */
function manyCidrs(count: number): string[] {
  return Array.from({ length: count }, (_, index) =>
    index % 2 === 0
      ? `10.${index >>> 16}.${(index >>> 8) & 255}.${index & 255}`
      : `2001:db8:${(index >>> 16).toString(16)}:${(index & 0xffff).toString(16)}::/64`,
  );
}

function countExemptions(pinDir: string): number {
  const fd = openPinned(path.join(pinDir, 'exemptions'));
  try {
    const batches = [...lookupBatches(fd, EXEMPTION_KEY_SIZE, EXEMPTION_SIZE)];
    return batches.reduce((sum, { count }) => sum + count, 0);
  } finally {
    fs.closeSync(fd);
  }
}

test.serial(
  'a hundred thousand exempt addresses are held, and the next helper holds what its own list says',
  async (t) => {
    t.timeout(300_000);
    const [node, directories] = [makeNetns(t), makeHelperDirectories(t)];
    const config = path.join(directories.run, 'config.json');
    for (const count of [100_000, 100_000, 60_000]) {
      fs.writeFileSync(config, JSON.stringify({ exempt: manyCidrs(count) }));
      const startMs = performance.now();
      const helper = await startOwnHelper(t, node, directories, ['--config', config]);
      t.log(`${count}: serves after ${(performance.now() - startMs).toFixed(0)} ms`);
      t.is(countExemptions(directories.pins), count);
      await helper.end('SIGTERM');
    }
  },
);
