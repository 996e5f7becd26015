// One bundle and its assets become one executable, by pkg's single-executable mode.

import fs from 'node:fs';
import path from 'node:path';
import sea from '@yao-pkg/pkg/lib-es5/sea.js';

/** What goes into an executable, by absolute paths. */
export interface Packing {
  /** The bundle: one CommonJS file. */
  readonly main: string;
  readonly assets: Readonly<Record<string, string>>;
  readonly output: string;
}

/**
 * Packs a bundle into a copy of the Node that runs this script, which the lockfile pins. pkg's command line would
 * download a Node; its function takes the path of one, and passes assets and the code cache on.
 * The executable appears under its name only when it is whole.
 */
export async function packExecutable({ main, assets, output }: Packing): Promise<void> {
  const staged = `${output}.new`;
  fs.mkdirSync(path.dirname(output), { recursive: true });
  const arch = process.arch === 'arm64' ? 'arm64' : 'x64';
  const target = { nodeRange: 'node24', platform: 'linux', arch, output: staged } as const;
  await sea.default(main, {
    targets: [target],
    nodePath: process.execPath,
    seaConfig: { disableExperimentalSEAWarning: true, useSnapshot: false, useCodeCache: true, assets },
  });
  fs.chmodSync(staged, 0o755);
  fs.renameSync(staged, output);
}
