// What is told of filters that redirect and of XDP programs, on nodes in memory.

import test from 'ava';
import { detourNotes, redirectProblems, xdpNotes } from '../../../../helper/shaping/bypasses.ts';
import type { Redirect } from '../../../../helper/wire/hook-place.ts';
import type { ObservedExit } from '../../../../helper/shaping/holder-qdiscs.ts';
import type { Exit } from '../../../../helper/shaping/exits.ts';
import type { Observed } from '../../../../helper/shaping/plan.ts';
import type { AttachmentRecord } from '../../../../helper/shaping/records.ts';
import { desiredOf } from '../../../model/desired.ts';

const [UPLINK, BELOW, POD, IFB, OTHER] = [2, 3, 10, 20, 21];

/** Holds its packets on a device below. */
const EXIT: Exit = {
  ...{
    ifindex: UPLINK,
    name: 'bond0',
    kind: 'bond',
    role: 'uplink',
    holders: [BELOW],
    hasFrames: true,
  },
};

const CAPPED: AttachmentRecord = {
  ...{ containerId: 'c', ifname: 'eth0', network: 'pods', sandbox: '/run/netns/x', kind: 'veth' },
  ...{ hostInterface: 'pod0', hostInterfaceIndex: POD, egressAggregateId: 4100 },
  caps: { egress: { rateBitsPerSec: 1_000_000 } },
};

const DESIRED = desiredOf({ attachments: [CAPPED], exits: [EXIT] });

function node(ifindex: number, own: Pick<ObservedExit, 'redirects' | 'xdp'>): Observed {
  const device = { ifindex, name: `dev${ifindex}`, numTxQueues: 1, qdiscs: [], ...own };
  return {
    ...{
      devices: new Map([[ifindex, device]]),
      programs: new Map(),
      inFront: new Map(),
      pages: new Set(),
    },
    ...{ configs: new Map(), hostInterfaces: new Map(), overheads: new Map(), routing: [] },
    ...{ exitRecords: [], goesOnInReceive: true, exemptions: new Map() },
  };
}

function told(
  device: number,
  hook: Redirect['hook'],
  ifindex: number,
  desired = DESIRED,
): string[] {
  const comesBack = ifindex === IFB;
  const redirect = { hook, type: 'u32', priority: 500, ifindex, name: `dev${ifindex}`, comesBack };
  const observed = node(device, { redirects: [redirect] });
  return redirectProblems({ desired, observed }, () => []).map(({ text }) => text);
}

test('what a pod sends may be redirected to an exit, which charges it, and nowhere else', (t) => {
  const text =
    'The filter "u32" (priority 500) on dev10 (ingress) redirects packets to dev21, past the cap';
  t.deepEqual(told(POD, 'ingress', OTHER), [text]);
  t.deepEqual(told(POD, 'ingress', IFB), [], 'it comes back');
  t.deepEqual(told(POD, 'ingress', BELOW).length, 1, 'below the program');
  t.deepEqual(told(POD, 'ingress', UPLINK), []);
  t.deepEqual(told(POD, 'ingress', OTHER, { ...DESIRED, attachments: [] }), [], 'no cap');
});

test('what has its departure time may be redirected to a device with an fq of ours', (t) => {
  t.deepEqual(told(UPLINK, 'egress', OTHER).length, 1);
  t.deepEqual(told(UPLINK, 'egress', IFB), [], 'it comes back');
  t.deepEqual(told(UPLINK, 'egress', BELOW), []);
  t.deepEqual(told(UPLINK, 'ingress', OTHER), [], 'what comes to the node has no cap there');
});

test('a detour through an ifb is known by the filter that leads there', (t) => {
  const redirect = {
    hook: 'ingress',
    type: 'u32',
    priority: 7,
    ifindex: IFB,
    name: 'ifb0',
    comesBack: true,
  } as const;
  const observed = node(POD, {
    redirects: [redirect, { ...redirect, ifindex: OTHER, comesBack: false }],
  });
  t.deepEqual(
    detourNotes({ desired: DESIRED, observed }, () => []).map(({ text }) => text),
    [
      'The filter "u32" (priority 7) on dev10 (ingress) redirects packets to ifb0 and back: ' +
        'a limit there comes on top of the cap',
    ],
  );
});

test('an XDP program on the host interface of a pod with a cap on what it sends is known by name', (t) => {
  const observed = node(POD, { xdp: { id: 5, name: 'fast' } });
  t.deepEqual(
    xdpNotes({ desired: DESIRED, observed }).map(({ text }) => text),
    ['The XDP program "fast" (id 5) on pod0 may redirect packets past the cap'],
  );
  const { egressAggregateId: _none, ...uncapped } = CAPPED;
  t.deepEqual(xdpNotes({ desired: { ...DESIRED, attachments: [uncapped] }, observed }), []);
  t.deepEqual(xdpNotes({ desired: DESIRED, observed: node(POD, {}) }), []);
});
