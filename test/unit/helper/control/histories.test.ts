// Steps of many directions: from pages of counters that say what the test says.

import test from 'ava';
import { Histories } from '../../../../helper/control/histories.ts';
import { DEFAULTS } from '../../../../helper/shaping/rates.ts';
import type { AttachmentRecord } from '../../../../helper/shaping/records.ts';
import { AGGREGATE_ID_MIN, type CounterSums } from '../../../../helper/wire/aggregate.ts';

function recordOf(containerId: string, egressAggregateId: number): AttachmentRecord {
  return {
    ...{ containerId, ifname: 'eth0', network: 'pods', hostInterface: `pod-${containerId}` },
    ...{ sandbox: '/x', hostInterfaceIndex: 7, egressAggregateId },
    caps: { egress: { rateBitsPerSec: 10_000_000 } },
  };
}

/** Two on one page, one on the next. */
const RECORDS = [0, 1, 64].map((at) => recordOf(`c${at}`, AGGREGATE_ID_MIN + at));

class Counters {
  readonly read: number[] = [];
  readonly sums = new Map<number, CounterSums>();

  add(id: number, bytes: number): void {
    const former = this.sums.get(id)?.bytes ?? 0;
    const sojourn = Array.from({ length: 16 }, () => 0);
    const none = { throttledNs: 0, droppedPackets: 0, ceMarkedPackets: 0 };
    this.sums.set(id, { bytes: former + bytes, ...none, sojourn });
  }

  readPageOfCounters(page: number, ids: readonly number[]): Map<number, CounterSums> {
    this.read.push(page);
    return new Map([...this.sums].filter(([id]) => ids.includes(id)));
  }
}

function known(histories: Histories, record: AttachmentRecord | undefined): boolean[] {
  const { egress } = histories.of(record ?? recordOf('none', 0), { steps: 3 }, DEFAULTS);
  return (egress?.bytesPerSec ?? []).map((rate) => rate !== null && rate > 0);
}

test('each page is read once a step, and each direction has its own steps', async (t) => {
  const counters = new Counters();
  const histories = new Histories(counters);
  t.is(histories.of(RECORDS[0] ?? recordOf('x', 0), {}, DEFAULTS).endedMsAgo, undefined);
  for (const { egressAggregateId: id = 0 } of RECORDS) counters.add(id, 0);
  await histories.take(RECORDS);
  counters.add(AGGREGATE_ID_MIN + 1, 1e6);
  await histories.take(RECORDS);
  counters.add(AGGREGATE_ID_MIN + 64, 1e6);
  await histories.take(RECORDS);
  t.deepEqual(counters.read, [0, 1, 0, 1, 0, 1]);
  const [first, second, third] = RECORDS;
  t.deepEqual(known(histories, first), [false, false, false]);
  t.deepEqual(known(histories, second), [false, true, false]);
  t.deepEqual(known(histories, third), [false, false, true]);
  t.is(histories.of(RECORDS[0] ?? recordOf('x', 0), {}, DEFAULTS).ingress, undefined);
});

test('what has gone is forgotten, also when its id is given to another', async (t) => {
  const counters = new Counters();
  const histories = new Histories(counters);
  const [pod] = RECORDS;
  const id = AGGREGATE_ID_MIN;
  counters.add(id, 0);
  await histories.take(RECORDS.slice(0, 1));
  counters.add(id, 1e6);
  await histories.take(RECORDS.slice(0, 1));
  t.deepEqual(known(histories, pod), [false, false, true]);
  const other = recordOf('other', id);
  counters.add(id, 1e6);
  await histories.take([other]);
  t.deepEqual(known(histories, other), [false, false, false]);
  await histories.take([]);
  t.deepEqual(known(histories, other), []);
});

test('a page that cannot be read leaves the step unknown', async (t) => {
  const counters = new Counters();
  const histories = new Histories(counters);
  counters.add(AGGREGATE_ID_MIN, 0);
  await histories.take(RECORDS);
  counters.sums.clear();
  await histories.take(RECORDS);
  counters.add(AGGREGATE_ID_MIN, 1e6);
  await histories.take(RECORDS);
  t.deepEqual(known(histories, RECORDS[0]), [false, false, false]);
});
