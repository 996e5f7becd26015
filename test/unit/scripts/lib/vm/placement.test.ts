import test from 'ava';
import { processorsIn } from '../../../../../scripts/lib/vm/placement.ts';

test('lists of processors are read as the kernel writes them', (t) => {
  t.deepEqual(processorsIn('0\n'), [0]);
  t.deepEqual(processorsIn('0-1'), [0, 1]);
  t.deepEqual(processorsIn('1,4-6,9'), [1, 4, 5, 6, 9]);
});
