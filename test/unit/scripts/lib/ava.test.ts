import test from 'ava';
import { addTallies, parseTapLine } from '../../../../scripts/lib/ava.ts';

test('parseTapLine tells passed, failed and skipped tests from everything else', (t) => {
  t.deepEqual(parseTapLine('ok 3 - plan › converges'), {
    outcome: 'passed',
    title: 'plan › converges',
  });
  t.deepEqual(parseTapLine('not ok 4 - plan › restores'), {
    outcome: 'failed',
    title: 'plan › restores',
  });
  t.deepEqual(parseTapLine('ok 5 - netkit # SKIP'), { outcome: 'skipped', title: 'netkit' });
  for (const line of [
    'TAP version 13',
    '# plan',
    '1..5',
    '  ---',
    '# pass 5',
    '    ok 1 - nested',
  ]) {
    t.is(parseTapLine(line), undefined, line);
  }
});

test('addTallies adds each count', (t) => {
  const sum = addTallies(
    { passed: 1, failed: 2, skipped: 3 },
    { passed: 10, failed: 20, skipped: 30 },
  );
  t.deepEqual(sum, { passed: 11, failed: 22, skipped: 33 });
});
