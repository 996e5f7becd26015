import test from 'ava';
import { parseCpuList, possibleCpus } from '../../../../helper/kernel/cpus.ts';

test('parseCpuList reads single numbers and ranges', (t) => {
  t.deepEqual(parseCpuList('0\n'), [0]);
  t.deepEqual(parseCpuList('0-3,8,10-11\n'), [0, 1, 2, 3, 8, 10, 11]);
});

test('parseCpuList refuses what is no list', (t) => {
  for (const text of ['', '0-', 'all', '0,,1', '-1']) {
    t.throws(() => parseCpuList(text), {
      instanceOf: RangeError,
      message: /Cannot read the list of CPUs/,
    });
  }
});

test('this machine has at least one CPU', (t) => {
  t.true(possibleCpus().length > 0);
});
