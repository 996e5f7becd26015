import test from 'ava';
import { remedies } from '../../../../helper/protocol/remedies.ts';
import { formerNotices, policyAt } from '../../../../helper/shaping/former-plugin.ts';
import type { Exit, ExitRole } from '../../../../helper/shaping/exits.ts';
import {
  planExitQdiscs,
  type ForeignQdisc,
  type ObservedExit,
  type QdiscPolicy,
} from '../../../../helper/shaping/holder-qdiscs.ts';
import { Judgement } from '../../../../helper/shaping/judgement.ts';
import { plan, type Observed } from '../../../../helper/shaping/plan.ts';
import { problemsOf } from '../../../../helper/shaping/problems.ts';
import type { AttachmentRecord } from '../../../../helper/shaping/records.ts';
import { TC_H_ROOT } from '../../../../helper/wire/tc-message.ts';
import { desiredOf } from '../../../model/desired.ts';

const ROOTS = {
  // `tc qdisc show` beside the reference plugin 1.1.1 and 1.9.1: `qdisc tbf 1: root`.
  former: { kind: 'tbf', handle: 0x1_0000 },
  'a TBF with another handle': { kind: 'tbf', handle: 0x8001_0000 },
  'another shaper': { kind: 'htb', handle: 0x1_0000 },
} as const;

const IFB = 'bwp48c5963fc74e';

function device(
  root: { readonly kind: string; readonly handle: number },
  more: Partial<ObservedExit> = {},
): ObservedExit {
  const qdiscs = [{ ...root, parent: TC_H_ROOT, options: '' }];
  return { ifindex: 7, name: 'veth7', numTxQueues: 1, qdiscs, ...more };
}

function exitOf(role: ExitRole, ifindex = 7): Exit {
  return {
    ifindex,
    name: `veth${ifindex}`,
    kind: 'veth',
    role,
    holders: [ifindex],
    hasFrames: true,
  };
}

const OWN: AttachmentRecord = {
  ...{ containerId: 'c1', ifname: 'eth0', network: 'pods', sandbox: '/run/netns/c1', caps: {} },
  ...{ hostInterface: 'veth7', hostInterfaceIndex: 7 },
};

const CASES: readonly [
  root: keyof typeof ROOTS,
  whose: 'own' | ExitRole,
  setting: ForeignQdisc,
  policy: QdiscPolicy,
][] = [
  ['former', 'pod', 'respect', 'former'],
  ['former', 'pod', 'replace', 'former'],
  ['former', 'own', 'respect', 'former'],
  ['former', 'own', 'replace', 'replace'],
  ['former', 'uplink', 'respect', 'respect'],
  ['former', 'uplink', 'replace', 'replace'],
  ['a TBF with another handle', 'pod', 'replace', 'replace'],
  ['a TBF with another handle', 'own', 'respect', 'respect'],
  ['another shaper', 'pod', 'replace', 'replace'],
];

for (const [root, whose, foreignQdisc, policy] of CASES) {
  test(`${root} at ${whose}, told to ${foreignQdisc}: ${policy}`, (t) => {
    const isOwn = whose === 'own';
    const parties = { attachments: isOwn ? [OWN] : [], exits: [exitOf(isOwn ? 'pod' : whose)] };
    const found = policyAt({ ...parties, foreignQdisc }, device(ROOTS[root]));
    t.is(found, policy);
    const { steps, problem } = planExitQdiscs(device(ROOTS[root]), false, found);
    t.is(steps.length > 0, policy === 'replace');
    t.is(problem?.includes(remedies.formerPlugin) ?? false, policy === 'former');
  });
}

/** A pod with an egress cap, and one beside it whose host interface has this root. */
function judged(root: keyof typeof ROOTS) {
  const sender: AttachmentRecord = {
    ...{ ...OWN, hostInterfaceIndex: 5, hostInterface: 'veth5', egressAggregateId: 5000 },
    caps: { egress: { rateBitsPerSec: 1_000_000 } },
  };
  const desired = desiredOf({ attachments: [sender], exits: [exitOf('pod')] });
  const observed: Observed = {
    ...{ devices: new Map([[7, device(ROOTS[root])]]), programs: new Map(), inFront: new Map() },
    ...{ configs: new Map(), hostInterfaces: new Map(), overheads: new Map(), routing: [] },
    ...{ pages: new Set(), exitRecords: [], goesOnInReceive: true, exemptions: new Map() },
  };
  const problems = problemsOf({ desired, observed, plan: plan(desired, observed) });
  const judgement = new Judgement(problems, [sender]);
  const isAtRoot = (text: string) => text.startsWith('veth7 has a ');
  const own = (judgement.of(sender).egress ?? []).filter(isAtRoot);
  return { node: judgement.texts.filter(isAtRoot), own };
}

test("the TBF of a pod of the plugin's is told of the node, and keeps no other pod from its CHECK", (t) => {
  const former = judged('former');
  t.is(former.node.length, 1);
  t.deepEqual(former.own, []);
  const others = judged('another shaper');
  t.is(others.node.length, 1);
  t.deepEqual(others.own, others.node);
});

test('pods that the plugin shapes are named, those of podpace and without its signs are not', (t) => {
  const redirect = {
    hook: 'ingress',
    type: 'u32',
    priority: 1,
    ifindex: 9,
    comesBack: true,
  } as const;
  const noqueue = { kind: 'noqueue', handle: 0 };
  const devices = [
    device(ROOTS.former, { redirects: [{ ...redirect, name: IFB }] }),
    device(noqueue, { ifindex: 8, redirects: [{ ...redirect, name: IFB }] }),
    device(ROOTS.former, { ifindex: 10 }),
    // Calico's own shaping (felix/dataplane/linux/qos_controls: bwcali), an ifb of somebody's.
    device(noqueue, { ifindex: 11, redirects: [{ ...redirect, name: 'bwcali1c5963fc7' }] }),
    device(noqueue, { ifindex: 12 }),
  ];
  const noticesOf = (attachments: readonly AttachmentRecord[]) =>
    formerNotices({
      nodeExits: [7, 8, 10, 11, 12].map((ifindex) => exitOf('pod', ifindex)),
      desired: { attachments },
      observed: { devices: new Map(devices.map((one) => [one.ifindex, one])) },
    });
  const sentence = (pods: string) => [
    `The CNI bandwidth plugin shapes pods that it has added: ${pods}; they keep that until they are recreated`,
  ];
  t.deepEqual(noticesOf([]), sentence('veth7 (egress, ingress), veth8 (egress), veth10 (ingress)'));
  t.deepEqual(noticesOf([OWN]), sentence('veth8 (egress), veth10 (ingress)'));
});

test('of many pods that the plugin shapes eight are named', (t) => {
  const indexes = Array.from({ length: 10 }, (_, index) => index + 20);
  const [notice = ''] = formerNotices({
    nodeExits: indexes.map((ifindex) => exitOf('pod', ifindex)),
    desired: { attachments: [] },
    observed: {
      devices: new Map(indexes.map((ifindex) => [ifindex, device(ROOTS.former, { ifindex })])),
    },
  });
  t.regex(notice, /veth27 \(ingress\) and 2 more; they keep/);
  t.deepEqual(
    formerNotices({
      nodeExits: [],
      desired: { attachments: [] },
      observed: { devices: new Map() },
    }),
    [],
  );
});
