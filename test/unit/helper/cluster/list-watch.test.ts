// The state machine of list and watch, by what the API promises: versions may be forgotten at any
// time (410), a watch ends when it was asked to, and nobody may ask again and again without a pause.

import test from 'ava';
import fc from 'fast-check';
import {
  after,
  beginning,
  STEADY_MS,
  stepOf,
  type Following,
  type Outcome,
} from '../../../../helper/cluster/list-watch.ts';
import type { Pod } from '../../../../helper/cluster/pods.ts';

const MIDDLE = 0.5;

function pod(name: string): Pod {
  return { uid: name, runtimeUid: name, namespace: 'default', name, bandwidth: {} };
}

function page(names: readonly string[], more: { continue?: string } = {}): Outcome {
  return { of: 'page', pods: names.map(pod), resourceVersion: '100', ...more };
}

function run(state: Following, nowMs: number, ...outcomes: readonly Outcome[]): Following {
  return outcomes.reduce(
    (last, outcome) => after(last, outcome, { nowMs, chance: MIDDLE }).state,
    state,
  );
}

const GONE = { type: 'error', code: 410, message: 'too old' } as const;

test('pods are listed in pages, told of as a whole, and then watched from the version of the list', (t) => {
  const start = beginning(0);
  t.deepEqual(stepOf(start, MIDDLE), { do: 'list' });
  const first = after(start, page(['a', 'b'], { continue: 'x' }), { nowMs: 1, chance: MIDDLE });
  t.is(first.change, undefined);
  t.deepEqual(stepOf(first.state, MIDDLE), { do: 'list', continue: 'x' });
  const second = after(first.state, page(['c']), { nowMs: 2, chance: MIDDLE });
  t.deepEqual(second.change, { kind: 'all', pods: ['a', 'b', 'c'].map(pod) });
  t.deepEqual(stepOf(second.state, 0), {
    ...{ do: 'watch', resourceVersion: '100', timeoutSeconds: 240 },
  });
  t.like(stepOf(second.state, 1), { timeoutSeconds: 360 });
});

test('messages and bookmarks carry the version on, and end the counting of failures', (t) => {
  const watching = run(beginning(0), 0, { of: 'failed', why: 'x' }, { of: 'waited' }, page([]));
  t.is(watching.failures, 1);
  const put = { type: 'put', pod: pod('a'), resourceVersion: '101' } as const;
  const told = after(watching, { of: 'message', message: put }, { nowMs: 5, chance: 0 });
  t.deepEqual(told.change, { kind: 'put', pod: pod('a') });
  t.like(stepOf(told.state, 0), { do: 'watch', resourceVersion: '101' });
  t.is(told.state.failures, 0);
  t.is(told.state.away, undefined);
  const bookmark = { type: 'bookmark', resourceVersion: '200' } as const;
  const marked = after(told.state, { of: 'message', message: bookmark }, { nowMs: 6, chance: 0 });
  t.is(marked.change, undefined);
  t.like(stepOf(marked.state, 0), { do: 'watch', resourceVersion: '200' });
});

for (const [name, outcome] of [
  ['as a status', { of: 'expired' }],
  ['as an event within a good answer', { of: 'message', message: GONE }],
] as const) {
  test(`410 ${name} has everything listed anew at once, and later with a pause`, (t) => {
    const once = run(beginning(0), 0, page(['a']), outcome);
    t.deepEqual(stepOf(once, MIDDLE), { do: 'list' });
    t.is(once.away, undefined);
    const twice = run(once, 10, page(['a']), outcome);
    t.is(stepOf(twice, MIDDLE).do, 'wait');
    t.regex(twice.away?.why ?? '', /forgets/);
    t.deepEqual(stepOf(run(twice, 11, { of: 'waited' }), MIDDLE), { do: 'list' });
  });
}

test('the token of a page that is forgotten has the list begin again', (t) => {
  const state = run(beginning(0), 0, page(['a'], { continue: 'x' }), { of: 'expired' });
  t.deepEqual(stepOf(state, MIDDLE), { do: 'list' });
  const { change } = after(state, page(['b']), { nowMs: 1, chance: MIDDLE });
  t.deepEqual(change, { kind: 'all', pods: [pod('b')] });
});

test('a failure keeps the version to watch from, garbage and silence do not', (t) => {
  const watching = run(beginning(0), 0, page([]));
  const failed = run(watching, 1, { of: 'failed', why: 'refused' }, { of: 'waited' });
  t.like(stepOf(failed, 0), { do: 'watch', resourceVersion: '100' });
  for (const outcome of [{ of: 'garbage', why: 'x' }, { of: 'silent' }] as const)
    t.deepEqual(stepOf(run(watching, 1, outcome, { of: 'waited' }), 0), { do: 'list' });
});

test('a watch that ends when it should is begun again soon, one that ends at once with a pause', (t) => {
  const watching = run(beginning(0), 0, page([]), { of: 'steady' });
  const ended = run(watching, 300_000, { of: 'ended', lastedMs: 300_000 });
  const step = stepOf(ended, 0);
  t.true(step.do === 'wait' && step.ms <= 200);
  t.is(ended.away, undefined);
  const early = run(watching, 10, { of: 'ended', lastedMs: STEADY_MS - 1 });
  t.regex(early.away?.why ?? '', /ends the watch at once/);
  t.is(stepOf(early, 0).do, 'wait');
});

test('it is said since when a server is away, whatever else goes wrong meanwhile', (t) => {
  const watching = run(beginning(0), 100, page([]), { of: 'steady' });
  const silent = run(watching, 200_000, { of: 'silent' });
  t.deepEqual(silent.away, { sinceMs: 100, why: 'the API server says nothing' });
  const hour = run(silent, 3_800_000, { of: 'waited' }, { of: 'failed', why: 'refused' });
  t.deepEqual(hour.away, { sinceMs: 100, why: 'refused' });
  const back = run(hour, 3_900_000, { of: 'waited' }, page(['a']), { of: 'steady' });
  t.is(back.away, undefined);
  t.is(back.failures, 0);
});

test('a pause that the server asks for is kept to, up to a minute', (t) => {
  const asked = (leastWaitMs: number): number =>
    run(beginning(0), 0, { of: 'failed', why: '429', leastWaitMs }).waitMs;
  t.is(asked(7000), 7000);
  t.is(asked(3_600_000), 60_000);
  t.is(asked(0), 500);
});

const outcomes = fc.oneof(
  fc.constant<Outcome>(page(['a'])),
  fc.constant<Outcome>(page(['a'], { continue: 'x' })),
  fc.constantFrom<Outcome>(
    { of: 'expired' },
    { of: 'silent' },
    { of: 'garbage', why: 'garbage' },
    { of: 'failed', why: 'failed' },
    { of: 'ended', lastedMs: 0 },
    { of: 'message', message: GONE },
    { of: 'message', message: { type: 'error', code: 500, message: '' } },
  ),
);

test('whatever goes wrong, the pauses double up to half a minute and never go', (t) => {
  fc.assert(
    fc.property(
      fc.array(outcomes, { maxLength: 60 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (all, chance) => {
        let state = beginning(0);
        let [requests, pausesMs] = [0, 0];
        for (const outcome of all) {
          const step = stepOf(state, chance);
          if (step.do === 'wait') {
            t.true(step.ms >= 0 && step.ms <= 45_000);
            pausesMs += step.ms;
            state = after(state, { of: 'waited' }, { nowMs: 0, chance }).state;
          }
          if (outcome.of !== 'page') requests += 1;
          state = after(state, outcome, { nowMs: 0, chance }).state;
        }
        // The first failure, 410, is tried again at once; then half a second is the least, halved by chance.
        t.true(pausesMs >= (requests - 2) * 250, `${requests} failures, ${pausesMs} ms`);
      },
    ),
  );
});

test('after failures in a row the pauses are what they are said to be', (t) => {
  let state = beginning(0);
  const pauses: number[] = [];
  for (let count = 0; count < 9; count += 1) {
    state = after(state, { of: 'failed', why: 'x' }, { nowMs: 0, chance: MIDDLE }).state;
    pauses.push(state.waitMs);
    state = after(state, { of: 'waited' }, { nowMs: 0, chance: MIDDLE }).state;
  }
  t.deepEqual(pauses, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
});
