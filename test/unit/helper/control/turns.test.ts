// Who goes before whom.

import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import { Turns } from '../../../../helper/control/turns.ts';

test('operations run one at a time, in the order of the calls, past those that fail', async (t) => {
  const turns = new Turns();
  const done: string[] = [];
  let running = 0;
  const operation = (name: string) => async () => {
    t.is((running += 1), 1);
    await sleep(1);
    running -= 1;
    done.push(name);
    if (name === 'b') throw new Error(name);
    return name;
  };
  const results = await Promise.allSettled(
    ['a', 'b', 'c'].map((name) => turns.run(operation(name))),
  );
  t.deepEqual(done, ['a', 'b', 'c']);
  t.deepEqual(
    results.map(({ status }) => status),
    ['fulfilled', 'rejected', 'fulfilled'],
  );
});

test('what is asked for while one of many runs, and keeps the thread, goes before the next of them', async (t) => {
  const turns = new Turns();
  const done: string[] = [];
  // Asked for by something that the event loop has to see first, as it does a request on a socket.
  setImmediate(() => void turns.run(async () => void done.push('asked')));
  for (const name of ['first', 'second', 'third'])
    await turns.runOneOfMany(async () => void done.push(name));
  t.true(done.indexOf('asked') < 2, done.join(' '));
  t.deepEqual(
    done.filter((name) => name !== 'asked'),
    ['first', 'second', 'third'],
  );
});

test('where requests and upkeep wait they take turns, each in its order, and neither is left out', async (t) => {
  const turns = new Turns();
  const done: string[] = [];
  const operation = (name: string) => async () => void done.push(name);
  const upkeep = ['u1', 'u2', 'u3'].map((name) => turns.runOneOfMany(operation(name)));
  const requests = ['r1', 'r2', 'r3', 'r4'].map((name) => turns.run(operation(name)));
  await Promise.all([...upkeep, ...requests]);
  t.deepEqual(done, ['r1', 'u1', 'r2', 'u2', 'r3', 'u3', 'r4']);
});

test('an operation that throws before it waits for anything is rejected, and the next one runs', async (t) => {
  const turns = new Turns();
  const failing = (): Promise<void> => {
    throw new Error('at once');
  };
  const results = await Promise.allSettled([
    turns.run(failing),
    turns.runOneOfMany(failing),
    turns.run(async () => undefined),
  ]);
  t.deepEqual(
    results.map(({ status }) => status),
    ['rejected', 'rejected', 'fulfilled'],
  );
});
