// The helper of a node.

import path from 'node:path';
import { projectRoot } from '../../scripts/lib/paths.ts';
import { BackgroundProcess } from './background.ts';
import type { TestBed } from './testbed.ts';
import type { UndoStack } from './undo.ts';

export const PODPACED = path.join(projectRoot, 'dist/podpaced');

/** Starts podpace's helper on a node, with flags of `podpaced run`, and waits until it serves. */
export async function startHelper(
  bed: Pick<TestBed<string>, 'onNode'>,
  undo: UndoStack,
  signal: AbortSignal | undefined,
  flags: readonly string[] = [],
  podpaced = PODPACED,
): Promise<BackgroundProcess> {
  const helper = await BackgroundProcess.start(...bed.onNode(podpaced, 'run', ...flags));
  undo.defer('end podpaced', () => helper.stop());
  await helper.ready((output) => output.includes('serves'), signal);
  return helper;
}
