import test from 'ava';
import { afterLoss, afterPut, isLost, NO_FIGHTS } from '../../../../helper/network-list/fights.ts';

/** The count after entries that went so long after they were put there. */
function after(...lastedMs: readonly number[]) {
  let nowMs = 1_000;
  let fights = afterPut(NO_FIGHTS, nowMs);
  for (const ms of lastedMs) {
    nowMs += ms;
    fights = afterLoss(fights, nowMs);
    if (!isLost(fights)) fights = afterPut(fights, nowMs);
  }
  return fights;
}

test('five that went within half a minute each are too many, and not four', (t) => {
  t.false(isLost(after(1, 1, 1, 29_999)));
  t.true(isLost(after(1, 1, 1, 1, 29_999)));
});

test('one that stayed for longer ends the count', (t) => {
  t.false(isLost(after(1, 1, 1, 30_000, 1)));
  t.false(isLost(after(1, 1, 1, 1, 30_000)));
  t.true(isLost(after(1, 1, 30_000, 1, 1, 1, 1, 1)));
});

test('what was never put there was not taken out', (t) => {
  t.false(isLost(afterLoss(NO_FIGHTS, 5)));
  t.is(afterLoss(NO_FIGHTS, 5).count, 0);
});
