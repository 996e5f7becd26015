// AVA's `test` for one of several test files that share a process (one-worker.ts): the hooks of a
// file are about its own tests.

import ava, { type ExecutionContext } from 'ava';

type Step = (t: ExecutionContext) => unknown;

/** With a title, as AVA takes it, or without. */
type Hook = (...titleAndStep: [Step] | [string, Step]) => void;

/**
 * What test files use of AVA's interface; their tests run in turn, whether they say `serial` or
 * not.
 */
export interface FileTests {
  (title: string, body: Step): void;
  readonly serial: (title: string, body: Step) => void;
  readonly skip: (title: string, body: Step) => void;
  readonly before: Hook;
  readonly beforeEach: Hook;
  readonly afterEach: { readonly always: Hook };
  readonly after: { readonly always: Hook };
}

/** `test` for the file of that name, which stands before its titles. */
export function testsOf(file: string): FileTests {
  const steps: Record<'before' | 'beforeEach' | 'afterEach' | 'after', Step[]> = {
    before: [],
    beforeEach: [],
    afterEach: [],
    after: [],
  };
  let left = 0;
  let isReady: Promise<void> | undefined;
  const inOrder = async (some: readonly Step[], t: ExecutionContext): Promise<void> => {
    for (const step of some) await step(t);
  };
  const titled = (title: string): string => `${file} › ${title}`;
  const add = (title: string, body: Step): void => {
    left += 1;
    ava.serial(titled(title), async (t) => {
      left -= 1;
      // Of what tears down the first said is the last done: a test's own comes before what its file
      // shares.
      if (left === 0) t.teardown(() => inOrder(steps.after, t));
      if (steps.afterEach.length > 0) t.teardown(() => inOrder(steps.afterEach, t));
      isReady ??= inOrder(steps.before, t);
      await isReady;
      await inOrder(steps.beforeEach, t);
      await body(t);
    });
  };
  const hook =
    (some: Step[]): Hook =>
    (...[titleOrStep, step = titleOrStep]) =>
      void (typeof step === 'function' && some.push(step));
  return Object.assign((title: string, body: Step) => add(title, body), {
    serial: add,
    skip: (title: string, body: Step) => ava.skip(titled(title), body),
    before: hook(steps.before),
    beforeEach: hook(steps.beforeEach),
    afterEach: { always: hook(steps.afterEach) },
    after: { always: hook(steps.after) },
  });
}
