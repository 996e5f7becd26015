import test from 'ava';
import { FqWatch } from '../../../../helper/control/fq-watch.ts';
import type { Attempt } from '../../../../helper/wire/kernel-features.ts';
import { Judgement } from '../../../../helper/shaping/judgement.ts';

const MISSING: Attempt = {
  there: false,
  why: 'cannot put qdisc "fq": ENOENT; absent: no module sch_fq',
};
const THERE: Attempt = { there: true, why: '' };

test('a kernel without fq is told of with the remedy, and tried again until it has it', async (t) => {
  let [found, tries, nowMs] = [MISSING, 0, 0];
  const tryFq = async (): Promise<Attempt> => {
    tries += 1;
    return found;
  };
  const watch = new FqWatch(tryFq, found, () => nowMs);
  const look = async (atMs: number): Promise<void> => {
    nowMs = atMs;
    await watch.look();
  };
  for (const atMs of [0, 1000, 2000]) {
    await look(atMs);
    const [problem] = watch.problems();
    t.regex(problem?.text ?? '', /no sch_fq .*ENOENT.*absent.*modprobe sch_fq/);
    // Without any attachment it concerns the node.
    t.is(new Judgement(watch.problems(), []).texts.length, 1);
  }
  // What was found just before is not asked for again.
  t.is(tries, 2);
  found = THERE;
  for (const atMs of [10_000, 10_001, 69_999]) {
    await look(atMs);
    t.deepEqual(watch.problems(), []);
    t.is(watch.last, THERE);
  }
  t.is(tries, 3);
  found = MISSING;
  await look(70_000);
  t.is(watch.problems().length, 1);
});

test('fq that cannot be tried is not said to be missing', (t) => {
  const watch = new FqWatch(async () => THERE, { there: undefined, why: 'ENOSPC' });
  t.regex(watch.problems()[0]?.text ?? '', /fq cannot be tried here \(ENOSPC\)/);
});
