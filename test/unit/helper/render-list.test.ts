// podpaced list: a row for each direction, and one for each pod without a cap.

import test from 'ava';
import type { AttachmentStatus } from '../../../helper/protocol/messages.ts';
import { renderAll, renderList } from '../../../helper/render-list.ts';

const CAP = {
  ...{ rateBitsPerSec: 10_000_000, burstNs: 1e6, horizonNs: 5e7 },
  ...{ aqmTargetNs: 5e6, aqmIntervalNs: 1e8, changed: [] },
};
const ATTACHMENT: AttachmentStatus = {
  ...{ containerId: 'abc', ifname: 'eth0', network: 'pods', hostInterface: 'pod0' },
  ...{ hostInterfaceIndex: 3, sandbox: '/run/netns/x', kind: 'netkit', congestionControl: 'bbr' },
  ...{ podNamespace: 'default', podName: 'web-0', hostRouting: { addresses: ['10.0.0.1'] } },
  caps: { egress: { rateBitsPerSec: 20_000_000 }, ingress: { rateBitsPerSec: 10_000_000 } },
  effective: { egress: { ...CAP, changed: ['rateBitsPerSec'] }, ingress: CAP },
  ...{ problems: ['pod0 is gone'], problemsByDirection: { egress: ['pod0 is gone'] } },
  unaccountedBytes: 2000,
  recent: {
    egress: {
      ...{ bytesPerSec: 1_225_000, throttledShare: 0.804, p50Ns: 3_123_456, p99Ns: 5_000_000 },
      ...{ droppedPackets: 12, ceMarkedPackets: 3 },
    },
  },
};

function rows(text: string): string[][] {
  return text.split('\n').map((line) => line.split(/ {2,}/));
}

test('each direction has its cap, what it does now, and whether it is enforced', (t) => {
  t.deepEqual(rows(renderList({ attachments: [ATTACHMENT] }, false)), [
    [
      ...['POD', 'CONTAINER', 'INTERFACE', 'DIRECTION', 'CAP', 'NOW', 'THROTTLED', 'WAIT P50'],
      ...['WAIT P99', 'DROPPED', 'CE', 'UNACCOUNTED', 'STATE'],
    ],
    [
      ...['default/web-0', 'abc', 'eth0', 'egress', '10 Mbit/s (set)', '9.8 Mbit/s (98%)', '80%'],
      ...['3.1 ms', '5 ms', '12', '3', '2 kB', 'NOT ENFORCED: pod0 is gone'],
    ],
    // Nothing of it was counted yet.
    [
      ...['default/web-0', 'abc', 'eth0', 'ingress', '10 Mbit/s', '-', '-', '-', '-', '-', '-'],
      ...['-', 'enforced'],
    ],
  ]);
});

test('where a pod is wired stands in the wide list', (t) => {
  const beside = [{ podInterface: 'v4if0', hostInterface: 'pod1', hostInterfaceIndex: 4 }];
  const wide = renderList({ attachments: [{ ...ATTACHMENT, beside }] }, true);
  t.regex(wide, /eth0 +pods +pod0, pod1 +netkit, host routing, bbr +egress/);
});

test('an idle direction has a rate and no waits', (t) => {
  const egress = { bytesPerSec: 0, throttledShare: 0, droppedPackets: 0, ceMarkedPackets: 0 };
  const text = renderList({ attachments: [{ ...ATTACHMENT, recent: { egress } }] }, false);
  t.regex(text, /\(set\) +0 bit\/s \(0%\) +0% +- +- +0 +0 +2 kB/);
});

test('what is to be known stands behind the state; old helpers name no direction', (t) => {
  const notes = ['The XDP program "fast" may redirect'];
  const well = { ...ATTACHMENT, problems: [], problemsByDirection: {}, notes };
  t.is(renderList({ attachments: [well] }, false).match(/ enforced; The XDP/g)?.length, 2);
  const wrong = renderList({ attachments: [{ ...ATTACHMENT, notes }] }, false);
  t.regex(wrong, /NOT ENFORCED: pod0 is gone; The XDP program "fast"/);
  const { problemsByDirection: _none, recent: _unknown, ...old } = ATTACHMENT;
  const text = renderList({ attachments: [old] }, false);
  t.is(text.match(/NOT ENFORCED: pod0 is gone/g)?.length, 2);
});

test('where a cap comes from is said', (t) => {
  const { changed: _changed, ...plain } = CAP;
  const effective = { egress: { ...plain, changed: [] }, ingress: CAP };
  const capSources = {
    egress: { source: 'default' as const },
    ingress: { source: 'annotation' as const, askedBitsPerSec: 50_000_000 },
  };
  const text = renderList({ attachments: [{ ...ATTACHMENT, effective, capSources }] }, false);
  t.regex(text, / egress +10 Mbit\/s \(default\) /);
  t.regex(text, / ingress +10 Mbit\/s \(cut from 50 Mbit\/s\) /);
});

test('pods without a cap and unknown ones have a row each', (t) => {
  const pods = {
    attachments: [],
    uncapped: [
      { containerId: 'bare', ifname: 'eth0', network: 'pods', sandbox: '/x', noPair: 'a macvlan' },
    ],
    unknown: [{ hostInterface: 'pod9', hostInterfaceIndex: 9, kind: 'veth' as const }],
  };
  const text = renderAll(pods, false);
  t.regex(text, /^- +bare +eth0 +- .* no cap, and none is possible: a macvlan$/m);
  t.regex(
    text,
    /^- .* unknown \(pod9\): no record of it, as of a pod that was there before podpace$/m,
  );
  t.is(renderList({ attachments: [] }, false), 'No pod on this node has a cap');
  t.is(
    renderAll({ attachments: [], uncapped: [], unknown: [] }, false),
    'No pod on this node is known',
  );
});
