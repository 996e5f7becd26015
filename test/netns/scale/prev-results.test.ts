// podpace behind every plugin that people chain behind: what each lists in its result, and that
// podpace finds the host interface and the pod's addresses all the same.

import test, { type ExecutionContext } from 'ava';
import type { JsonObject } from '../../../cni/types.ts';
import { encodeLine } from '../../../helper/protocol/frame.ts';
import type { AttachParams } from '../../../helper/protocol/messages.ts';
import { ip, makeNetnsFor, makeNode } from '../../kit/cni-node.ts';
import {
  servingOnly,
  startFakeHelper,
  type FakeHelper,
  type Script,
} from '../../kit/fake-helper.ts';
import { addresses, BOTH, inVersion, SHAPES, type Shape } from '../../kit/prev-results.ts';
import { BANDWIDTH, call, fail, succeed, type Pod } from '../../kit/pod.ts';

function link(node: string, host: string, sandbox: string, ifname: string): void {
  const pod = sandbox.slice(sandbox.lastIndexOf('/') + 1);
  ip(node, 'link', 'add', host, 'type', 'veth', 'peer', ifname, 'netns', pod);
}

async function wire(
  t: ExecutionContext,
  { host, ifname = 'eth0', beside }: Pick<Shape, 'host' | 'ifname' | 'beside'>,
) {
  const node = makeNode(t);
  const sandbox = makeNetnsFor(t, 'pod');
  const helper = await startFakeHelper(t);
  if (beside !== undefined) link(node.netns, beside[0], sandbox, beside[1]);
  link(node.netns, host, sandbox, ifname);
  const mac = /link\/ether (\S+)/.exec(ip(sandbox, 'link', 'show', ifname))?.[1] ?? '';
  const config = {
    name: 'pods',
    socket: helper.socketPath,
    hostRouting: true,
    runtimeConfig: { bandwidth: BANDWIDTH },
  };
  const pod: Pod = { node, sandbox, config };
  const [shown] = beside === undefined ? [] : linksOf(node.netns, beside[0]);
  return { pod, mac, helper, besideIndex: shown?.ifindex };
}

function linksOf(netns: string, name: string): { readonly ifindex: number }[] {
  return JSON.parse(ip(netns, '-json', 'link', 'show', name)) as { readonly ifindex: number }[];
}

/** What a request says of the pair beside; of one that the result lists it is said in CHECK too. */
function besideIn({ beside }: AttachParams): unknown {
  return beside?.map(({ hostRouting, ...pair }) => ({
    ...pair,
    addresses: hostRouting?.addresses ?? [],
  }));
}

for (const shape of SHAPES) {
  test.serial(`behind ${shape.plugin}`, async (t) => {
    const {
      ifname = 'eth0',
      host,
      addresses: expected = BOTH,
      beside,
      besideAddresses = [],
    } = shape;
    const { pod, mac, helper, besideIndex } = await wire(t, shape);
    const pair = beside !== undefined && {
      ...{ podInterface: beside[1], hostInterface: beside[0], hostInterfaceIndex: besideIndex },
      addresses: besideAddresses,
    };
    const env = { CNI_IFNAME: ifname };
    for (const cniVersion of shape.versions) {
      const prevResult = inVersion(shape.result({ sandbox: pod.sandbox, mac }), cniVersion);
      const from = helper.requests.length;
      const printed = await succeed(t, call(pod, 'ADD', { cniVersion, prevResult }, env));
      t.deepEqual(printed as JsonObject, prevResult, `${cniVersion}: ${shape.source}`);
      const canCheck = cniVersion !== '0.3.0' && cniVersion !== '0.3.1';
      if (canCheck) await succeed(t, call(pod, 'CHECK', { cniVersion, prevResult }, env));
      const requests = helper.requests.slice(from);
      t.deepEqual(
        requests.map(({ method }) => method),
        canCheck ? ['attach', 'check'] : ['attach'],
      );
      for (const { method, params } of requests) {
        const { hostInterface, sandbox, hostRouting, unheld } = params as AttachParams;
        const isListed = JSON.stringify(prevResult).includes(`"${String(beside?.[1])}"`);
        const isTaken =
          pair !== false && shape.isOfAnother !== true && (isListed || method === 'attach');
        t.deepEqual(besideIn(params as AttachParams), isTaken ? [pair] : undefined, method);
        t.is(unheld, undefined);
        t.deepEqual({ hostInterface, sandbox }, { hostInterface: host, sandbox: pod.sandbox });
        t.deepEqual(hostRouting, { addresses: expected, mac }, `${cniVersion}: ${shape.source}`);
      }
    }
  });
}

test.serial('where the kernel has no pair of the interface no result helps', async (t) => {
  const { pod } = await wire(t, { host: 'vethb1c2', ifname: 'net9' });
  const claims = [{ name: 'vethb1c2' }, { name: 'eth0', sandbox: pod.sandbox }];
  for (const interfaces of [undefined, [], claims]) {
    const more = {
      cniVersion: '1.0.0',
      prevResult: { ...(interfaces && { interfaces }), ips: addresses() },
    };
    await fail(t, call(pod, 'ADD', more), 103, /^Cannot find interface "eth0": it is not in /);
    await fail(t, call(pod, 'CHECK', more), 103, /^Cannot find interface "eth0": it is not in /);
  }
  ip(pod.sandbox, 'link', 'add', 'link', 'net9', 'name', 'eth0', 'type', 'macvlan');
  for (const interfaces of [undefined, claims]) {
    const more = {
      cniVersion: '1.0.0',
      prevResult: { ...(interfaces && { interfaces }), ips: addresses() },
    };
    await fail(
      t,
      call(pod, 'ADD', more),
      104,
      /^Cannot cap interface "eth0": it is of kind macvlan/,
    );
    await fail(
      t,
      call(pod, 'CHECK', more),
      104,
      /^Cannot cap interface "eth0": it is of kind macvlan/,
    );
  }
});

/**
 * A pod's second interface that is no pair with the node: what else there is, see
 * test/unit/cni/wiring/ways.test.ts.
 */
const SECONDS: Readonly<
  Record<string, { readonly make: readonly string[]; readonly reason?: RegExp }>
> = {
  macvlan: {
    make: ['link', 'parent0', 'type', 'macvlan'],
    reason: /^it is of kind macvlan, whose packets do not/,
  },
  'one end of a pair whose other end is in a third namespace': {
    make: ['type', 'veth'],
    reason: /^the other end of its veth pair is not in the node's/,
  },
  'an ifb, by which nothing leaves': { make: ['type', 'ifb'] },
};

function lastOf({ requests }: FakeHelper): AttachParams {
  return requests.at(-1)!.params as AttachParams;
}

for (const [kind, { make, reason }] of Object.entries(SECONDS)) {
  test.serial(`a second interface of the pod: ${kind}`, async (t) => {
    const { pod, helper } = await wire(t, { host: 'vethb1c2' });
    const { netns } = pod.node;
    const name = pod.sandbox.slice(pod.sandbox.lastIndexOf('/') + 1);
    ip(netns, 'link', 'add', 'parent0', 'type', 'bridge');
    ip(netns, 'link', 'add', 'second0', ...make);
    if (make.includes('veth')) {
      const third = makeNetnsFor(t, 'third');
      ip(netns, 'link', 'set', 'veth0', 'netns', third.slice(third.lastIndexOf('/') + 1));
    }
    ip(netns, 'link', 'set', 'second0', 'netns', name, 'name', 'net1');
    const listed = [
      { name: 'eth0', sandbox: pod.sandbox },
      { name: 'net1', sandbox: pod.sandbox },
    ];
    for (const interfaces of [listed, listed.slice(0, 1), []]) {
      const prevResult = { interfaces, ips: addresses() };
      for (const method of ['ADD', 'CHECK']) {
        await succeed(t, call(pod, method, { cniVersion: '1.0.0', prevResult }));
        const { unheld = [], beside } = lastOf(helper);
        t.is(beside, undefined);
        // CHECK goes by what the list has made: other lists may have made interfaces meanwhile.
        const isTold = reason !== undefined && (method === 'ADD' || interfaces.length === 2);
        t.deepEqual(
          unheld.map(({ podInterface }) => podInterface),
          isTold ? ['net1'] : [],
        );
        if (isTold) t.regex(unheld[0]?.reason ?? '', reason);
      }
    }
    // Of a second attachment it is taken only what its list has made.
    ip(pod.sandbox, 'link', 'set', 'eth0', 'name', 'net0');
    const prevResult = { interfaces: [{ name: 'net0', sandbox: pod.sandbox }], ips: addresses() };
    await succeed(t, call(pod, 'ADD', { cniVersion: '1.0.0', prevResult }, { CNI_IFNAME: 'net0' }));
    t.is(lastOf(helper).unheld, undefined);
  });
}

test.serial('a helper that knows one interface of a pod is told of no second one', async (t) => {
  const { pod } = await wire(t, { host: 'eni5c2', beside: ['veth4a7e', 'v4if0'] });
  const knowsOne: Script = ({ version, method }, connection) => {
    const result = method === 'attach' ? { degraded: [], notices: [] } : {};
    connection.write(encodeLine({ version, result }));
  };
  const former = await startFakeHelper(t, servingOnly(2, knowsOne));
  const prevResult = { interfaces: [{ name: 'eth0', sandbox: pod.sandbox }] };
  const more = { cniVersion: '1.0.0', prevResult, socket: former.socketPath };
  await fail(t, call(pod, 'ADD', more), 100, /^Cannot enforce the cap on interface "v4if0" too/);
  t.deepEqual(
    former.requests.filter(({ version }) => version === 2).map(({ method }) => method),
    ['attach', 'detach'],
  );
  ip(pod.sandbox, 'link', 'delete', 'v4if0');
  await succeed(t, call(pod, 'ADD', more));
});
