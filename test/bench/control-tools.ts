// What the bench of CNI calls runs besides the plugins: its meter and an executable that does
// nothing.

import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { assetSourcePath } from '../../helper/kernel/assets.ts';
import { buildDirectory, projectRoot } from '../../scripts/lib/paths.ts';
import type { BuiltRevision } from '../../scripts/lib/revisions.ts';
import { step } from '../../scripts/lib/progress.ts';
import { ensureTarget, ownArchitecture } from '../../scripts/lib/target.ts';

const TOOLS = path.join(buildDirectory, 'tools');

/** Path of the compiled test/bench/call-meter.c. */
export const CALL_METER = path.join(TOOLS, 'call-meter');

/** An empty program, packed as the plugin is: what every call of a Node executable takes. */
export const EMPTY_EXECUTABLE = path.join(TOOLS, 'empty-executable');

/**
 * A copy of a system's plugin, as `podpaced install` makes one. The helper runs from another file:
 * the pages of its own are mapped as long as it runs, and nobody could take them out of the page
 * cache.
 */
export function copyOfPlugin(executable: string, system: string): string {
  const copy = path.join(TOOLS, 'plugins', system, 'podpace');
  const [own, made] = [executable, copy].map((file) =>
    fs.statSync(file, { throwIfNoEntry: false }),
  );
  if (own === undefined) throw new Error(`Cannot copy the plugin: there is no ${executable}`);
  const isMade = made?.size === own.size && Math.trunc(made.mtimeMs) === Math.trunc(own.mtimeMs);
  if (isMade) return copy;
  fs.mkdirSync(path.dirname(copy), { recursive: true });
  // Not written over: whoever runs the last one keeps it.
  fs.rmSync(copy, { force: true });
  fs.copyFileSync(executable, copy);
  fs.utimesSync(copy, own.atime, own.mtime);
  return copy;
}

function isOlder(file: string, sources: readonly string[]): boolean {
  const made = fs.statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  return sources.some((source) => fs.statSync(source).mtimeMs > made);
}

function compileMeter(): void {
  const source = path.join(import.meta.dirname, 'call-meter.c');
  if (isOlder(CALL_METER, [source]))
    execFileSync('clang', ['-O2', '-Wall', '-Wextra', '-Werror', source, '-o', CALL_METER]);
}

async function packEmptyExecutable(): Promise<void> {
  const how = ['pack.ts', 'packed-main.cjs'].map((file) =>
    path.join(projectRoot, 'scripts/lib', file),
  );
  if (!isOlder(EMPTY_EXECUTABLE, [...how, process.execPath])) return;
  // Slow to load, and needed once.
  const { packExecutable } = await import('../../scripts/lib/pack.ts');
  const main = `${EMPTY_EXECUTABLE}.cjs`;
  fs.writeFileSync(main, '');
  const assets = Object.fromEntries(
    (['koffi.node', 'netlink.node'] as const).map((name) => [
      name,
      path.join(projectRoot, assetSourcePath(name)),
    ]),
  );
  const programs = new Map([['podpace', [main]]]);
  const target = await ensureTarget(ownArchitecture());
  const packed = `${EMPTY_EXECUTABLE}.packed`;
  await step('packing an empty executable', () =>
    packExecutable({ target, programs, assets, nodeFlags: [], output: packed }),
  );
  // As the plugin is copied: how a file came to the page cache changes what its start takes.
  fs.copyFileSync(packed, EMPTY_EXECUTABLE);
  fs.rmSync(packed);
}

/** Makes both, and copies of the plugins, where they are out of date. */
export async function prepareControl(baseline: BuiltRevision | undefined): Promise<void> {
  fs.mkdirSync(TOOLS, { recursive: true });
  compileMeter();
  await packEmptyExecutable();
  copyOfPlugin(path.join(projectRoot, 'dist/podpace'), 'podpace');
  if (baseline !== undefined) copyOfPlugin(baseline.podpace, 'baseline');
}
