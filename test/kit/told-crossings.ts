// Ways past a cap that nothing can hold: `status` and `list` have to name them, within five seconds
// where it can be seen by looking at what is there, within fifteen where only the books see it.

import type { ExecutionContext } from 'ava';
import { inTurn, knowsNode, makeClsact, NODE, POD, type Scene } from './crossing-scene.ts';
import {
  indexOf,
  putProgram,
  putXdp,
  redirectCode,
  redirectPeerCode,
  unsigningCode,
} from './foreign-programs.ts';
import { takeBack } from './shared-scene.ts';

const BY_LOOKING_MS = 5000;
export const BY_BOOKS_MS = 15_000;

export interface ToldCrossing {
  readonly isUsual?: true;
  /** Of podpaced. */
  readonly flags?: readonly string[];
  readonly make: (t: ExecutionContext, scene: Scene) => void | Promise<void>;
  /** What names the cause. */
  readonly as: RegExp;
  /** BY_BOOKS_MS when absent. */
  readonly withinMs?: number;
  /** Where the pod sends to, and the devices of the peer that it comes to. */
  readonly to?: string;
  readonly device?: string;
  /** The peer sends, and the pod receives. */
  readonly isInward?: true;
}

/** A device that leads to the peer, and no route of the node to it. */
function addLeak(t: ExecutionContext, { node, peer }: Scene): void {
  t.teardown(() => void node.ip('link', 'del', 'leak0'));
  inTurn(node, [
    `link add leak0 type veth peer name leak0 netns ${peer.name}`,
    'link set leak0 up',
  ]);
  inTurn(peer, ['link set leak0 up']);
}

/** Has the peer send to the pod by the node, although nobody answers requests for its address. */
function leadIntoPod(t: ExecutionContext, scene: Scene): void {
  const { peer } = scene;
  const route = [`route add ${POD}/32 via ${NODE}`];
  t.teardown(() => takeBack(peer, route));
  knowsNode(scene);
  inTurn(peer, route);
}

function rootOfUplink(kind: string, as: RegExp): ToldCrossing {
  const make: ToldCrossing['make'] = (t, { node }) => {
    node.tc('qdisc', 'replace', 'dev', 'uplink', 'root', kind);
    t.teardown(() => void node.tc('qdisc', 'del', 'dev', 'uplink', 'root'));
  };
  return { make, as, withinMs: BY_LOOKING_MS };
}

export const TOLD_CROSSINGS: Readonly<Record<string, ToldCrossing>> = {
  'a filter that redirects to a device without a program': {
    isUsual: true,
    make: (t, scene) => {
      addLeak(t, scene);
      makeClsact(scene.node, 'pod0');
      const words =
        'filter add dev pod0 ingress pref 10 protocol all matchall action mirred egress redirect dev leak0';
      scene.node.tc(...words.split(' '));
      t.teardown(() => void scene.node.tc('filter', 'del', 'dev', 'pod0', 'ingress', 'pref', '10'));
    },
    ...{ as: /redirects packets to leak0, past the cap/, withinMs: BY_LOOKING_MS, device: 'leak0' },
  },
  'a program behind that redirects to a device without a program': {
    make: async (t, scene) => {
      addLeak(t, scene);
      const place = { device: 'pod0', hook: 'ingress', isFirst: false } as const;
      await putProgram(t, scene.node, place, redirectCode(indexOf(scene.node, 'leak0')));
    },
    ...{ as: /vanish between pod0 and the exits, and leak0/, device: 'leak0' },
  },
  'a program behind that takes the signs off': {
    isUsual: true,
    make: async (t, { node }) => {
      await putProgram(
        t,
        node,
        { device: 'pod0', hook: 'ingress', isFirst: false },
        unsigningCode(),
      );
    },
    as: /vanish between pod0 and the exits, and more leaves by uplink without a sign of podpace/,
  },
  'an XDP program that redirects to the uplink': {
    isUsual: true,
    make: (t, { node }) => {
      const takeOff = putXdp(t, node, 'pod0', redirectCode(indexOf(node, 'uplink')));
      t.teardown(takeOff);
    },
    as: /the classifier has not seen them, and uplink sends more since/,
  },
  'a route by a device that is not among the uplinks that were named': {
    flags: ['--uplink', 'uplink'],
    make: (t, scene) => {
      addLeak(t, scene);
      inTurn(scene.node, [
        'address add 192.0.2.1/24 dev leak0',
        'neigh add 192.0.2.2 lladdr 02:00:00:00:00:02 dev leak0',
        'route add 203.0.113.0/24 via 192.0.2.2',
      ]);
    },
    ...{ as: /leak0/, withinMs: BY_LOOKING_MS, to: '203.0.113.2', device: 'leak0' },
  },
  'a program that redirects to the pod’s end of the pair (bpf_redirect_peer)': {
    isUsual: true,
    make: async (t, scene) => {
      const { node } = scene;
      leadIntoPod(t, scene);
      const place = { device: 'uplink', hook: 'ingress', isFirst: false } as const;
      await putProgram(t, node, place, redirectPeerCode(indexOf(node, 'pod0')));
    },
    as: /receives come past pod0, and so past the cap/,
    ...{ to: POD, isInward: true },
  },
  'an XDP program that redirects to the host interface': {
    make: (t, scene) => {
      const { node } = scene;
      leadIntoPod(t, scene);
      t.teardown(putXdp(t, node, 'uplink', redirectCode(indexOf(node, 'pod0'))));
    },
    as: /receives are sent by pod0 and not seen by the program at its egress/,
    ...{ to: POD, isInward: true },
  },
  'cake as the root of the uplink': rootOfUplink('cake', /uplink.*cake/),
  'netem as the root of the uplink': rootOfUplink('netem', /uplink.*netem/),
};
