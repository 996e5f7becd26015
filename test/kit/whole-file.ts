// What the tests of a file share: a helper that starts is most of what a scene costs.

import type { ExecutionContext, TestFn } from 'ava';
import { UndoStack } from '../bed/undo.ts';

/** Takes the place of a test's context where something is made that outlives the test. */
export interface WholeFile extends Pick<ExecutionContext, 'teardown'> {
  readonly undo: UndoStack;
}

/**
 * Undoes what is deferred after the last test of a file, and after one that failed: what that has
 * left, nobody knows. `forget` is done before, so that the next test makes it anew.
 */
export function wholeFile(
  test: Pick<TestFn, 'after' | 'afterEach'>,
  forget: () => void | Promise<void>,
): WholeFile {
  const undo = new UndoStack();
  const end = async (): Promise<void> => {
    await forget();
    await undo.run();
  };
  test.after.always(end);
  test.afterEach.always(async (t) => {
    if (!t.passed) await end();
  });
  return { undo, teardown: (step) => undo.defer('take away what tests share', step) };
}
