import test from 'ava';
import type { Bench } from '../../bench/names.ts';
import type { Part } from '../../bench/record.ts';
import { renewedSummary } from '../../bench/summary.ts';

function part(bench: Bench, revision: string, values: readonly number[]): Part {
  const about = { kernel: '6.12', cpus: 1, cpuModel: 'a, b', quick: false, revision };
  const records = values.flatMap((value, repeat) => [
    {
      scenario: '10M',
      system: 'podpace',
      repeat,
      metrics: [{ metric: 'p99', unit: 'us', value }],
    } as const,
    {
      scenario: '10M',
      system: 'none',
      repeat,
      metrics: [{ metric: 'p99', unit: 'us', value: 2 * value }],
    } as const,
  ]);
  return { bench, ...about, measuredAt: '2026-11-20T12:00:00.000Z', records };
}

const HEAD = 'bench,scenario,metric,unit,podpace,tbf,edt-fifo,none,kernel,revision,measured';

test('medians of each scenario and metric stand side by side, and what was not measured is empty', (t) => {
  t.is(
    renewedSummary('', [part('latency', 'abc', [1, 3.1415926, 700])]),
    `${HEAD}\nlatency,10M,p99,us,3.1416,,,6.2832,6.12,abc,2026-11-20\n`,
  );
});

test('what is measured again takes the place of what was kept, in the order of the benches; the rest stays', (t) => {
  const kept = renewedSummary('', [part('latency', 'old', [1]), part('udp', 'old', [2])]);
  t.deepEqual(renewedSummary(kept, [part('udp', 'new', [4])]).split('\n'), [
    HEAD,
    'latency,10M,p99,us,1,,,2,6.12,old,2026-11-20',
    'udp,10M,p99,us,4,,,8,6.12,new,2026-11-20',
    '',
  ]);
});
