// The bandwidth plugin's type is replaced in a list while pods run that it has shaped: podpaced
// tells of them, their DEL by podpace takes away what it made of them, and nothing else does.

import { execFileSync } from 'node:child_process';
import test, { type ExecutionContext } from 'ava';
import type { JsonObject } from '../../../cni/types.ts';
import { formerIfbName } from '../../../cni/wiring/former-ifb-name.ts';
import type { Caps, Direction } from '../../../helper/protocol/messages.ts';
import { remedies } from '../../../helper/protocol/remedies.ts';
import {
  addNetwork,
  collectPodpace,
  delNetwork,
  makeProcessNode,
  type Attachment,
  type NetworkList,
  type ProcessNode,
} from '../../kit/chain.ts';
import { inside, ip, makeNetnsFor } from '../../kit/cni-node.ts';
import {
  addUplink,
  leaveRecord,
  makeHelperDirectories,
  paramsOf,
  startOwnHelper,
  wirePod,
} from '../../kit/helper.ts';
import { makeNetns, type TestNetns } from '../../kit/netns.ts';
import { cniVariables, type Answer } from '../../kit/plugin.ts';

/** A burst that the plugin asks for; rates are as the kubelet gives them. */
const CAPABILITY_ARGS: JsonObject = {
  bandwidth: {
    ...{ ingressRate: 8_000_000, ingressBurst: 800_000 },
    ...{ egressRate: 8_000_000, egressBurst: 800_000 },
  },
};

/** A network of the ptp plugin and of another one, which is to shape. */
function listWith(type: string, name = 'pods'): NetworkList {
  const ipam = { type: 'host-local', ranges: [[{ subnet: '10.88.0.0/24' }]] };
  return {
    ...{ cniVersion: '1.0.0', name },
    plugins: [
      { type: 'ptp', ipam },
      { type, capabilities: { bandwidth: true } },
    ],
  };
}

interface Pod extends Attachment {
  readonly containerId: string;
  readonly result: Answer;
}

/** Adds a pod with caps in both directions by a list with the bandwidth plugin. */
async function addPod(
  t: ExecutionContext,
  node: ProcessNode,
  containerId: string,
  { network = 'pods', capabilityArgs = CAPABILITY_ARGS } = {},
): Promise<Pod> {
  const attachment = { netns: makeNetnsFor(t, 'pod'), containerId, capabilityArgs };
  return {
    ...attachment,
    result: await addNetwork(node, listWith('bandwidth', network), attachment),
  };
}

function hostInterfaceOf({ result: { interfaces = [] } }: Pod): string {
  return interfaces.find(({ sandbox }) => sandbox === undefined)?.name ?? '';
}

/** Name of the ifb that the plugin makes for a pod of this name. */
function ifbOf(containerId: string, network = 'pods'): string {
  return formerIfbName({ network, containerId });
}

/** Devices by name, each with its kind, qdiscs and filters. */
function picture({ netns }: Pick<ProcessNode, 'netns'>): Map<string, string> {
  const links = JSON.parse(ip(netns, '-j', '-d', 'link', 'show')) as {
    readonly ifname: string;
    readonly linkinfo?: { readonly info_kind?: string };
  }[];
  const qdiscs = inside(netns, 'tc', 'qdisc', 'show').split('\n');
  return new Map(
    links.map(({ ifname, linkinfo }) => {
      const own = qdiscs.filter((line) => line.includes(` dev ${ifname} `));
      const filters = own.some((line) => line.startsWith('qdisc ingress'))
        ? inside(netns, 'tc', 'filter', 'show', 'dev', ifname, 'ingress')
        : '';
      return [ifname, [linkinfo?.info_kind, ...own, filters].join('\n')];
    }),
  );
}

function without(devices: ReadonlyMap<string, string>, ...names: string[]): Map<string, string> {
  return new Map([...devices].filter(([name]) => !names.includes(name)));
}

test.serial('the name of the ifb is the one that the plugin itself gives it', async (t) => {
  const node = await makeProcessNode(t);
  const named = [
    ['pods', 'c1'],
    ['k8s-pod-network', '4f2a9d51c7b86e30'.repeat(4)],
    ['a.b_c-d', 'cnitool-77383ca0e5e7a3a0e5f1'],
  ] as const;
  const added = named.map(([network, id]) => addPod(t, node, id, { network }));
  const results = (await Promise.all(added)).map(({ result }) => result.interfaces?.at(-1)?.name);
  const names = named.map(([network, id]) => ifbOf(id, network));
  t.deepEqual(results, names);
  const devices = picture(node);
  for (const name of names) t.regex(devices.get(name) ?? '', /^ifb\nqdisc tbf 1: dev bwp\w+ root /);
});

test.serial('DEL takes away the ifb of its pod, and nothing else does', async (t) => {
  const node = await makeProcessNode(t);
  const { netns } = node;
  const pods = await Promise.all([
    addPod(t, node, 'first'),
    addPod(t, node, 'second'),
    addPod(t, node, 'torn'),
    addPod(t, node, 'uncapped', { capabilityArgs: {} }),
  ]);
  const [first, , torn, uncapped] = pods;
  ip(netns, 'link', 'delete', hostInterfaceOf(torn));
  // One of no ifb, one of another network, one of a device that has it besides its own name.
  ip(netns, 'link', 'add', ifbOf('uncapped'), 'type', 'bridge');
  ip(netns, 'link', 'add', ifbOf('first', 'others'), 'type', 'ifb');
  ip(netns, 'link', 'add', 'own', 'type', 'ifb');
  ip(netns, 'link', 'property', 'add', 'dev', 'own', 'altname', ifbOf('fourth'));
  const before = picture(node);
  for (const name of ['first', 'second', 'torn']) t.true(before.has(ifbOf(name)), name);

  const list = listWith('podpace');
  for (const valid of [pods, []]) await collectPodpace(node, list, valid);
  t.deepEqual(picture(node), before, 'GC');

  await delNetwork(node, list, first, first.result);
  const withoutFirst = without(before, ifbOf('first'), hostInterfaceOf(first));
  t.deepEqual(picture(node), withoutFirst, 'DEL');
  const gone = { netns: '', capabilityArgs: {} };
  await Promise.all([
    // As runtimes repeat it, when the sandbox has gone.
    delNetwork(node, list, { ...gone, containerId: 'first' }),
    delNetwork(node, list, { ...gone, containerId: 'fourth' }),
    delNetwork(node, list, { ...gone, containerId: 'torn' }),
    delNetwork(node, list, uncapped, uncapped.result),
  ]);
  const left = without(withoutFirst, ifbOf('torn'), hostInterfaceOf(uncapped));
  t.deepEqual(picture(node), left, 'DEL again, after the host interface, without a cap');
});

/** The pod's pair, `name` on the node, shaped by the bandwidth plugin in these directions. */
function wireFormer(
  node: TestNetns,
  sandbox: TestNetns,
  name: string,
  directions: readonly Direction[],
): void {
  wirePod(node, sandbox, name);
  const caps = directions.map((direction) => ({
    [`${direction}Rate`]: 8_000_000,
    [`${direction}Burst`]: 800_000,
  }));
  const interfaces = [{ name }, { name: 'eth0', sandbox: sandbox.netns.path }];
  const config = {
    ...{ cniVersion: '1.0.0', name: 'pods', type: 'bandwidth', prevResult: { interfaces } },
    ...Object.assign({}, ...caps),
  };
  execFileSync('nsenter', [`--net=${node.netns.path}`, '/usr/lib/cni/bandwidth'], {
    env: { ...cniVariables('ADD', sandbox.netns.path), CNI_CONTAINERID: name },
    input: JSON.stringify(config),
  });
}

const TBF = 'has a tbf root qdisc, by which the CNI bandwidth plugin shapes the pod: ';
const BOTH: Caps = {
  egress: { rateBitsPerSec: 10_000_000 },
  ingress: { rateBitsPerSec: 10_000_000 },
};

test.serial(
  'podpaced tells of pods that the plugin shapes, and fails no other for them',
  async (t) => {
    const [node, peer, ...sandboxes] = [0, 1, 2, 3, 4, 5].map(() => makeNetns(t));
    const [old1, old2, own, twice] = sandboxes as [TestNetns, TestNetns, TestNetns, TestNetns];
    addUplink(node!, peer!, 'uplink', 1);
    wireFormer(node!, old1, 'old1', ['egress', 'ingress']);
    wireFormer(node!, old2, 'old2', ['egress']);
    wirePod(node!, own, 'own');
    wireFormer(node!, twice, 'twice', ['egress', 'ingress']);
    // As routes lead to pods: to each alone.
    for (const [index, name] of ['old1', 'old2', 'own', 'twice'].entries())
      node!.ip('route', 'add', `10.86.0.${index + 1}`, 'dev', name);
    const directories = makeHelperDirectories(t);
    leaveRecord(node!, directories, paramsOf('own', own, BOTH));
    leaveRecord(node!, directories, paramsOf('twice', twice, BOTH));
    const before = picture({ netns: node!.netns.path });
    const helper = await startOwnHelper(t, node!, directories, ['--foreign-qdisc', 'replace']);

    const { notices, problems } = await helper.ask('status', {});
    t.true(
      notices.includes(
        'The CNI bandwidth plugin shapes pods that it has added: old1 (egress, ingress), old2 (egress); they keep that until they are recreated',
      ),
      notices.join('\n'),
    );
    t.true(problems.includes(`old1 ${TBF}${remedies.formerPlugin}`), problems.join('\n'));
    const { attachments } = await helper.ask('list', {});
    const listed = (pod: string) => attachments.find(({ hostInterface }) => hostInterface === pod);
    t.false((listed('own')?.problems ?? []).join('\n').includes('old1'));
    t.is(listed('own')?.notes, undefined);
    t.regex(
      listed('twice')?.notes?.join('\n') ?? '',
      /redirects packets to bwp.* and back: .*; the CNI bandwidth plugin has made it: recreate the pod/,
    );
    const checked = await t.throwsAsync(helper.ask('check', paramsOf('own', own, BOTH)));
    t.false(checked?.message.includes('old1'), checked?.message);

    const ofOld1 = (devices: ReadonlyMap<string, string>) =>
      ['old1', ifbOf('old1')].map((name) => devices.get(name));
    const now = picture({ netns: node!.netns.path });
    t.deepEqual(ofOld1(now), ofOld1(before), 'its only cap is not replaced');
    t.notDeepEqual(now.get('twice'), before.get('twice'), 'a second one is, as asked for');

    await helper.ask('uninstall', {});
    const left = picture({ netns: node!.netns.path });
    t.deepEqual(without(left, 'twice'), without(before, 'twice'));
  },
);
