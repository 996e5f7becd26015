// How often podpace steps in front of others, by a clock of the test's own.

import test from 'ava';
import fc from 'fast-check';
import { Precedence } from '../../../../helper/shaping/precedence.ts';

const PLACE = { ifindex: 7, hook: 'ingress' } as const;
const OTHER_PLACE = { ifindex: 8, hook: 'ingress' } as const;

test('the third time in a minute is the last for ten minutes, at that place', (t) => {
  let nowMs = 1000;
  const precedence = new Precedence(() => nowMs);
  t.false(precedence.note(PLACE));
  nowMs += 2000;
  t.false(precedence.note(PLACE));
  t.deepEqual([...precedence.contested()], []);
  nowMs += 2000;
  t.true(precedence.note(PLACE));
  t.false(precedence.note(OTHER_PLACE));
  t.deepEqual([...precedence.contested()], ['7-ingress']);
  nowMs += 599_999;
  t.deepEqual([...precedence.contested()], ['7-ingress']);
  nowMs += 1;
  t.deepEqual([...precedence.contested()], []);
  t.false(precedence.note(PLACE));
});

test('whoever asks before each step makes no more than three in any minute', (t) => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 40_000 }), { maxLength: 60 }), (pauses) => {
      let nowMs = 0;
      const precedence = new Precedence(() => nowMs);
      const steps: number[] = [];
      for (const pause of pauses) {
        nowMs += pause;
        if (precedence.contested().has('7-ingress')) continue;
        steps.push(nowMs);
        precedence.note(PLACE);
      }
      for (const first of steps)
        t.true(steps.filter((at) => at >= first && at < first + 60_000).length <= 3);
    }),
  );
});
