// The shipped network lists, as they stand, with podpace as a process and Debian's plugins around
// it.

import type { ChildProcess } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { AttachParams } from '../../../helper/protocol/messages.ts';
import {
  addNetwork,
  ChainError,
  checkNetwork,
  delNetwork,
  makeProcessNode,
  readConflist,
  runOnNode,
  type NetworkList,
  type ProcessNode,
} from '../../kit/chain.ts';
import { ip, makeNetnsFor, reaches, snapshot } from '../../kit/cni-node.ts';
import { healthy, startFakeHelper, type Script } from '../../kit/fake-helper.ts';

/** Enough for a dozen processes where a VM emulates the processor. */
const SLOW_MS = 300_000;

/** As containerd sends it. */
const CAPABILITY_ARGS = {
  bandwidth: {
    IngressRate: 20_000_000,
    IngressBurst: 4294967295,
    EgressRate: 10_000_000,
    EgressBurst: 4294967295,
  },
  portMappings: [],
};

const CAPS = {
  egress: { rateBitsPerSec: 10_000_000, burstBits: 4294967295 },
  ingress: { rateBitsPerSec: 20_000_000, burstBits: 4294967295 },
};

/** The bridge plugin leaves its bridge when the last pod goes. */
function deleteBridge(node: ProcessNode): void {
  if (ip(node.netns, '-br', 'link').includes('cni0')) ip(node.netns, 'link', 'delete', 'cni0');
}

async function live(t: ExecutionContext, list: NetworkList, gateway: string): Promise<void> {
  t.timeout(SLOW_MS);
  const node = await makeProcessNode(t);
  const helper = await startFakeHelper(t, healthy, node.socketPath);
  const attachment = { netns: makeNetnsFor(t, 'pod'), capabilityArgs: CAPABILITY_ARGS };
  const before = await snapshot(node);
  const result = await addNetwork(node, list, attachment);
  t.is(result.cniVersion, list.cniVersion);
  t.true(reaches(attachment.netns, gateway));
  t.is(helper.requests.length, 1);
  t.like(helper.requests[0]?.params, { network: list.name, sandbox: attachment.netns, caps: CAPS });
  const [request] = helper.requests;
  const hostInterface =
    request?.method === 'attach' ? (request.params as AttachParams).hostInterface : '';
  t.regex(ip(node.netns, 'link', 'show', hostInterface), /veth|pod/);
  if (list.cniVersion >= '0.4.0') await checkNetwork(node, list, attachment, result);
  await delNetwork(node, list, attachment, result);
  await delNetwork(node, list, attachment);
  deleteBridge(node);
  t.is(await snapshot(node), before);
  t.deepEqual(
    new Set(helper.methods().slice(1)),
    new Set(list.cniVersion >= '0.4.0' ? ['check', 'detach'] : ['detach']),
  );
}

test.serial('10-podpace.conflist', (t) =>
  live(t, readConflist('10-podpace.conflist'), '10.85.0.1'),
);
test.serial('20-bridge-podpace.conflist', (t) =>
  live(t, readConflist('20-bridge-podpace.conflist'), '10.86.0.1'),
);
test.serial('30-ptp-podpace.conflist', (t) =>
  live(t, readConflist('30-ptp-podpace.conflist'), '10.87.0.1'),
);

test.serial('40-flannel-podpace.conflist, with the bridge that flannel delegates to', (t) => {
  const list = readConflist('40-flannel-podpace.conflist');
  // What the flannel plugin makes of its `delegate` section and of /run/flannel/subnet.env with
  // FLANNEL_NETWORK=10.244.0.0/16, FLANNEL_SUBNET=10.244.1.1/24, FLANNEL_MTU=1450,
  // FLANNEL_IPMASQ=true.
  const bridges = list.plugins.map((plugin) =>
    plugin['type'] !== 'flannel'
      ? plugin
      : {
          type: 'bridge',
          mtu: 1450,
          ipMasq: false,
          isGateway: true,
          ...(plugin['delegate'] as object),
          ipam: {
            type: 'host-local',
            ranges: [[{ subnet: '10.244.1.0/24' }]],
            routes: [{ dst: '10.244.0.0/16' }],
          },
        },
  );
  return live(t, { ...list, plugins: bridges }, '10.244.1.1');
});

test.serial('a chain without caps needs no helper', async (t) => {
  const node = await makeProcessNode(t);
  const list = readConflist('20-bridge-podpace.conflist');
  const attachment = { netns: makeNetnsFor(t, 'pod') };
  const result = await addNetwork(node, list, attachment);
  await t.notThrowsAsync(checkNetwork(node, list, attachment, result));
  await t.notThrowsAsync(delNetwork(node, list, attachment, result));
});

test.serial('a chain hands on what podpace does not know', async (t) => {
  const node = await makeProcessNode(t);
  const prevResult = {
    cniVersion: '1.0.0',
    interfaces: [{ name: 'eth0', sandbox: '/run/netns/x', vendor: { big: 1 } }],
    dns: {},
    'vendor.example/key': [1, 'two', null],
  };
  const text = JSON.stringify({ cniVersion: '1.0.0', name: 'n', prevResult }).replace(
    '"big":1',
    '"big":12345678901234567890',
  );
  const env = {
    CNI_COMMAND: 'ADD',
    CNI_CONTAINERID: 'c1',
    CNI_NETNS: '/run/netns/x',
    CNI_IFNAME: 'eth0',
    CNI_PATH: '/',
  };
  const run = await runOnNode(node, [path.join(node.root, 'bin/podpace')], env, text);
  t.is(run.status, 0, run.stdout + run.stderr);
  t.is(run.stdout.replaceAll(/\s/g, ''), text.slice(text.indexOf('"prevResult":') + 13, -1));
});

test.serial('SIGTERM while the helper is silent undoes ADD', async (t) => {
  const node = await makeProcessNode(t);
  const before = await snapshot(node);
  let podpace: ChildProcess | undefined;
  const silent: Script = (request, connection) => {
    if (request.method === 'attach') podpace?.kill('SIGTERM');
    else healthy(request, connection);
  };
  await startFakeHelper(t, silent, node.socketPath);
  const { plugins, ...rest } = readConflist('10-podpace.conflist');
  const config = { ...rest, ...plugins[0], egressRate: 1_000_000, egressBurst: 1_000_000 };
  const env = {
    CNI_COMMAND: 'ADD',
    CNI_CONTAINERID: 'c1',
    CNI_NETNS: makeNetnsFor(t, 'pod'),
    CNI_IFNAME: 'eth0',
    CNI_PATH: node.cniPath,
  };
  const argv = [path.join(node.root, 'bin/podpace')];
  const run = await runOnNode(
    node,
    argv,
    env,
    JSON.stringify(config),
    (child) => (podpace = child),
  );
  t.is(run.status, 1, run.stderr);
  t.like(JSON.parse(run.stdout), { code: 107, msg: 'Cannot finish: stopped by SIGTERM' });
  t.is(await snapshot(node), before);
});

test.serial('macvlan has no host interface', async (t) => {
  const node = await makeProcessNode(t);
  await startFakeHelper(t, healthy, node.socketPath);
  ip(node.netns, 'link', 'add', 'up0', 'type', 'veth', 'peer', 'up1');
  ip(node.netns, 'link', 'set', 'up0', 'up');
  const ipam = { type: 'static', addresses: [{ address: '10.93.0.5/24' }] };
  const list: NetworkList = {
    cniVersion: '1.0.0',
    name: 'macs',
    plugins: [
      { type: 'macvlan', master: 'up0', ipam },
      { type: 'podpace', capabilities: { bandwidth: true } },
    ],
  };
  const attachment = { netns: makeNetnsFor(t, 'pod'), capabilityArgs: CAPABILITY_ARGS };
  const error = await t.throwsAsync(addNetwork(node, list, attachment), { instanceOf: ChainError });
  t.is(error.answer.code, 104);
  t.regex(error.answer.msg ?? '', /^Cannot cap interface "eth0": it is of kind macvlan/);
  await delNetwork(node, list, attachment);
});

test.serial('VERSION needs nothing, and a process writes nothing but what it must', async (t) => {
  const node = await makeProcessNode(t);
  const podpace = path.join(node.root, 'bin/podpace');
  const run = await runOnNode(node, [podpace], { CNI_COMMAND: 'VERSION' }, '');
  t.deepEqual(JSON.parse(run.stdout), {
    cniVersion: '1.1.0',
    supportedVersions: ['0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'],
  });
  const about = await runOnNode(node, [podpace], {}, '');
  t.is(about.status, 0);
  t.regex(
    about.stderr,
    /^CNI podpace plugin version .*\nCNI protocol versions supported: 0\.3\.0, 0\.3\.1,/,
  );
  t.deepEqual(fs.readdirSync(path.join(node.root, 'run/podpace')), []);
});
