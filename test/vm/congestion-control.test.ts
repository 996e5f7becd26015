// Congestion control of pods on kernels that have more than one.

import test from 'ava';
import { inside, snapshot } from '../kit/cni-node.ts';
import { call, fail, makePod, succeed, V4 } from '../kit/pod.ts';

const PARAMETER = 'net.ipv4.tcp_congestion_control';

test.serial('BBR comes from its module, for the pod only', async (t) => {
  const pod = makePod(t, V4, { congestionControl: 'bbr' });
  const node = inside(pod.node.netns, 'sysctl', '-n', PARAMETER);
  const result = await succeed(t, call(pod, 'ADD'));
  t.is(inside(pod.sandbox, 'sysctl', '-n', PARAMETER).trim(), 'bbr');
  t.is(inside(pod.node.netns, 'sysctl', '-n', PARAMETER), node);
  await succeed(t, call(pod, 'CHECK', { prevResult: result }));
});

test.serial('what the kernel keeps from pods is refused with the way to allow it', async (t) => {
  const pod = makePod(t, V4, { congestionControl: 'dctcp' });
  const before = await snapshot(pod.node);
  const outcome = call(pod, 'ADD');
  await fail(
    t,
    outcome,
    7,
    /^Cannot use congestionControl "dctcp": the kernel keeps it from network namespaces/,
  );
  t.regex((await outcome).stdout, /tcp_allowed_congestion_control/);
  t.is(await snapshot(pod.node), before);
});
