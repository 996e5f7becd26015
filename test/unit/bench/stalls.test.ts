import test from 'ava';
import { parseLongestStall } from '../../bench/stalls.ts';

const REPORT = `# /dev/cpu_dma_latency set to 0us
T: 0 (  931) P:99 I:5000 C:    712 Min:     24 Act:  102 Avg:  133 Max:    3897
T: 1 (  932) P:99 I:5500 C:    700 Min:     31 Act:   99 Avg:  140 Max:   21504
`;

test('the longest delay of any processor counts, in milliseconds', (t) => {
  t.is(parseLongestStall(REPORT), 21.504);
});

test('without a report nothing is known', (t) => {
  t.throws(() => parseLongestStall('Unable to change scheduling policy!\n'), {
    message: /Cannot tell whether the machine stood still: .*Unable to change/,
  });
});
