// ADD that a runtime kills at its deadline: at any instant of it, and while IPAM hangs. The DEL
// that follows leaves nothing of it, nor does GC: no interface, address, record, pin or
// reservation.

import { setTimeout as sleep } from 'node:timers/promises';
import fs from 'node:fs';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { JsonObject } from '../../../cni/types.ts';
import { temporaryDirectory } from '../../bed/temporary-directory.ts';
import { deleteNetns, describeNetns, makeNetnsFor } from '../../kit/cni-node.ts';
import {
  callExecutable,
  hostLocal,
  PODPACE,
  startExecutable,
  type CallPlace,
} from '../../kit/cni-place.ts';
import { inWords, type Call } from '../../kit/cni-rule.ts';
import {
  addUplink,
  makeHelperDirectories,
  startOwnHelper,
  type HelperDirectories,
} from '../../kit/helper.ts';
import { makeNetns, waitForCarrier, type TestNetns } from '../../kit/netns.ts';
import { endOf } from '../../kit/run-program.ts';

interface Scene {
  readonly t: ExecutionContext;
  readonly node: TestNetns;
  readonly directories: HelperDirectories;
  readonly socket: string;
  /**
   * host-local's files, and what the scripted IPAM plugin has reserved: one file for a container.
   */
  readonly directory: string;
}

/**
 * A node with a real helper. Of a kernel without sch_fq it takes packets past the IP stack, and
 * keeps caps as wishes: both have records.
 */
async function makeScene(t: ExecutionContext): Promise<Scene> {
  const [node, peer, directories] = [makeNetns(t), makeNetns(t), makeHelperDirectories(t)];
  addUplink(node, peer, 'up0', 1);
  await waitForCarrier(node, 'up0');
  const { socket } = await startOwnHelper(t, node, directories);
  const directory = temporaryDirectory(t);
  fs.mkdirSync(path.join(directory, 'reserved'));
  return { t, node, directories, socket, directory };
}

const SETTINGS = [
  { hostRouting: true },
  { egressRate: 10_000_000, ingressRate: 10_000_000, onUnenforceable: 'allow' },
] as const;

/** How long something may be there that goes by itself. */
const TRANSIENT_MS = 3000;
/** How long an IPAM plugin may go on that has lost its caller. */
const ORPHAN_LIMIT_MS = 10_000;

let made = 0;

/** A pod that nobody has added. */
function makePod({ t, node, socket, directory }: Scene): CallPlace {
  made += 1;
  return {
    ...{ role: 'main', socket, directory, result: undefined },
    ...{ node: `/run/netns/${node.name}`, sandbox: makeNetnsFor(t, 'pod') },
    containerId: `c${made}`,
  };
}

/** Writes an IPAM plugin that keeps a file for each container, and does on ADD what is said. */
function writeIpam({ directory }: Scene, onAdd: string): void {
  const reserved = path.join(directory, 'reserved');
  const text = `#!/bin/sh
    case $CNI_COMMAND in
      ADD) echo $$ >'${reserved}'/$CNI_CONTAINERID; ${onAdd} ;;
      DEL) rm -f '${reserved}'/$CNI_CONTAINERID ;;
      GC) rm -f '${reserved}'/* ;;
    esac
  `;
  fs.writeFileSync(path.join(directory, 'scripted'), text, { mode: 0o755 });
}

const ANSWER = `echo '{"cniVersion":"1.1.0","ips":[{"address":"10.91.1.'$(echo $CNI_CONTAINERID | tr -d c)'/32"}]}'`;
const SCRIPTED = { cniVersion: '1.1.0', ipam: { type: 'scripted' } };

function filesIn(directory: string): string[] {
  return fs.readdirSync(directory, { recursive: true, encoding: 'utf8' });
}

/** Everything that ADD may leave behind, as lines. */
async function picture({ node, directories, directory }: Scene): Promise<string[]> {
  const reservations = filesIn(directory).filter((file) => !/last_reserved_ip|lock$/.test(file));
  return [
    ...(await describeNetns(`/run/netns/${node.name}`)),
    ...filesIn(directories.run),
    ...filesIn(directories.pins),
    ...reservations,
  ].toSorted();
}

/** What is there now and was not before, and the other way round. */
async function difference(scene: Scene, before: readonly string[]) {
  const now = await picture(scene);
  return {
    left: now.filter((line) => !before.includes(line)),
    gone: before.filter((line) => !now.includes(line)),
  };
}

/**
 * Asserts that everything is as it was before. What the helper stages just now, such as its sign of
 * life, and a namespace that the kernel takes down may be in one picture, but not in all.
 */
async function isAsBefore(scene: Scene, before: readonly string[], message?: string) {
  const deadlineMs = performance.now() + TRANSIENT_MS;
  let seen = await difference(scene, before);
  while (seen.left.length + seen.gone.length > 0 && performance.now() < deadlineMs) {
    await sleep(20);
    seen = await difference(scene, before);
  }
  scene.t.deepEqual(seen, { left: [], gone: [] }, message);
}

/** Calls podpace and asserts that it succeeds. */
async function succeed(t: ExecutionContext, place: CallPlace, call: Omit<Call, 'verdict'>) {
  const ending = await callExecutable(PODPACE, place, { ...call, verdict: {} });
  t.is(ending.status, 0, inWords(ending));
}

/** Whether a process has a container id in its environment: podpace, or an IPAM plugin of it. */
function isAbout(pid: string, containerId: string): boolean {
  try {
    const environment = fs.readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0');
    return environment.includes(`CNI_CONTAINERID=${containerId}`);
  } catch {
    return false; // It has ended meanwhile.
  }
}

/**
 * Waits until nothing runs any more that an ADD has started. An IPAM plugin goes on when its caller
 * is killed, and what it reserves after DEL is nobody's fault but stays.
 */
async function untilNoneRuns({ containerId }: CallPlace): Promise<void> {
  const deadlineMs = performance.now() + ORPHAN_LIMIT_MS;
  const isRunning = (): boolean =>
    fs.readdirSync('/proc').some((pid) => /^\d+$/.test(pid) && isAbout(pid, containerId));
  while (isRunning()) {
    if (performance.now() > deadlineMs) throw new Error(`A process of ${containerId} does not end`);
    await sleep(5);
  }
}

/** Starts ADD and kills it after a time; returns what it is to be called with again. */
async function killAdd(place: CallPlace, config: JsonObject, afterMs: number): Promise<void> {
  const child = startExecutable(PODPACE, place, { config, verdict: {} });
  const end = endOf(child);
  await sleep(afterMs);
  child.kill('SIGKILL');
  await end;
}

/** How long ADD takes here; makes what stays for ever, such as the network's folder. */
async function measureAdd(scene: Scene, config: JsonObject): Promise<number> {
  const pod = makePod(scene);
  const startMs = performance.now();
  await succeed(scene.t, pod, { config });
  const tookMs = performance.now() - startMs;
  await succeed(scene.t, pod, { command: 'DEL', config });
  return tookMs;
}

/** Kills ADDs at instants that are spread over the time that one takes, two at once. */
async function killMany(
  scene: Scene,
  { count, tookMs, ipam }: { count: number; tookMs: number; ipam: (pod: CallPlace) => JsonObject },
): Promise<{ pod: CallPlace; config: JsonObject; atMs: number }[]> {
  const killed = Array.from({ length: count }, (_, index) => {
    const pod = makePod(scene);
    const config = { ...SETTINGS[index % 2], ...ipam(pod) };
    return { pod, config, atMs: (tookMs * (index + Math.random())) / count };
  });
  for (let index = 0; index < count; index += 2)
    await Promise.all(
      killed.slice(index, index + 2).map(({ pod, config, atMs }) => killAdd(pod, config, atMs)),
    );
  for (const { pod } of killed) await untilNoneRuns(pod);
  return killed;
}

const instants = (killed: readonly { readonly atMs: number }[]): string =>
  `killed after ${killed.map(({ atMs }) => Math.round(atMs)).join(', ')} ms`;

test.serial('DEL after ADD was killed leaves nothing', async (t) => {
  const scene = await makeScene(t);
  const config = { ipam: hostLocal(scene) };
  const tookMs = await measureAdd(scene, { ...SETTINGS[0], ...config });
  await measureAdd(scene, { ...SETTINGS[1], ...config });
  const before = await picture(scene);
  const killed = await killMany(scene, { count: 8, tookMs, ipam: () => config });
  for (const [index, { pod, config: given }] of killed.entries()) {
    // Whatever a runtime still knows.
    if (index % 4 < 2) deleteNetns(pod.sandbox);
    await succeed(t, pod, { command: 'DEL', config: given });
  }
  await isAsBefore(scene, before, instants(killed));
});

test.serial('GC after ADD was killed leaves nothing', async (t) => {
  const scene = await makeScene(t);
  writeIpam(scene, ANSWER);
  const tookMs = await measureAdd(scene, { ...SETTINGS[0], ...SCRIPTED });
  await measureAdd(scene, { ...SETTINGS[1], ...SCRIPTED });
  const before = await picture(scene);
  const killed = await killMany(scene, { count: 8, tookMs, ipam: () => SCRIPTED });
  const collect = { command: 'GC', config: { ...SCRIPTED, 'cni.dev/valid-attachments': [] } };
  await succeed(t, makePod(scene), collect);
  await isAsBefore(scene, before, instants(killed));
});

test.serial('ADD killed while IPAM hangs ends at once, and DEL leaves nothing', async (t) => {
  const scene = await makeScene(t);
  const before = await picture(scene);
  writeIpam(scene, 'exec sleep 600');
  const plugin = (await picture(scene)).filter((line) => !before.includes(line));
  const pod = makePod(scene);
  const child = startExecutable(PODPACE, pod, { config: SCRIPTED, verdict: {} });
  const ended = endOf(child);
  const file = path.join(scene.directory, 'reserved', pod.containerId);
  while (!fs.existsSync(file) || fs.readFileSync(file, 'utf8') === '') await sleep(20);
  t.teardown(
    () =>
      void process.kill(
        Number(fs.readFileSync(path.join(scene.directory, 'pid'), 'utf8')),
        'SIGKILL',
      ),
  );
  fs.copyFileSync(file, path.join(scene.directory, 'pid'));
  child.kill('SIGKILL');
  // Nothing that podpace has started holds what the runtime reads to its end.
  t.is((await ended).stdout, '');
  await succeed(t, pod, { command: 'DEL', config: SCRIPTED });
  await isAsBefore(scene, [...before, ...plugin, 'pid']);
});

test.serial(
  'ADD killed right after IPAM has reserved an address, and DEL releases it',
  async (t) => {
    const scene = await makeScene(t);
    const { directory } = scene;
    const ipam = { ...hostLocal(scene), type: 'killer' };
    // podpace waits for it, and is killed before it can read the answer.
    const script =
      '#!/bin/sh\n/usr/lib/cni/host-local; [ "$CNI_COMMAND" != ADD ] || kill -9 $PPID\n';
    fs.writeFileSync(path.join(directory, 'killer'), script, { mode: 0o755 });
    const pod = makePod(scene);
    const before = await picture(scene);
    const killed = await callExecutable(PODPACE, pod, { config: { ipam }, verdict: {} });
    t.is(killed.status, null);
    t.is(killed.stdout, '');
    t.true((await picture(scene)).includes('networks/pods/10.91.0.2'));
    await succeed(t, pod, { command: 'DEL', config: { ipam } });
    t.deepEqual(
      (await picture(scene)).filter((line) => !/^networks(\/pods)?$/.test(line)),
      before,
    );
  },
);
