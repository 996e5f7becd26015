// The host interface of a pod's interface, as other plugins leave it.

import test, { type ExecutionContext } from 'ava';
import { ip, makeNetnsFor, makeNode } from '../../kit/cni-node.ts';
import { startFakeHelper } from '../../kit/fake-helper.ts';
import { BANDWIDTH, call, fail, succeed, type Pod } from '../../kit/pod.ts';

async function makeChainedPod(t: ExecutionContext) {
  const node = makeNode(t);
  const sandbox = makeNetnsFor(t, 'pod');
  const helper = await startFakeHelper(t);
  const prevResult = { cniVersion: '1.0.0', interfaces: [{ name: 'eth0', sandbox }], ips: [] };
  const config = {
    cniVersion: '1.0.0',
    name: 'pods',
    socket: helper.socketPath,
    runtimeConfig: { bandwidth: BANDWIDTH },
    prevResult,
  };
  const pod: Pod = { node, sandbox, config };
  return { pod, helper };
}

function name(netns: string): string {
  return netns.slice(netns.lastIndexOf('/') + 1);
}

test.serial('the other end of a veth pair', async (t) => {
  const { pod, helper } = await makeChainedPod(t);
  ip(
    pod.node.netns,
    'link',
    'add',
    'host7',
    'type',
    'veth',
    'peer',
    'eth0',
    'netns',
    name(pod.sandbox),
  );
  await succeed(t, call(pod, 'ADD'));
  await succeed(t, call(pod, 'CHECK'));
  await succeed(t, call(pod, 'DEL'));
  t.deepEqual(helper.methods(), ['attach', 'check', 'detach']);
  t.like(helper.requests[0]?.params, { hostInterface: 'host7', sandbox: pod.sandbox });
  t.regex(ip(pod.sandbox, 'link', 'show', 'eth0'), /eth0/, 'the pair is not ours to delete');
});

test.serial('a pair whose other end is in a third namespace', async (t) => {
  const { pod, helper } = await makeChainedPod(t);
  const third = makeNetnsFor(t, 'third');
  const other = makeNetnsFor(t, 'other');
  // Another pod's pair has the same indexes at both ends, and must not be mistaken for this one.
  const indexes = [
    'link',
    'add',
    'host7',
    'index',
    '77',
    'type',
    'veth',
    'peer',
    'eth0',
    'index',
    '78',
    'netns',
  ];
  ip(third, ...indexes, name(pod.sandbox));
  ip(pod.node.netns, ...indexes, name(other));
  await fail(
    t,
    call(pod, 'ADD'),
    104,
    /the other end of its veth pair is not in the node's network namespace$/,
  );
  t.deepEqual(helper.methods(), []);
});

test.serial('a pair of which both ends are in the pod', async (t) => {
  const { pod } = await makeChainedPod(t);
  ip(pod.sandbox, 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'eth1');
  await fail(
    t,
    call(pod, 'ADD'),
    104,
    /^Cannot cap interface "eth0": both ends of its veth pair are in /,
  );
});

test.serial('an interface of another kind', async (t) => {
  const { pod } = await makeChainedPod(t);
  ip(pod.sandbox, 'link', 'add', 'eth0', 'type', 'bridge');
  await fail(
    t,
    call(pod, 'ADD'),
    104,
    /^Cannot cap interface "eth0": it is of kind bridge and has no host interface$/,
  );
  await fail(t, call(pod, 'CHECK'), 104, /of kind bridge/);
});

test.serial('an interface that is not there', async (t) => {
  const { pod } = await makeChainedPod(t);
  await fail(t, call(pod, 'ADD'), 103, /^Cannot find interface "eth0": it is not in \/run\/netns/);
});
