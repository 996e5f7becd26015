// Congestion control of pods on kernels that have more than one, and what it makes of a cap's
// marks.

import { execFileSync, spawnSync } from 'node:child_process';
import test from 'ava';
import { writeSysctl } from '../../helper/kernel/sysctl.ts';
import { parseIperf, runIperf, startServer } from '../bed/iperf.ts';
import { attachCounter, compileCounter } from '../bed/counter.ts';
import { inNetnsAt } from '../bed/namespaces.ts';
import { meanMbit } from '../bed/series.ts';
import { inNamespace } from '../bed/testbed.ts';
import { UndoStack } from '../bed/undo.ts';
import { PEER_ADDRESS } from '../bed/uplink.ts';
import { askNode } from '../kit/ask.ts';
import { inside, snapshot } from '../kit/cni-node.ts';
import { makeScene } from '../kit/exit-scene.ts';
import { call, fail, makePod, succeed, V4 } from '../kit/pod.ts';

const PARAMETER = 'net.ipv4.tcp_congestion_control';
/**
 * net.ipv4.tcp_ecn: AccECN (RFC 9768) is asked for and answered. Kernels before Linux 6.18 refuse
 * the value.
 */
const TCP_ECN_ACCURATE = '3';
const HAS_ACCECN =
  spawnSync('unshare', [
    '--net',
    'sh',
    '-c',
    `echo ${TCP_ECN_ACCURATE} > /proc/sys/net/ipv4/tcp_ecn`,
  ]).status === 0;
const ECN = { capMbit: 20, seconds: 2 };
/** Payload of a cap of 20 Mbit/s, as the bench of ingress asks for it. */
const [LEAST_MBIT, MOST_MBIT] = [18.9, 19.15];

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

/** Counts the SYNs to iperf3 that have AE, CWR and ECE set, by which AccECN is asked for. */
function countAccecnSyns(peer: string): () => number {
  const rules = `table ip asked {
    counter syns { }
    chain before {
      type filter hook prerouting priority raw;
      tcp dport 5201 tcp flags & (syn|ack) == syn @th,103,3 7 counter name syns
    }
  }`;
  const nft = (...args: string[]) =>
    execFileSync(...inNamespace(peer, 'nft', ...args), { encoding: 'utf8' });
  nft(`${rules}\n`);
  return () => Number(/packets (\d+)/.exec(nft('list', 'counter', 'ip', 'asked', 'syns'))?.[1]);
}

function setAccecn(netns: string): void {
  inNetnsAt(netns, () => writeSysctl('net/ipv4/tcp_ecn', TCP_ECN_ACCURATE));
}

if (HAS_ACCECN) {
  test.serial(
    'AccECN between pod and peer: marks, no drops, no retransmits, and the cap is used',
    async (t) => {
      t.timeout(300_000);
      const undo = UndoStack.of(t);
      compileCounter();
      const signal = new AbortController().signal;
      const { bed } = await makeScene(undo, { caps: { ingressMbit: ECN.capMbit } });
      const pod = bed.pods.get('pod') ?? '';
      for (const end of [pod, bed.peer]) setAccecn(end);
      const syns = countAccecnSyns(bed.peer);
      await startServer(bed.peer, undo, signal);
      const received = await attachCounter({ netns: pod, device: 'eth0' }, undo);
      const report = await runIperf(
        pod,
        ECN.seconds,
        ['--reverse', '--congestion', 'cubic'],
        signal,
      );
      const mbit = meanMbit(received.readPayload().get(PEER_ADDRESS) ?? [], ECN.seconds * 1000);
      const { attachments } = await askNode(bed, 'counters', {});
      const { ceMarked = 0, droppedAqm } = attachments[0]?.ingress?.total ?? {};
      t.log(
        `${mbit.toFixed(2)} Mbit/s, ${ceMarked} marks, ${parseIperf(report).retransmits} retransmits`,
      );
      t.true(syns() > 0, 'asked for');
      t.is(parseIperf(report).retransmits, 0);
      t.is(droppedAqm, 0);
      t.true(ceMarked > 0);
      t.true(mbit >= LEAST_MBIT && mbit <= MOST_MBIT, `${mbit} Mbit/s of payload`);
    },
  );
}
