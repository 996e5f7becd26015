// Exits that change while the pod sends: the cap is in force again within two seconds, and the log
// tells of it.

import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { changeLink, deleteLink, findLink, listLinks } from '../../../helper/kernel/links.ts';
import { openNetns } from '../../../helper/kernel/netns.ts';
import { openRt } from '../../../helper/kernel/open-rt.ts';
import { inNamespace } from '../../bed/testbed.ts';
import { joinByUplink } from '../../bed/uplink.ts';
import { askNode } from '../../kit/ask.ts';
import {
  CAP_MBIT,
  exitNamed,
  holds,
  ipIn,
  makeOwnScene,
  makeScene,
  measure,
  measureAfter,
  secondsOn,
  send,
  type Scene,
} from '../../kit/exit-scene.ts';
import { wholeFile } from '../../kit/whole-file.ts';

const PEER = '198.51.100.2';
const FLAP_MS = 50;
/** By then the helper has told of what it has followed. */
const TOLD_MS = 1000;

/** One scene for the tests of one uplink: a helper that starts is most of what a scene costs. */
let scene: Scene | undefined;
const untilEnd = wholeFile(test, () => {
  scene = undefined;
});

/**
 * Takes the node's devices away but for those of pods, and gives it an uplink as it had at first.
 */
async function renewUplink({ bed }: Scene): Promise<void> {
  const netns = openNetns(bed.node);
  const rt = openRt(netns);
  try {
    for (const { name, index } of await listLinks(rt))
      if (['uplink', 'renamed'].includes(name)) await deleteLink(rt, index);
  } finally {
    rt.close();
    netns.close();
  }
  await joinByUplink(bed.node, bed.peer);
  for (const ip of [ipIn(bed.node), ipIn(bed.peer)]) ip('link set uplink gso_max_segs 1');
}

/** The scene with an uplink that no test has changed, of which the helper has said all it says. */
async function freshScene(t: ExecutionContext): Promise<Scene> {
  t.timeout(300_000);
  if (scene === undefined) scene = await makeScene(untilEnd);
  else await renewUplink(scene);
  await exitNamed(t, scene, 'uplink');
  await sleep(TOLD_MS);
  scene.helper.forgetOutput();
  return scene;
}

/**
 * Switches a device on and off until `signal` says stop, within this process: others take their
 * time to start.
 */
async function flap(netnsPath: string, name: string, signal: AbortSignal): Promise<void> {
  const netns = openNetns(netnsPath);
  const rt = openRt(netns);
  try {
    const link = await findLink(rt, { name });
    for (let up = true; !signal.aborted; up = !up) {
      await changeLink(rt, link?.index ?? 0, { up });
      await sleep(FLAP_MS);
    }
    await changeLink(rt, link?.index ?? 0, { up: true });
  } finally {
    rt.close();
    netns.close();
  }
}

test.serial(
  'a device that flaps ten times a second disturbs no cap, and is capping when it stays',
  async (t) => {
    const scene = await freshScene(t);
    const { node } = scene.bed;
    ipIn(node)('link add link uplink name vlan9 type vlan id 9');
    ipIn(node)('address add 192.0.2.1/24 dev vlan9');
    const end = new AbortController();
    const flapping = flap(node, 'vlan9', end.signal);
    try {
      holds(t, await measure(scene, PEER));
    } finally {
      end.abort();
      await flapping;
    }
    await exitNamed(t, scene, 'vlan9');
  },
);

interface Change {
  /** What happens to the uplink. */
  readonly change: (scene: Scene) => void;
  /** Its name afterwards. */
  readonly name: string;
  /** What the log says of it. */
  readonly told: RegExp;
}

function makeAgain({ bed }: Scene): void {
  const [node, peer] = [ipIn(bed.node), ipIn(bed.peer)];
  node('link delete uplink');
  node(
    `link add uplink numtxqueues 2 numrxqueues 2 type veth peer name uplink netns ${path.basename(bed.peer)}`,
  );
  for (const ip of [node, peer]) ip('link set uplink gso_max_segs 1');
  peer(`address add ${PEER}/24 dev uplink`);
  node('address add 198.51.100.1/24 dev uplink');
  for (const ip of [node, peer]) ip('link set uplink up');
  node(`route add default via ${PEER}`);
  peer('route add default via 198.51.100.1');
}

/** Before Linux 6.2 a device is renamed only while it is down, which takes its routes. */
function rename({ bed }: Scene): void {
  const node = ipIn(bed.node);
  node('link set uplink down');
  node('link set uplink name renamed');
  node('link set renamed up');
  node(`route replace default via ${PEER}`);
}

function onNode(...command: [string, ...string[]]): (scene: Scene) => void {
  return ({ bed }) => void execFileSync(...inNamespace(bed.node, ...command));
}

const CHANGES: Readonly<Record<string, Change>> = {
  'is deleted and made again': {
    change: makeAgain,
    name: 'uplink',
    told: /uplink \((uplink|pod), veth\) has changed: put its qdiscs in place, put its program in place/,
  },
  'is renamed': { change: rename, name: 'renamed', told: /uplink is called renamed now/ },
  'is given another qdisc': {
    change: onNode('tc', 'qdisc', 'replace', 'dev', 'uplink', 'root', 'handle', '1:', 'pfifo'),
    name: 'uplink',
    told: /uplink \(uplink, veth\) has changed: put its qdiscs in place/,
  },
  'gets another number of queues': {
    change: onNode('ethtool', '-L', 'uplink', 'tx', '2', 'rx', '2'),
    name: 'uplink',
    told: /uplink sends by 2 queues now/,
  },
};

for (const [what, { change, name, told }] of Object.entries(CHANGES)) {
  test.serial(
    `an uplink that ${what} under load holds the cap again within two seconds`,
    async (t) => {
      const scene = await freshScene(t);
      holds(t, await measureAfter(scene, PEER, () => change(scene)));
      const exit = await exitNamed(t, scene, name);
      t.deepEqual(new Set(exit?.leafQdiscs), new Set(['fq']));
      await t.notThrowsAsync(scene.helper.ready((output) => told.test(output)));
    },
  );
}

/** A way to the peer by an uplink that was not there before. */
function moveRoute({ bed }: Scene): void {
  const [node, peer] = [ipIn(bed.node), ipIn(bed.peer)];
  node(`link add other type veth peer name other netns ${path.basename(bed.peer)}`);
  for (const ip of [node, peer]) ip('link set other gso_max_segs 1');
  peer('address add 192.0.2.2/24 dev other');
  node('address add 192.0.2.1/24 dev other');
  for (const ip of [peer, node]) ip('link set other up');
  node(`route add ${PEER}/32 via 192.0.2.2 dev other`);
}

const MOVED_SECONDS = 10;
const LEAST_MBIT_USED = 9;
/** In a second: what a frame or two are. Above it is too much, and has to be told of. */
const MOST_MBIT = 1.005 * CAP_MBIT;

test.serial(
  'a route that moves to an uplink that was not there: the first second counts as unaccounted, none after it is above the cap',
  async (t) => {
    // A helper that has followed changes before is so quick that nothing is left to count.
    const scene = await makeOwnScene(t);
    const unaccounted = async (): Promise<number> => {
      const { attachments } = await askNode(scene.bed, 'list', {});
      return attachments[0]?.unaccountedBytes ?? NaN;
    };
    const before = await unaccounted();
    const sent = send(scene, { to: PEER, seconds: MOVED_SECONDS + 3 });
    await sleep(2000);
    moveRoute(scene);
    const [first = NaN, ...after] = await secondsOn(scene, ['uplink', 'other'], MOVED_SECONDS);
    await sent;
    const uncounted = (await unaccounted()) - before;
    const told = after.map((mbit) => mbit.toFixed(3)).join(' ');
    t.log(`first ${first.toFixed(3)}, then ${told} Mbit/s; ${uncounted} bytes unaccounted`);
    t.true(Math.max(...after) <= MOST_MBIT, told);
    t.true(
      after.slice(2).every((mbit) => mbit >= LEAST_MBIT_USED),
      told,
    );
    await exitNamed(t, scene, 'other');
    // What left before the new uplink had its program, above what the cap would have let through.
    t.true(uncounted * 8 >= (first - MOST_MBIT) * 1e6, `${uncounted} of ${first} Mbit/s`);
  },
);

test.serial('a node that is a container of its own holds the cap', async (t) => {
  const scene = await makeOwnScene(t, { isNested: true });
  const processes = execFileSync(...scene.bed.onNode('sh', '-c', 'ls -d /proc/[0-9]* | wc -l'), {
    encoding: 'utf8',
  });
  t.true(Number(processes) < 20, `${processes} processes are to be seen on the node`);
  t.like(await exitNamed(t, scene, 'uplink'), {
    role: 'uplink',
    leafQdiscs: ['fq', 'fq', 'fq', 'fq'],
  });
  holds(t, await measure(scene, PEER));
});
