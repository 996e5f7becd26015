import { setTimeout as delay } from 'node:timers/promises';
import test from 'ava';
import { Follower, type Changed } from '../../../../helper/control/follow.ts';

test('events that come together are looked at together, and those that come meanwhile afterwards', async (t) => {
  const looks: Changed[] = [];
  const follower = new Follower(async (changed) => {
    looks.push(changed);
    if (looks.length === 1) follower.hear({ kind: 'link', ifindex: 3 });
    await delay(5);
  });
  follower.hear({ kind: 'link', ifindex: 1 });
  follower.hear({ kind: 'route', ifindex: 2 });
  while (looks.length < 2) await delay(10);
  follower.close();
  t.deepEqual(looks, [new Set([1, 2]), new Set([3])]);
});

test('many devices are looked at a few times only, and nothing is lost', async (t) => {
  const looks: Changed[] = [];
  const follower = new Follower(async (changed) => void looks.push(changed));
  for (let flap = 0; flap < 60; flap++) {
    follower.hear({ kind: 'link', ifindex: flap });
    await delay(10);
  }
  while (looks.reduce((sum, changed) => sum + (changed?.size ?? 0), 0) < 60) await delay(10);
  follower.close();
  t.true(looks.length <= 6, `looked ${looks.length} times`);
});

test('a qdisc is looked at when whoever changes it has had time to finish, a device at once', async (t) => {
  const looks: [number, Changed][] = [];
  const startMs = performance.now();
  const follower = new Follower(
    async (changed) => void looks.push([performance.now() - startMs, changed]),
  );
  follower.hear({ kind: 'qdisc', ifindex: 1 });
  follower.hear({ kind: 'qdisc', ifindex: 2 });
  follower.hear({ kind: 'link', ifindex: 2 });
  while (looks.length < 2) await delay(10);
  follower.close();
  t.deepEqual(
    looks.map(([, changed]) => changed),
    [new Set([2]), new Set([1])],
  );
  t.true((looks[1]?.[0] ?? 0) >= 900);
});

test('lost events mean that anything may have changed', async (t) => {
  const looks: Changed[] = [];
  const follower = new Follower(async (changed) => void looks.push(changed));
  follower.hear({ kind: 'link', ifindex: 1 });
  follower.hear({ kind: 'lost' });
  while (looks.length === 0) await delay(10);
  follower.close();
  t.deepEqual(looks, [undefined]);
});

test('a device that flaps is looked at from time to time, and soon when it has come to rest', async (t) => {
  const lookMs: number[] = [];
  const follower = new Follower(async () => void lookMs.push(performance.now()));
  const startMs = performance.now();
  while (performance.now() < startMs + 5000) {
    follower.hear({ kind: 'link', ifindex: 1 });
    await delay(50);
  }
  const restMs = performance.now();
  await delay(1000);
  follower.close();
  const during = lookMs.filter((ms) => ms < restMs);
  // Every 0.4 s until it is known to flap, every 1.5 s from then on.
  t.true(during.length <= 8, `looked ${during.length} times`);
  t.true(during.length >= 4, `looked ${during.length} times`);
  t.is(lookMs.length, during.length + 1);
  t.true((lookMs.at(-1) ?? 0) - restMs < 900);
});

test('a device that changes now and then is looked at at once each time', async (t) => {
  let looks = 0;
  const follower = new Follower(async () => void (looks += 1));
  for (let change = 1; change <= 4; change++) {
    follower.hear({ kind: 'link', ifindex: 1 });
    await delay(200);
    t.is(looks, change);
    await delay(1000);
  }
  follower.close();
});

test('a look that failed is taken again within a second, of the same devices, until one succeeds', async (t) => {
  const looks: [number, Changed][] = [];
  const follower = new Follower(async (changed) => {
    looks.push([performance.now(), changed]);
    if (looks.length <= 4) throw new Error('EAGAIN');
  });
  follower.hear({ kind: 'link', ifindex: 1 });
  follower.hear({ kind: 'route', ifindex: 2 });
  while (looks.length < 5) await delay(10);
  follower.close();
  for (const [, changed] of looks) t.deepEqual(changed, new Set([1, 2]));
  const gaps = looks.slice(1).map(([ms], at) => ms - (looks[at]?.[0] ?? 0));
  t.true(Math.max(...gaps) < 1500, `gaps of ${gaps.map(Math.round).join(', ')} ms`);
});

test.serial(
  'twenty thousand devices that change at once are heard of without a search through them each time',
  async (t) => {
    const looks: Changed[] = [];
    const follower = new Follower(async (changed) => void looks.push(changed));
    const startMs = performance.now();
    for (let ifindex = 1; ifindex <= 20_000; ifindex++) follower.hear({ kind: 'link', ifindex });
    t.true(performance.now() - startMs < 1000);
    while (looks.reduce((sum, changed) => sum + (changed?.size ?? 0), 0) < 20_000) await delay(10);
    follower.close();
    t.true(looks.length <= 3);
  },
);
