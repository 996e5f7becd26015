// What the tests of a file share: a helper that starts is most of what a scene costs.

import type { TestFn } from 'ava';
import { UndoStack } from '../bed/undo.ts';

/**
 * An undo stack, and what takes the place of a test's context, for what outlives a test: run after
 * the last test of a file, and after one that failed: what that has left, nobody knows. `forget` is
 * done before, so that the next test makes it anew.
 */
export function wholeFile(
  test: Pick<TestFn, 'after' | 'afterEach'>,
  forget: () => void | Promise<void>,
): UndoStack {
  const undo = new UndoStack();
  const end = async (): Promise<void> => {
    await forget();
    await undo.run();
  };
  test.after.always(end);
  test.afterEach.always(async (t) => {
    if (!t.passed) await end();
  });
  return undo;
}
