// Runs test files on the kernel that this process runs on.

import fs from 'node:fs';
import path from 'node:path';
import { ADDON_DIRECTORIES } from '../../helper/kernel/assets.ts';
import { addTallies, runAva, type AvaOptions, type Tally } from './ava.ts';
import { provideBpffs } from './bpffs.ts';
import { findLeaks, observeMachine } from './leaks.ts';
import { say } from './progress.ts';

/** What the executables unpack once and keep, wherever they run. */
const [ADDON_CACHE] = ADDON_DIRECTORIES;

function removeAddonCache(): void {
  fs.rmSync(ADDON_CACHE, { recursive: true, force: true });
  const parent = path.dirname(ADDON_CACHE);
  if (fs.existsSync(parent) && fs.readdirSync(parent).length === 0) fs.rmdirSync(parent);
}

/** What the files leave behind is a failure. */
export async function runHere(files: readonly string[], options: AvaOptions): Promise<Tally> {
  const removeBpffs = provideBpffs();
  const before = observeMachine();
  const hadAddons = fs.existsSync(ADDON_CACHE);
  const tally = await runAva(files, options);
  if (!hadAddons) removeAddonCache();
  const leaks = findLeaks(before, observeMachine());
  removeBpffs();
  for (const leak of leaks) say(`${options.label}: left behind: ${leak}`);
  return addTallies(tally, { passed: 0, failed: leaks.length, skipped: 0 });
}
