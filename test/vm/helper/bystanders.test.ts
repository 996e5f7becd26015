// What others do to the packets of a capped pod stays as it is: marks, masquerade, conntrack,
// filters on the same device.

import { execFileSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import { capture } from '../../../scripts/lib/process.ts';
import { startServer } from '../../bed/iperf.ts';
import { inNamespace } from '../../bed/testbed.ts';
import { UndoStack } from '../../bed/undo.ts';
import { holds, makeOwnScene, rateOn } from '../../kit/exit-scene.ts';

const NODE = '198.51.100.1';
const PEER = '198.51.100.2';
/** kube-proxy's mark of what is to be masqueraded, and one of Calico's bits. */
const MARK = '0x00014000';
const SECONDS = 6;

/**
 * As kube-proxy and Calico do: packets of pods are marked on their way in, and masqueraded for that
 * on their way out.
 */
const NODE_RULES = `
table ip others {
  chain before { type filter hook prerouting priority mangle; iifname != "uplink" meta mark set ${MARK}; }
  chain after { type nat hook postrouting priority srcnat; meta mark & 0x4000 == 0x4000 masquerade; }
}`;

/** Who the packets come from, as the peer sees it. */
const PEER_RULES = `
table ip seen {
  counter node { }
  counter others { }
  chain seen {
    type filter hook prerouting priority raw;
    tcp dport 5201 iifname "uplink" ip saddr ${NODE} counter name node
    tcp dport 5201 iifname "uplink" ip saddr != ${NODE} counter name others
  }
}`;

function run(netns: string, ...command: [string, ...string[]]): string {
  return execFileSync(...inNamespace(netns, ...command), { encoding: 'utf8' });
}

function countedBy(netns: string, counter: string): number {
  const text = run(netns, 'nft', 'list', 'counter', 'ip', 'seen', counter);
  return Number(/packets (\d+)/.exec(text)?.[1]);
}

test.serial(
  'marks, masquerade, conntrack and a filter behind podpace work on with a capped pod',
  async (t) => {
    const scene = await makeOwnScene(t);
    const { node, peer, pods } = scene.bed;
    const undo = UndoStack.of(t);
    run(node, 'nft', NODE_RULES);
    run(peer, 'nft', PEER_RULES);
    // Where podpace stands at tcx nobody has made it yet.
    run(
      node,
      'sh',
      '-c',
      'tc qdisc show dev uplink | grep -q clsact || tc qdisc add dev uplink clsact',
    );
    // Behind podpace, and only for what still carries the mark there.
    const filter = [
      'filter',
      'add',
      'dev',
      'uplink',
      'egress',
      'protocol',
      'ip',
      'prio',
      '50000',
    ] as const;
    run(node, 'tc', ...filter, 'handle', MARK, 'fw', 'action', 'pass');
    await startServer(peer, undo, new AbortController().signal);

    const load = ['--client', PEER, '--parallel', '4', '--time', String(SECONDS)];
    const sent = capture(...inNamespace(pods.get('pod') ?? '', 'iperf3', ...load));
    sent.catch(() => undefined);
    await sleep(1000);
    const mbit = await rateOn(scene, ['uplink']);
    const tracked = run(node, 'sh', '-c', 'cat /proc/net/nf_conntrack');
    await sent;

    holds(t, mbit);
    t.true(countedBy(peer, 'node') > 1000, 'what came from the address of the node');
    t.is(countedBy(peer, 'others'), 0);
    t.regex(tracked, new RegExp(`src=${scene.podAddress} .* src=${PEER} dst=${NODE} `));
    const shown = run(node, 'tc', '-s', 'filter', 'show', 'dev', 'uplink', 'egress');
    const passed = Number(/fw[^]*Sent \d+ bytes (\d+) pkt/.exec(shown)?.[1]);
    t.true(passed > 1000, `${passed} packets with the mark came by the filter: ${shown}`);
  },
);
