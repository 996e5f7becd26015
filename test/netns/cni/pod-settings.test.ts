// What the plugin sets in a pod besides its interface, and MTUs that addresses cannot live with.

import test from 'ava';
import { inside, ip, snapshot } from '../../kit/cni-node.ts';
import { startFakeHelper } from '../../kit/fake-helper.ts';
import { BANDWIDTH, call, DUAL, fail, makePod, succeed, V4 } from '../../kit/pod.ts';

function congestionControlIn(netns: string): string {
  return inside(netns, 'sysctl', '-n', 'net.ipv4.tcp_congestion_control').trim();
}

test.serial('congestion control is set in the pod only, and CHECK looks for it', async (t) => {
  const pod = makePod(t, V4, { congestionControl: 'reno' });
  const node = congestionControlIn(pod.node.netns);
  t.not(node, 'reno', 'this test needs another default');
  const result = await succeed(t, call(pod, 'ADD'));
  t.is(congestionControlIn(pod.sandbox), 'reno');
  t.is(congestionControlIn(pod.node.netns), node);
  await succeed(t, call(pod, 'CHECK', { prevResult: result }));
  inside(pod.sandbox, 'sysctl', '-qw', `net.ipv4.tcp_congestion_control=${node}`);
  await fail(
    t,
    call(pod, 'CHECK', { prevResult: result }),
    103,
    /Cannot find congestion control "reno"/,
  );
});

test.serial(
  'an algorithm that the kernel does not have is refused with those that it has',
  async (t) => {
    const pod = makePod(t, V4, { congestionControl: 'nosuch' });
    const before = await snapshot(pod.node);
    const outcome = call(pod, 'ADD');
    await fail(
      t,
      outcome,
      7,
      /^Cannot use congestionControl "nosuch": this kernel has no such algorithm$/,
    );
    t.regex((await outcome).stdout, /it has .*reno/);
    t.is(await snapshot(pod.node), before);
  },
);

test.serial('a chained pod gets it too, and its helper is told', async (t) => {
  const pod = makePod(t, V4);
  const result = await succeed(t, call(pod, 'ADD'));
  const helper = await startFakeHelper(t);
  const { ipam: _ipam, ...rest } = pod.config;
  const chained = { ...pod, config: rest };
  const keys = { prevResult: result, congestionControl: 'reno', socket: helper.socketPath };
  await succeed(t, call(chained, 'ADD', keys));
  t.is(congestionControlIn(pod.sandbox), 'reno');
  t.deepEqual(helper.methods(), []);
  await succeed(t, call(chained, 'ADD', { ...keys, runtimeConfig: { bandwidth: BANDWIDTH } }));
  t.like(helper.requests[0]?.params, { congestionControl: 'reno' });
});

test.serial('host routing needs the helper, which hears of the pod’s addresses', async (t) => {
  const helper = await startFakeHelper(t);
  const pod = makePod(t, DUAL, { hostRouting: true, socket: helper.socketPath });
  const result = await succeed(t, call(pod, 'ADD'));
  const addresses = ['10.91.0.2', 'fd91::2'];
  const mac = result.interfaces?.[1]?.mac;
  t.like(helper.requests[0]?.params, { caps: {}, hostRouting: { addresses, mac } });
  await succeed(t, call(pod, 'CHECK', { prevResult: result }));
  t.like(helper.requests[1]?.params, { hostRouting: { addresses, mac } });
  await succeed(t, call(pod, 'DEL'));
  t.deepEqual(helper.methods(), ['attach', 'check', 'detach']);
});

test.serial(
  'an MTU that IPv6 cannot live with is refused, also when it is that of the node',
  async (t) => {
    const small = makePod(t, DUAL, { mtu: 1279 });
    const before = await snapshot(small.node);
    await fail(t, call(small, 'ADD'), 7, /^Cannot use an MTU of 1279 bytes with an IPv6 address$/);
    t.is(await snapshot(small.node), before);

    const derived = makePod(t, DUAL);
    const { netns } = derived.node;
    ip(netns, 'link', 'add', 'up0', 'mtu', '1000', 'type', 'veth', 'peer', 'up1');
    for (const end of ['up0', 'up1']) ip(netns, 'link', 'set', end, 'up');
    ip(netns, 'addr', 'add', '192.0.2.2/24', 'dev', 'up0');
    ip(netns, 'route', 'add', 'default', 'via', '192.0.2.1');
    await fail(
      t,
      call(derived, 'ADD'),
      7,
      /^Cannot use an MTU of 1000 bytes with an IPv6 address$/,
    );
    const ipv4 = makePod(t, V4, { mtu: 1000 });
    await succeed(t, call(ipv4, 'ADD'));
  },
);
