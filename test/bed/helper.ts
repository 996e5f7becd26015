// The helper of a node.

import path from 'node:path';
import { projectRoot } from '../../scripts/lib/paths.ts';
import { BackgroundProcess } from './background.ts';
import type { TestBed } from './testbed.ts';
import type { UndoStack } from './undo.ts';

export const PODPACED = path.join(projectRoot, 'dist/podpaced');

/** A node of a test has no loopback that is up. Former releases do not know the flag. */
const WITHOUT_METRICS = ['--metrics-address', 'off'];

/**
 * Starts podpace's helper on a node, with flags of `podpaced run`, and waits until it serves. It
 * serves no metrics but where a flag says so.
 */
export async function startHelper(
  bed: Pick<TestBed<string>, 'onNode'>,
  undo: UndoStack,
  signal: AbortSignal | undefined,
  flags: readonly string[] = [],
  podpaced = PODPACED,
): Promise<BackgroundProcess> {
  const standing = podpaced === PODPACED ? WITHOUT_METRICS : [];
  const command = [podpaced, 'run', ...standing, ...flags] as const;
  const helper = await BackgroundProcess.start(...bed.onNode(...command));
  undo.defer('end podpaced', () => helper.stop());
  await helper.ready((output) => output.includes('serves'), signal);
  return helper;
}
