// Whom a fault concerns: from whole nodes in memory, by rules that are written down here.

import test from 'ava';
import type { Exit } from '../../../../helper/shaping/exits.ts';
import { Judgement } from '../../../../helper/shaping/judgement.ts';
import { plan, type Desired, type Observed } from '../../../../helper/shaping/plan.ts';
import { problemsOf } from '../../../../helper/shaping/problems.ts';
import { checkFailure } from '../../../../helper/control/reports.ts';
import type { AttachmentRecord } from '../../../../helper/shaping/records.ts';
import { TC_H_ROOT } from '../../../../helper/wire/tc-message.ts';
import { desiredOf } from '../../../model/desired.ts';
import { applyToModel } from '../../../model/node.ts';

function pod(ifindex: number): AttachmentRecord {
  return {
    ...{
      containerId: `c${ifindex}`,
      ifname: 'eth0',
      network: 'pods',
      sandbox: '/run/netns/x',
      kind: 'veth',
    },
    ...{ hostInterface: `pod${ifindex}`, hostInterfaceIndex: ifindex },
    caps: { egress: { rateBitsPerSec: 1_000_000 }, ingress: { rateBitsPerSec: 2_000_000 } },
    ...{ egressAggregateId: 4096 + 2 * ifindex, ingressAggregateId: 4097 + 2 * ifindex },
  };
}

function exit(ifindex: number, role: 'uplink' | 'pod'): Exit {
  return {
    ifindex,
    name: `dev${ifindex}`,
    kind: 'veth',
    role,
    holders: [ifindex],
    hasFrames: true,
  };
}

/** With the uplink, and a way into each of two pods. */
function nodeOf(attachments: readonly AttachmentRecord[], exempt: readonly string[] = []): Desired {
  const exits = [exit(2, 'uplink'), exit(10, 'pod'), exit(11, 'pod')];
  return desiredOf({ attachments, exits, exempt });
}

const NEIGHBOURS = nodeOf([pod(10), pod(11)]);

function wholeNode(desired: Desired): Observed {
  const noqueue = { kind: 'noqueue', handle: 0, parent: TC_H_ROOT, options: '' };
  const devices = [2, 10, 11, 20].map((ifindex) => {
    return [
      ifindex,
      { ifindex, name: `dev${ifindex}`, numTxQueues: 1, qdiscs: [noqueue] },
    ] as const;
  });
  const empty: Observed = {
    ...{
      devices: new Map(devices),
      programs: new Map(),
      inFront: new Map(),
      pages: new Set(),
      configs: new Map(),
    },
    ...{ hostInterfaces: new Map(), overheads: new Map(), routing: [], exitRecords: [] },
    ...{ goesOnInReceive: false, exemptions: new Map() },
  };
  return plan(desired, empty).steps.reduce(applyToModel, empty);
}

function judged(desired: Desired, observed: Observed): Judgement {
  return new Judgement(
    problemsOf({ desired, observed, plan: plan(desired, observed) }),
    desired.attachments,
  );
}

test('two pods with caps on both directions are both enforced', (t) => {
  const judgement = judged(NEIGHBOURS, wholeNode(NEIGHBOURS));
  t.deepEqual(judgement.texts, []);
  for (const record of NEIGHBOURS.attachments) t.deepEqual(judgement.of(record), {});
});

test('a fault at the interface of a pod that has a name is told of with the name', (t) => {
  const named = { ...pod(10), podNamespace: 'default', podName: 'web-0' };
  const desired = { ...NEIGHBOURS, attachments: [named, pod(11)] };
  const whole = wholeNode(desired);
  const programs = new Map([...whole.programs].filter(([place]) => place !== '10-ingress'));
  const devices = new Map([...whole.devices].filter(([ifindex]) => ifindex !== 10));
  t.deepEqual(judged(desired, { ...whole, programs }).texts, [
    'The classifier is missing on dev10 of default/web-0 (ingress)',
  ]);
  t.true(judged(desired, { ...whole, devices }).texts.includes('pod10 of default/web-0 is gone'));
  const failure = checkFailure(named, judged(desired, { ...whole, programs }));
  t.regex(
    failure?.message ?? '',
    /^The cap of default\/web-0 \(eth0, c10\) \(egress\) is not enforced: /,
  );
});

test('what is missing on the way into a pod concerns what that pod receives and what others send', (t) => {
  const whole = wholeNode(NEIGHBOURS);
  const programs = new Map([...whole.programs].filter(([place]) => place !== '10-egress'));
  const judgement = judged(NEIGHBOURS, { ...whole, programs });
  const [text] = judgement.texts;
  t.regex(text ?? '', /departure program for ingress is missing on dev10 \(egress\)/);
  t.deepEqual(judgement.of(pod(10)), { ingress: [text ?? ''] });
  t.deepEqual(judgement.of(pod(11)), { egress: [text ?? ''] });
});

test('the program behind ingress caps concerns what all with such a cap receive, exempt addresses who has them', (t) => {
  const desired = nodeOf([{ ...pod(10), exempt: ['::/0'] }, pod(11)], ['::1']);
  const whole = wholeNode(desired);
  const [first, second] = desired.attachments;
  const withoutProgram = judged(desired, { ...whole, goesOnInReceive: false });
  t.deepEqual(Object.keys(withoutProgram.of(first!)), ['ingress']);
  t.deepEqual(Object.keys(withoutProgram.of(second!)), ['ingress']);
  const without = (list: number): Observed => {
    const exemptions = new Map([...whole.exemptions].filter(([other]) => other !== list));
    return { ...whole, exemptions };
  };
  const ofOne = judged(desired, without(first!.egressAggregateId!));
  t.deepEqual(Object.keys(ofOne.of(first!)), ['egress']);
  t.deepEqual(ofOne.of(second!), {});
  const ofNode = judged(desired, without(0));
  for (const record of [first!, second!])
    t.deepEqual(Object.keys(ofNode.of(record)), ['egress', 'ingress']);
});

const SECOND = {
  podInterface: 'v4if0',
  hostInterface: 'dev20',
  hostInterfaceIndex: 20,
  kind: 'veth',
} as const;

test('what is missing at the second interface of a pod concerns that pod; one that is gone, while there are others, nobody', (t) => {
  const desired = nodeOf([{ ...pod(10), beside: [SECOND] }, pod(11)]);
  const whole = wholeNode(desired);
  t.deepEqual(judged(desired, whole).texts, []);
  const programs = new Map([...whole.programs].filter(([place]) => place !== '20-ingress'));
  const judgement = judged(desired, { ...whole, programs });
  t.deepEqual(judgement.of(pod(10)), { egress: ['The classifier is missing on dev20 (ingress)'] });
  t.deepEqual(judgement.of(pod(11)), {});
  const without = (...gone: number[]): Observed => {
    return {
      ...whole,
      devices: new Map([...whole.devices].filter(([ifindex]) => !gone.includes(ifindex))),
    };
  };
  t.deepEqual(judged(desired, without(20)).texts, []);
  t.deepEqual(judged(desired, without(10, 20)).of(pod(10)), {
    ...{ egress: ['pod10 is gone'], ingress: ['pod10 is gone'] },
  });
});

test('a way that cannot be held concerns both capped directions of its pod, and is told with name and reason', (t) => {
  const unheld = [{ podInterface: 'net1', reason: 'it is of kind macvlan' }];
  const { ingressAggregateId: _id, ...sender } = pod(11);
  const caps = { egress: { rateBitsPerSec: 1_000_000 } };
  const attachments = [
    { ...pod(10), unheld },
    { ...sender, caps, unheld },
  ];
  const desired = nodeOf(attachments);
  const judgement = judged(desired, wholeNode(desired));
  const text = (name: string): string =>
    `What ${name}/eth0 sends and receives by its interface net1 is not held: it is of kind macvlan`;
  t.deepEqual(judgement.of(attachments[0]!), { egress: [text('c10')], ingress: [text('c10')] });
  t.deepEqual(judgement.of(attachments[1]!), { egress: [text('c11')] });
  t.is(checkFailure(attachments[0]!, judgement)?.code, 'check-failed');
});
