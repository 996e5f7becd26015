import test from 'ava';
import { FqWatch } from '../../../helper/fq-watch.ts';
import { KernelError } from '../../../helper/kernel/errors.ts';
import { Judgement } from '../../../helper/shaping/judgement.ts';

const MISSING = new KernelError('put qdisc "fq"', 'ENOENT', 'Specified qdisc kind is unknown');

test('a kernel without fq is told of with the remedy, and tried again until it has it', async (t) => {
  let refusal: KernelError | undefined = MISSING;
  let [tries, nowMs] = [0, 0];
  const watch = new FqWatch(
    async () => {
      tries += 1;
      if (refusal !== undefined) throw refusal;
    },
    () => nowMs,
  );
  for (const _ of [1, 2]) {
    await watch.look();
    const [problem] = watch.problems();
    t.regex(problem?.text ?? '', /no sch_fq .*ENOENT.*modprobe sch_fq/);
    // Without any attachment it concerns the node.
    t.is(new Judgement(watch.problems(), []).texts.length, 1);
  }
  t.is(tries, 2);
  refusal = undefined;
  for (const ms of [10_000, 10_001, 69_999]) {
    nowMs = ms;
    await watch.look();
    t.deepEqual(watch.problems(), []);
  }
  t.is(tries, 3);
  [nowMs, refusal] = [70_000, MISSING];
  await watch.look();
  t.is(watch.problems().length, 1);
});
