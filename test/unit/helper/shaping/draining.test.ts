import test from 'ava';
import { openedFor } from '../../../../helper/shaping/draining.ts';
import { effectiveCapsOf } from '../../../../helper/shaping/effective.ts';
import { DEFAULTS } from '../../../../helper/shaping/rates.ts';
import type { AttachmentRecord } from '../../../../helper/shaping/records.ts';

const egress = { rateBitsPerSec: 10_000_000 };
const ingress = { rateBitsPerSec: 1_000_000 };
const former: AttachmentRecord = {
  containerId: 'abc',
  ifname: 'eth0',
  network: 'pods',
  hostInterface: 'pod0',
  hostInterfaceIndex: 3,
  sandbox: '/run/netns/x',
  caps: { egress, ingress },
  egressAggregateId: 4096,
  ingressAggregateId: 4097,
};
function withCaps(caps: AttachmentRecord['caps']): AttachmentRecord {
  return { ...former, caps };
}

test('a direction that keeps a cap is left as it is', (t) => {
  t.is(openedFor(former, former, DEFAULTS), undefined);
  const other = withCaps({ egress: { rateBitsPerSec: 1 }, ingress: { rateBitsPerSec: 1 } });
  t.is(openedFor(former, other, DEFAULTS), undefined);
  t.is(openedFor(withCaps({}), withCaps({}), DEFAULTS), undefined);
});

for (const [what, caps, ids] of [
  ['out of the pod', { ingress }, [4096]],
  ['into the pod', { egress }, [4097]],
  ['both ways', {}, [4096, 4097]],
] as const) {
  test(`no cap any more, ${what}: nothing new waits, and nothing that would not be now is dropped`, (t) => {
    const opened = openedFor(former, withCaps(caps), DEFAULTS);
    t.deepEqual(opened?.aggregateIds, [...ids]);
    const before = effectiveCapsOf(former, DEFAULTS);
    const { egress: out, ingress: into } = effectiveCapsOf(opened?.record ?? former, DEFAULTS);
    for (const [id, cap, was] of [
      [4096, out, before.egress],
      [4097, into, before.ingress],
    ] as const) {
      const isOpen = (ids as readonly number[]).includes(id);
      t.is(cap?.rateBitsPerSec, isOpen ? 1e15 : was?.rateBitsPerSec);
      t.is(cap?.aqmTargetNs, isOpen ? 0 : was?.aqmTargetNs);
      t.is(cap?.horizonNs, was?.horizonNs);
    }
  });
}

test('a change of `set` that was all the cap there was is drained too', (t) => {
  const changed = { ...withCaps({}), changes: { egress: { rateBitsPerSec: 5_000_000 } } };
  t.deepEqual(openedFor(changed, withCaps({}), DEFAULTS)?.aggregateIds, [4096]);
});
