import fs from 'node:fs';
import path from 'node:path';
import test from 'ava';
import {
  deleteNetns,
  inside,
  ip,
  makeNetnsFor,
  makeNode,
  reaches,
  snapshot,
} from '../../kit/cni-node.ts';
import { refuses, startFakeHelper } from '../../kit/fake-helper.ts';
import { BANDWIDTH, call, DUAL, fail, makePod, succeed, V4, V6, type Pod } from '../../kit/pod.ts';

test.serial('ADD, CHECK and DEL of an IPv4 pod', async (t) => {
  const pod = makePod(t);
  const before = await snapshot(pod.node);
  const result = await succeed(t, call(pod, 'ADD'));
  t.is(result.cniVersion, '1.0.0');
  t.is(result.interfaces?.length, 2);
  t.regex(result.interfaces?.[0]?.name ?? '', /^pod[0-9a-f]{12}$/);
  t.like(result.interfaces?.[1], { name: 'eth0', sandbox: pod.sandbox });
  t.deepEqual(result.ips, [{ interface: 1, address: '10.91.0.2/24', gateway: '10.91.0.1' }]);
  t.deepEqual(result.routes, [{ dst: '0.0.0.0/0' }]);
  t.regex(ip(pod.sandbox, 'route'), /^default via 10\.91\.0\.1 dev eth0/m);
  t.regex(ip(pod.node.netns, 'route'), /^10\.91\.0\.2 dev pod/m);
  t.regex(ip(pod.node.netns, 'link'), /alias podpace:pods\/c1\/eth0/);
  t.true(reaches(pod.sandbox, '10.91.0.1'));
  await succeed(t, call(pod, 'CHECK', { prevResult: result }));
  await succeed(t, call(pod, 'DEL', { prevResult: result }));
  t.is(await snapshot(pod.node), before);
  await succeed(t, call(pod, 'DEL'));
  await succeed(t, call(pod, 'DEL', {}, { CNI_NETNS: '' }));
});

test.serial('two pods of one subnet reach each other through the node', async (t) => {
  const pod = makePod(t);
  const other = { ...pod, sandbox: makeNetnsFor(t, 'pod') };
  await succeed(t, call(pod, 'ADD'));
  const result = await succeed(t, call(other, 'ADD', {}, { CNI_CONTAINERID: 'c2' }));
  const address = result.ips?.[0]?.address.split('/')[0] ?? '';
  t.true(reaches(pod.sandbox, address));
});

test.serial('an IPv6 pod is reachable at once', async (t) => {
  const pod = makePod(t, V6);
  // As some runtimes leave it.
  inside(pod.sandbox, 'sysctl', '-qw', 'net.ipv6.conf.default.disable_ipv6=1');
  const result = await succeed(t, call(pod, 'ADD'));
  t.deepEqual(result.ips, [{ interface: 1, address: 'fd91::2/64', gateway: 'fd91::1' }]);
  t.true(reaches(pod.sandbox, 'fd91::1'));
  t.regex(ip(pod.sandbox, '-6', 'route'), /^default via fd91::1 dev eth0/m);
  await succeed(t, call(pod, 'CHECK', { prevResult: result }));
});

test.serial('a dual-stack pod, in every version of the specification', async (t) => {
  for (const cniVersion of ['0.3.0', '0.3.1', '0.4.0', '1.0.0']) {
    const pod = makePod(t, DUAL, { cniVersion });
    const result = await succeed(t, call(pod, 'ADD'));
    t.is(result.cniVersion, cniVersion);
    t.deepEqual(
      result.ips?.map(({ version }) => version),
      cniVersion === '1.0.0' ? [undefined, undefined] : ['4', '6'],
    );
    t.true(reaches(pod.sandbox, '10.91.0.1'));
    t.true(reaches(pod.sandbox, 'fd91::1'));
    if (cniVersion >= '0.4.0') await succeed(t, call(pod, 'CHECK', { prevResult: result }));
    await succeed(t, call(pod, 'DEL', { prevResult: result }));
  }
});

test.serial('the MTU is the given one, else that of the default route', async (t) => {
  const given = makePod(t, V4, { mtu: 1380 });
  await succeed(t, call(given, 'ADD'));
  t.regex(ip(given.sandbox, 'link', 'show', 'eth0'), /mtu 1380/);
  t.regex(ip(given.node.netns, 'link'), /pod[0-9a-f]+@.*mtu 1380/);

  const derived = makePod(t);
  const { netns } = derived.node;
  ip(netns, 'link', 'add', 'up0', 'mtu', '1450', 'type', 'veth', 'peer', 'up1');
  ip(netns, 'link', 'set', 'up1', 'up');
  ip(netns, 'addr', 'add', '192.0.2.2/24', 'dev', 'up0');
  ip(netns, 'link', 'set', 'up0', 'up');
  ip(netns, 'route', 'add', 'default', 'via', '192.0.2.1');
  await succeed(t, call(derived, 'ADD'));
  t.regex(ip(derived.sandbox, 'link', 'show', 'eth0'), /mtu 1450/);

  const none = makePod(t);
  await succeed(t, call(none, 'ADD'));
  t.regex(ip(none.sandbox, 'link', 'show', 'eth0'), /mtu 1500/);
});

test.serial('the MTU is that of the default route however this names its devices', async (t) => {
  for (const [what, mtu, commands] of [
    ['a nexthop object', 1440, ['route add default nhid 1']],
    ['a group of objects', 1430, ['nexthop add id 3 group 1/2', 'route add default nhid 3']],
    [
      'several next hops',
      1430,
      ['route add default nexthop via 192.0.2.1 nexthop via 198.51.100.1'],
    ],
  ] as const) {
    const pod = makePod(t);
    const { netns } = pod.node;
    const run = (command: string) => ip(netns, ...command.split(' '));
    inside(netns, 'sysctl', '-qw', 'net.ipv4.nexthop_compat_mode=0');
    for (const [name, bytes, address] of [
      ['up0', 1440, '192.0.2.2/24'],
      ['low0', 1430, '198.51.100.2/24'],
    ] as const) {
      run(`link add ${name} mtu ${bytes} type veth peer ${name}-far`);
      run(`link set ${name}-far up`);
      run(`addr add ${address} dev ${name}`);
      run(`link set ${name} up`);
    }
    run('nexthop add id 1 via 192.0.2.1 dev up0');
    run('nexthop add id 2 via 198.51.100.1 dev low0');
    for (const command of commands) run(command);
    await succeed(t, call(pod, 'ADD'));
    t.regex(ip(pod.sandbox, 'link', 'show', 'eth0'), new RegExp(`mtu ${mtu}`), what);
  }
});

test.serial('an interface that exists is left alone, and so is its address', async (t) => {
  const pod = makePod(t);
  await succeed(t, call(pod, 'ADD'));
  const before = await snapshot(pod.node);
  await fail(t, call(pod, 'ADD'), 105, /interface "eth0": it exists already in \/run\/netns/);
  t.is(await snapshot(pod.node), before);
  t.notThrows(() => ip(pod.sandbox, 'link', 'show', 'eth0'));
});

test.serial("the node's own namespace is never a pod's", async (t) => {
  const pod = makePod(t);
  const own = { CNI_NETNS: '/proc/self/ns/net' };
  await fail(
    t,
    call(pod, 'ADD', {}, own),
    8,
    /plugin's netns and netns from CNI_NETNS should not be the same/,
  );
  await fail(t, call(pod, 'DEL', {}, own), 8, /plugin's netns/);
});

test.serial('a namespace that is gone or none', async (t) => {
  const pod = makePod(t);
  const before = await snapshot(pod.node);
  await fail(
    t,
    call(pod, 'ADD', {}, { CNI_NETNS: '/run/netns/pp-none' }),
    4,
    /failed to open netns "\/run\/netns\/pp-none"/,
  );
  await fail(t, call(pod, 'ADD', {}, { CNI_NETNS: '/etc/hostname' }), 4, /failed to open netns/);
  await succeed(t, call(pod, 'DEL', {}, { CNI_NETNS: '/etc/hostname' }));
  t.is(await snapshot(pod.node), before);
});

test.serial('DEL after the namespace is gone releases the address', async (t) => {
  const pod = makePod(t);
  const before = await snapshot(pod.node);
  await succeed(t, call(pod, 'ADD'));
  deleteNetns(pod.sandbox);
  await succeed(t, call(pod, 'DEL'));
  t.is(await snapshot(pod.node), before);
});

test.serial('DEL finds a host interface that was renamed', async (t) => {
  const pod = makePod(t);
  const before = await snapshot(pod.node);
  const result = await succeed(t, call(pod, 'ADD'));
  const host = result.interfaces?.[0]?.name ?? '';
  ip(pod.node.netns, 'link', 'set', host, 'down');
  ip(pod.node.netns, 'link', 'set', host, 'name', 'renamed0');
  await succeed(t, call(pod, 'DEL'));
  t.is(await snapshot(pod.node), before);
});

test.serial('DEL succeeds with caps, prevResult and keys that nobody can read', async (t) => {
  const pod = makePod(t);
  const before = await snapshot(pod.node);
  await succeed(t, call(pod, 'ADD'));
  const nonsense = {
    prevResult: 'x',
    ingressRate: 'fast',
    runtimeConfig: { bandwidth: 'x' },
    socket: 5,
    device: [],
    mtu: -1,
  };
  await succeed(t, call(pod, 'DEL', nonsense));
  t.is(await snapshot(pod.node), before);
});

test.serial('ADD with caps asks the helper, DEL detaches', async (t) => {
  const pod = makePod(t);
  const helper = await startFakeHelper(t);
  const more = { socket: helper.socketPath, runtimeConfig: { bandWidth: BANDWIDTH } };
  const result = await succeed(t, call(pod, 'ADD', more));
  t.like(helper.requests[0], { version: 3, method: 'attach' });
  t.deepEqual(helper.requests[0]?.params, {
    network: 'pods',
    containerId: 'c1',
    ifname: 'eth0',
    hostInterface: result.interfaces?.[0]?.name,
    sandbox: pod.sandbox,
    caps: { egress: { rateBitsPerSec: 10_000_000, burstBits: 4294967295 } },
    capSource: 'annotation',
  });
  await succeed(t, call(pod, 'CHECK', { ...more, prevResult: result }));
  await succeed(t, call(pod, 'DEL', more));
  t.deepEqual(helper.methods(), ['attach', 'check', 'detach']);
});

test.serial('a pod without caps never asks the helper in ADD', async (t) => {
  const pod = makePod(t);
  const helper = await startFakeHelper(t);
  const zeros = { IngressRate: 0, IngressBurst: 0, EgressRate: 0, EgressBurst: 0 };
  await succeed(
    t,
    call(pod, 'ADD', { socket: helper.socketPath, runtimeConfig: { bandwidth: zeros } }),
  );
  t.deepEqual(helper.methods(), []);
});

test.serial('a refused cap undoes everything, or is a loud warning', async (t) => {
  const pod = makePod(t);
  const before = await snapshot(pod.node);
  const error = {
    code: 'unenforceable',
    message: 'this kernel has no sch_fq',
    remedy: 'load it',
  } as const;
  const helper = await startFakeHelper(t, refuses('attach', error));
  const more = { socket: helper.socketPath, runtimeConfig: { bandwidth: BANDWIDTH } };
  const answer = await fail(t, call(pod, 'ADD', more), 100, /no sch_fq/);
  t.regex(answer.details ?? '', /^load it; attachment \S+\/eth0$/);
  t.is(await snapshot(pod.node), before);
  t.deepEqual(helper.methods(), ['attach', 'detach']);
  t.notRegex(ip(pod.sandbox, 'link'), /eth0/);

  const outcome = await call(pod, 'ADD', { ...more, onUnenforceable: 'allow' });
  t.is(outcome.status, 0);
  t.regex(outcome.stderr, /WARNING: the cap is not enforced .*no sch_fq; load it/);
});

test.serial('an absent helper fails ADD with caps and leaves nothing', async (t) => {
  const pod = makePod(t);
  const before = await snapshot(pod.node);
  const more = { socket: '/run/pp-none.sock', runtimeConfig: { bandwidth: BANDWIDTH } };
  const answer = await fail(
    t,
    call(pod, 'ADD', more),
    11,
    /Cannot reach the helper at \/run\/pp-none\.sock/,
  );
  t.regex(answer.details ?? '', /start podpaced/);
  t.is(await snapshot(pod.node), before);
  const del = await call(pod, 'DEL', more);
  t.is(del.status, 0);
  t.regex(del.stderr, /DEL goes on/);
});

test.serial('IPAM errors are passed on unwrapped and leave nothing', async (t) => {
  const pod = makePod(t, { ...V4, ranges: [{ subnet: '10.91.0.0/30' }] });
  await succeed(t, call(pod, 'ADD'));
  const other = { ...pod, sandbox: makeNetnsFor(t, 'pod') };
  const before = await snapshot(pod.node);
  await fail(
    t,
    call(other, 'ADD', {}, { CNI_CONTAINERID: 'c2' }),
    999,
    /^failed to allocate for range 0: no IP addresses/,
  );
  t.is(await snapshot(pod.node), before);
});

test.serial('a missing IPAM plugin', async (t) => {
  const pod = makePod(t);
  const more = { ipam: { type: 'nonesuch' } };
  await fail(
    t,
    call(pod, 'ADD', more),
    7,
    /^failed to find plugin "nonesuch" in path \[\/usr\/lib\/cni\]$/,
  );
  await fail(t, call(pod, 'DEL', more), 7, /^failed to find plugin/);
});

test.serial('a pod whose IPAM names no gateway gets a link-local one', async (t) => {
  const node = makeNode(t);
  const addresses = [{ address: '10.92.0.5/32' }, { address: 'fd92::5/128' }];
  const ipam = { type: 'static', addresses, routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0' }] };
  const pod = {
    node,
    sandbox: makeNetnsFor(t, 'pod'),
    config: { cniVersion: '1.0.0', name: 'pods', ipam },
  };
  const result = await succeed(t, call(pod, 'ADD'));
  t.deepEqual(
    result.ips?.map(({ gateway }) => gateway),
    ['169.254.1.1', 'fe80::1'],
  );
  t.true(reaches(pod.sandbox, '169.254.1.1'));
  t.true(reaches(node.netns, 'fd92::5'));
  await succeed(t, call(pod, 'CHECK', { prevResult: result }));
});

test.serial('routes keep what the specification lets IPAM say', async (t) => {
  const routes = [{ dst: '0.0.0.0/0' }, { dst: '198.51.100.7/24', gw: '10.91.0.1' }];
  const pod = makePod(t, { ...V4, routes });
  await succeed(t, call(pod, 'ADD'));
  t.regex(ip(pod.sandbox, 'route'), /^198\.51\.100\.0\/24 via 10\.91\.0\.1 dev eth0/m);
});

const DAMAGES: readonly [what: string, damage: (pod: Pod, host: string) => void, text: RegExp][] = [
  [
    'interface',
    ({ sandbox }) => ip(sandbox, 'link', 'delete', 'eth0'),
    /Cannot find interface "eth0"/,
  ],
  [
    'address',
    ({ sandbox }) => ip(sandbox, 'addr', 'flush', 'dev', 'eth0'),
    /address 10\.91\.0\.2\/24/,
  ],
  [
    'route',
    ({ sandbox }) => ip(sandbox, 'route', 'delete', 'default'),
    /route to 0\.0\.0\.0\/0 via 10\.91\.0\.1/,
  ],
  [
    'host interface',
    ({ node }, host) => {
      ip(node.netns, 'link', 'set', host, 'down');
      ip(node.netns, 'link', 'set', host, 'name', 'other0');
    },
    /host interface "pod/,
  ],
  [
    'host address',
    ({ node }, host) => ip(node.netns, 'addr', 'flush', 'dev', host),
    /address 10\.91\.0\.1\/32/,
  ],
  [
    'host route',
    ({ node }) => ip(node.netns, 'route', 'delete', '10.91.0.2/32'),
    /route to 10\.91\.0\.2\/32/,
  ],
  ['state', ({ sandbox }) => ip(sandbox, 'link', 'set', 'eth0', 'down'), /in the state up/],
  [
    'hardware address',
    ({ sandbox }) => ip(sandbox, 'link', 'set', 'eth0', 'address', '02:00:00:00:00:01'),
    /hardware address/,
  ],
];

for (const [what, damage, text] of DAMAGES) {
  test.serial(`CHECK notices a missing ${what}`, async (t) => {
    const pod = makePod(t);
    const result = await succeed(t, call(pod, 'ADD'));
    damage(pod, result.interfaces?.[0]?.name ?? '');
    await fail(t, call(pod, 'CHECK', { prevResult: result }), 103, text);
  });
}

test.serial('CHECK passes on what IPAM and the helper miss', async (t) => {
  const pod = makePod(t);
  const error = { code: 'check-failed', message: 'the leaf qdisc of eth0 is missing' } as const;
  const helper = await startFakeHelper(t, refuses('check', error));
  const more = { socket: helper.socketPath, runtimeConfig: { bandwidth: BANDWIDTH } };
  const prevResult = await succeed(t, call(pod, 'ADD', more));
  await fail(t, call(pod, 'CHECK', { ...more, prevResult }), 103, /leaf qdisc of eth0 is missing/);
  fs.rmSync(path.join(pod.node.dataDir, 'pods', '10.91.0.2'));
  await fail(
    t,
    call(pod, 'CHECK', { ...more, prevResult }),
    999,
    /host-local: Failed to find address/,
  );
  await fail(t, call(pod, 'CHECK', more), 7, /Required prevResult missing/);
});
