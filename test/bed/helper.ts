// The helper of a node.

import fs from 'node:fs';
import path from 'node:path';
import { DEFAULT_SOCKET } from '../../helper/protocol/state-files.ts';
import { projectRoot } from '../../scripts/lib/paths.ts';
import { BackgroundProcess } from './background.ts';
import type { TestBed } from './testbed.ts';
import type { UndoStack } from './undo.ts';

export const PODPACED = path.join(projectRoot, 'dist/podpaced');

/**
 * Starts podpace's helper on the node, with flags of `podpaced run`, and waits until it answers.
 */
export async function startHelper(
  bed: TestBed<string>,
  undo: UndoStack,
  signal: AbortSignal,
  flags: readonly string[] = [],
  podpaced = PODPACED,
): Promise<BackgroundProcess> {
  const [command, args] = bed.onNode(podpaced, 'run', ...flags);
  const helper = await BackgroundProcess.start(command, args);
  undo.defer('end podpaced', () => helper.stop());
  await helper.ready(() => fs.existsSync(bed.nodeFile(DEFAULT_SOCKET)), signal);
  return helper;
}
