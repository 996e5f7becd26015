// Remedies that need no fq: each is named where it is needed, and doing as it says helps. The
// others: test/vm/helper.

import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { remedies } from '../../../helper/protocol/remedies.ts';
import { PODPACED } from '../../bed/helper.ts';
import { temporaryDirectory } from '../../bed/temporary-directory.ts';
import { serving, servingOnly, startFakeHelper, type Script } from '../../kit/fake-helper.ts';
import {
  leaveRecord,
  makeHelperDirectories,
  paramsOf,
  startOwnHelper,
  wirePod,
} from '../../kit/helper.ts';
import { makeNetns } from '../../kit/netns.ts';
import type { RemedyOf } from '../../kit/remedy-tiers.ts';
import { runProgram } from '../../kit/run-program.ts';
import { encodeLine } from '../../../helper/protocol/frame.ts';

interface Place {
  readonly directory: string;
  /** Where a bpffs is to be. */
  readonly place: string;
}

const CAPS = { egress: { rateBitsPerSec: 10_000_000 } };

/** What `podpaced run` says before it ends by itself; empty when it serves, and is ended. */
async function refusalOf(
  words: readonly string[],
  { directory, place }: Place,
  flags: readonly string[] = [],
): Promise<string> {
  const places = ['--socket', `${directory}/s`, '--state-dir', `${directory}/state`];
  const settings = [...places, '--pin-dir', `${place}/podpace`, ...flags];
  const run = spawn('unshare', ['--net', ...words, PODPACED, 'run', ...settings]);
  let text = '';
  run.stderr.on('data', (chunk: Buffer) => {
    text += chunk.toString();
    if (text.includes(' serves ')) run.kill();
  });
  await once(run, 'close');
  return text.includes(' serves ') ? '' : text;
}

/** A command of podpaced's beside a helper of another release, and beside one of its own. */
async function helpsBesideAnother(
  t: ExecutionContext,
  command: readonly string[],
  remedy: string,
  script: Script,
): Promise<void> {
  const other = await startFakeHelper(t, script);
  const { code, stderr } = await runProgram(PODPACED, [...command, '--socket', other.socketPath]);
  t.is(code, 1);
  t.true(stderr.includes(remedy), stderr);
  const same = await startFakeHelper(t);
  t.is((await runProgram(PODPACED, [...command, '--socket', same.socketPath])).code, 0);
}

/** The words of the command in a remedy: `mount it on the node (mount -t bpf bpf /x)`. */
function commandIn(text: string): string[] {
  return /\(((?:mount|tc|modprobe) [^)]*)\)/.exec(text)?.[1]?.split(' ') ?? [];
}

/** A folder for pins without a bpffs. */
function makePlace(t: ExecutionContext): Place {
  const directory = temporaryDirectory(t);
  const place = path.join(directory, 'bpf');
  fs.mkdirSync(place);
  return { directory, place };
}

const ONLY_TMPFS =
  'mount -t tmpfs -o size=400k tmpfs /run && mount -t tmpfs -o size=400k tmpfs /var/lib/cni';

const CASES: Readonly<Record<RemedyOf<'netns'>, (t: ExecutionContext) => Promise<void>>> = {
  nodeBpffs: async (t) => {
    const scene = makePlace(t);
    const text = await refusalOf([], scene);
    t.true(text.includes(remedies.nodeBpffs(scene.place)), text);
    const [file = 'false', ...args] = commandIn(text);
    t.teardown(() => execFileSync('umount', [scene.place]));
    execFileSync(file, args);
    t.is(await refusalOf([], scene), '');
  },
  mountBpffs: async (t) => {
    const scene = makePlace(t);
    t.true((await refusalOf([], scene)).includes(remedies.mountBpffs));
    const own = ['unshare', '--mount'];
    t.is(await refusalOf(own, scene, ['--mount-bpffs', '--private-bpffs']), '');
  },
  privateBpffs: async (t) => {
    const scene = makePlace(t);
    const own = [
      'unshare',
      '--mount',
      'sh',
      '-c',
      `mount -t bpf bpf ${scene.place} && exec "$@"`,
      'sh',
    ];
    t.true((await refusalOf(own, scene)).includes(remedies.privateBpffs));
    t.is(await refusalOf(own, scene, ['--private-bpffs']), '');
  },
  root: async (t) => {
    const scene = makePlace(t);
    const asNobody = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--'];
    t.true((await refusalOf(asNobody, scene)).includes(remedies.root));
    t.false((await refusalOf([], scene)).includes(remedies.root));
  },
  capabilities: async (t) => {
    const scene = makePlace(t);
    const text = await refusalOf(['setpriv', '--bounding-set=-net_admin'], scene);
    t.regex(text, /CAP_NET_ADMIN/);
    t.true(text.includes(remedies.capabilities), text);
    t.false((await refusalOf([], scene)).includes(remedies.capabilities));
  },
  addonPlaces: async (t) => {
    const own = (more: string): string[] => [
      '--mount',
      'sh',
      '-c',
      `mkdir -p /var/lib/cni; ${ONLY_TMPFS} ${more} && exec ${PODPACED} probe`,
    ];
    const full = await runProgram('unshare', own(''));
    const text = remedies.addonPlaces(['/run/podpace/addons', '/var/lib/cni/podpace/addons']);
    t.true(`${full.stdout}${full.stderr}`.includes(text), full.stdout);
    const roomy = await runProgram('unshare', own('&& mount -o remount,size=8m /run'));
    t.false(`${roomy.stdout}${roomy.stderr}`.includes(text));
  },
  room: async (t) => {
    const [node, sandbox] = [makeNetns(t), makeNetns(t)];
    wirePod(node, sandbox, 'pod0');
    const directories = makeHelperDirectories(t);
    const state = path.join(directories.run, 'state');
    fs.mkdirSync(state);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', state]);
    t.teardown(() => execFileSync('umount', ['--lazy', state]));
    const params = paramsOf('pod0', sandbox, CAPS);
    leaveRecord(node, directories, params);
    const helper = await startOwnHelper(t, node, directories);
    const filler = path.join(state, 'filler');
    try {
      fs.writeFileSync(filler, Buffer.alloc(1024 * 1024));
    } catch {
      // It is full now.
    }
    const change = {
      containerId: params.containerId,
      ifname: 'eth0',
      direction: 'egress',
    } as const;
    const set = () => helper.ask('set', { ...change, changes: { rateBitsPerSec: 5_000_000 } });
    const error = (await t.throwsAsync(set())) as Error & { remedy?: string };
    t.regex(error.remedy ?? '', /^make room on the file system of /);
    fs.rmSync(filler);
    await t.notThrowsAsync(set());
  },
  startHelper: async (t) => {
    const node = makeNetns(t);
    const directories = makeHelperDirectories(t);
    const ask = () =>
      runProgram(PODPACED, ['list', '--socket', path.join(directories.run, 'helper.sock')]);
    t.true((await ask()).stderr.includes(remedies.startHelper));
    await startOwnHelper(t, node, directories);
    t.is((await ask()).code, 0);
  },
  sameRelease: (t) =>
    helpsBesideAnother(t, ['list'], remedies.sameRelease, (_request, connection) => {
      connection.write(encodeLine({ version: 99, result: {} }));
    }),
  newerHelper: (t) =>
    helpsBesideAnother(t, ['uninstall'], remedies.newerHelper(PODPACED), servingOnly(2)),
  newerCaller: (t) =>
    helpsBesideAnother(
      t,
      ['list'],
      remedies.newerCaller(PODPACED),
      serving({ least: 98, most: 99 }),
    ),
  lostRecord: async (t) => {
    const [node, sandbox] = [makeNetns(t), makeNetns(t)];
    wirePod(node, sandbox, 'pod0');
    const directories = makeHelperDirectories(t);
    leaveRecord(node, directories, paramsOf('pod0', sandbox, CAPS));
    const first = await startOwnHelper(t, node, directories);
    await first.end('SIGKILL');
    fs.rmSync(path.join(first.stateDir, 'attachments'), { recursive: true });
    const second = await startOwnHelper(t, node, directories);
    const problems = (await second.ask('status', {})).problems.join('\n');
    t.true(problems.includes(remedies.lostRecord), problems);
    await second.ask('uninstall', {});
    // It answers, and goes then.
    const endMs = performance.now() + 10_000;
    while (fs.existsSync(directories.pins) && performance.now() < endMs) await sleep(20);
    t.false(fs.existsSync(directories.pins));
  },
  formerPlugin: async (t) => {
    const [node, sandbox] = [makeNetns(t), makeNetns(t)];
    const directories = makeHelperDirectories(t);
    const caps = { ingress: { rateBitsPerSec: 10_000_000 } };
    wirePod(node, sandbox, 'pod0');
    // As the CNI bandwidth plugin leaves it: plugins/meta/bandwidth/ifb_creator.go.
    node.tc(...'qdisc add dev pod0 root handle 1: tbf rate 8mbit burst 8k latency 25ms'.split(' '));
    leaveRecord(node, directories, paramsOf('pod0', sandbox, caps));
    const helper = await startOwnHelper(t, node, directories);
    const problems = async () => (await helper.ask('status', {})).problems.join('\n');
    t.true((await problems()).includes(remedies.formerPlugin), await problems());
    await helper.ask('detach', { containerId: 'c-pod0', ifname: 'eth0' });
    node.ip('link', 'delete', 'pod0');
    await helper.end('SIGTERM');
    wirePod(node, sandbox, 'pod0');
    leaveRecord(node, directories, paramsOf('pod0', sandbox, caps));
    const again = await startOwnHelper(t, node, directories);
    const text = (await again.ask('status', {})).problems.join('\n');
    t.false(text.includes('bandwidth plugin'), text);
  },
};

for (const [name, carryOut] of Object.entries(CASES))
  test.serial(`the remedy ${name} is named where it is needed, and helps`, carryOut);
