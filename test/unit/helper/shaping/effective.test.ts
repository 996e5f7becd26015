import test from 'ava';
import type { SetParams } from '../../../../helper/protocol/messages.ts';
import { applySet, effectiveCapsOf } from '../../../../helper/shaping/effective.ts';
import { ShapingError } from '../../../../helper/shaping/failure.ts';
import { DEFAULTS } from '../../../../helper/shaping/rates.ts';
import type { AttachmentRecord } from '../../../../helper/shaping/records.ts';

const record: AttachmentRecord = {
  containerId: 'abc',
  ifname: 'eth0',
  network: 'pods',
  hostInterface: 'pod0',
  hostInterfaceIndex: 3,
  sandbox: '/run/netns/x',
  caps: { egress: { rateBitsPerSec: 10_000_000 } },
  egressAggregateId: 4096,
};

function set(
  from: AttachmentRecord,
  changes: SetParams['changes'],
  more: Partial<Pick<SetParams, 'direction' | 'reset'>> = {},
): AttachmentRecord {
  return applySet(
    from,
    { containerId: 'abc', ifname: 'eth0', direction: 'egress', changes, ...more },
    DEFAULTS,
  );
}

test('changes add up, are taken back one by one or all at once, and leave what ADD asked alone', (t) => {
  const once = set(record, { rateBitsPerSec: 5_000_000, aqmTargetNs: 0 });
  t.deepEqual(once.changes, { egress: { rateBitsPerSec: 5_000_000, aqmTargetNs: 0 } });
  t.deepEqual(once.caps, record.caps);
  t.is(once.egressAggregateId, 4096);
  const twice = set(once, { rateBitsPerSec: null, burstBits: 5000 });
  t.deepEqual(twice.changes, { egress: { burstBits: 5000, aqmTargetNs: 0 } });
  t.is(effectiveCapsOf(twice, DEFAULTS).egress?.rateBitsPerSec, 10_000_000);
  t.deepEqual(set(twice, {}, { reset: true }), record);
  t.deepEqual(set(twice, { horizonNs: 9_000_000 }, { reset: true }).changes, {
    egress: { horizonNs: 9_000_000 },
  });
});

test('a direction without a cap gets one with a rate, and loses it with that', (t) => {
  const both = set(record, { rateBitsPerSec: 1_000_000 }, { direction: 'ingress' });
  t.is(effectiveCapsOf(both, DEFAULTS).ingress?.rateBitsPerSec, 1_000_000);
  t.deepEqual(set(both, { rateBitsPerSec: null }, { direction: 'ingress' }), record);
  const error = t.throws(() => set(record, { horizonNs: 5_000_000 }, { direction: 'ingress' }), {
    instanceOf: ShapingError,
  });
  t.is(error.code, 'bad-value');
  t.regex(`${error.message} ${error.remedy}`, /ingress of abc\/eth0: it has no cap set a rate/);
});

test('a target at the horizon and an interval below the target are refused', (t) => {
  for (const [changes, expected] of [
    [{ aqmTargetNs: 50_000_000 }, /target 50 ms is not below the horizon 50 ms/],
    [{ horizonNs: 4_000_000, aqmTargetNs: 5_000_000 }, /target 5 ms is not below the horizon 4 ms/],
    [{ aqmIntervalNs: 1_000_000 }, /interval 1 ms is below the target 9.69 ms/],
  ] as const) {
    t.throws(() => set(record, changes), { instanceOf: ShapingError, message: expected });
  }
  t.notThrows(() => set(record, { aqmTargetNs: 0, aqmIntervalNs: 1_000_000 }));
});
