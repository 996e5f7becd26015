// Whether this node can hold caps is judged by what its kernel does, not by its number; and what is
// asked leaves nothing behind.

import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { ProbeItem, ProbeResult } from '../../../helper/protocol/messages.ts';
import { checkProbeItems } from '../../../helper/protocol/probe-items.ts';
import { PODPACED } from '../../bed/helper.ts';
import {
  addUplink,
  makeHelperDirectories,
  placeFlags,
  startOwnHelper,
  type HelperDirectories,
} from '../../kit/helper.ts';
import { makeNetns, waitForCarrier, type TestNetns } from '../../kit/netns.ts';
import { runProgram, type Ended } from '../../kit/run-program.ts';

/** Commands of bpf(2), `enum bpf_cmd` of linux/bpf.h. */
const COMMAND = { progQuery: 16, btfLoad: 18, mapLookupBatch: 24 } as const;

interface Scene {
  readonly node: TestNetns;
  readonly directories: HelperDirectories;
}

function makeScene(t: ExecutionContext): Scene {
  const [node, peer] = [makeNetns(t), makeNetns(t)];
  addUplink(node, peer, 'uplink', 4);
  return { node, directories: makeHelperDirectories(t) };
}

/** A podpaced that is run by way of other programs. */
function podpacedBehind({ directories }: Scene, ...before: readonly string[]): string {
  const file = path.join(directories.run, 'podpaced.sh');
  fs.writeFileSync(file, `#!/bin/sh\nexec ${before.join(' ')} ${PODPACED} "$@"\n`, { mode: 0o755 });
  return file;
}

/** A podpaced for which these commands of bpf(2) are not there. */
function podpacedWithout(scene: Scene, ...commands: readonly number[]): string {
  const lesser = path.resolve(import.meta.dirname, '../../kit/lesser-kernel.ts');
  return podpacedBehind(scene, process.execPath, lesser, commands.join(','));
}

function call(
  { node, directories }: Scene,
  podpaced: string,
  ...args: readonly string[]
): Promise<Ended> {
  const [command = '', ...flags] = args;
  return runProgram('nsenter', [
    `--net=/run/netns/${node.name}`,
    podpaced,
    command,
    ...placeFlags(directories),
    ...flags,
  ]);
}

async function probed(
  scene: Scene,
  podpaced = PODPACED,
): Promise<{ code: number | null } & ProbeResult> {
  const { code, stdout } = await call(scene, podpaced, 'probe', '--json');
  const result = JSON.parse(stdout) as ProbeResult;
  checkProbeItems(result.items);
  return { code, ...result };
}

function itemOf(items: readonly ProbeItem[], name: string): ProbeItem | undefined {
  return items.find((item) => item.name === name);
}

/** Whether iproute2 can make something in a namespace of its own. */
function canMake(...command: readonly string[]): boolean {
  return spawnSync('unshare', ['--net', ...command]).status === 0;
}

/** What the kernel has by other witnesses than podpace: its own types, and iproute2. */
function witnesses(): Readonly<Record<string, boolean>> {
  const types = fs.readFileSync('/sys/kernel/btf/vmlinux');
  return {
    sch_fq: canMake('tc', 'qdisc', 'add', 'dev', 'lo', 'root', 'fq'),
    netkit: canMake('ip', 'link', 'add', 'name', 'trial', 'type', 'netkit'),
    tcx: types.includes('BPF_TCX_INGRESS'),
    bpf_skb_set_tstamp: types.includes('BPF_FUNC_skb_set_tstamp'),
    'BPF redirects': types.includes('BPF_FUNC_redirect_peer'),
  };
}

test.serial('probe finds what others find, and ends with 0 where caps can be held', async (t) => {
  const scene = makeScene(t);
  const { code, items, kernel } = await probed(scene);
  t.is(kernel, fs.readFileSync('/proc/sys/kernel/osrelease', 'utf8').trim());
  for (const [name, there] of Object.entries(witnesses()))
    t.is(itemOf(items, name)?.there, there, name);
  const { sch_fq: hasFq = false } = witnesses();
  t.is(code, hasFq ? 0 : 1);
  t.deepEqual(
    items.filter(({ ok }) => !ok).map(({ name }) => name),
    hasFq ? [] : ['sch_fq'],
  );
});

test.serial('status has the same list', async (t) => {
  const scene = makeScene(t);
  await startOwnHelper(t, scene.node, scene.directories);
  const { stdout } = await call(scene, PODPACED, 'probe', '--json');
  const asked = await runProgram(PODPACED, [
    ...['status', '--json', '--socket', `${scene.directories.run}/helper.sock`],
  ]);
  const { features } = JSON.parse(asked.stdout) as { features: ProbeItem[] };
  t.deepEqual(features, (JSON.parse(stdout) as ProbeResult).items);
});

test.serial('a kernel serves by what it has, whatever its number is', async (t) => {
  const scene = makeScene(t);
  const old = podpacedBehind(
    scene,
    'setarch',
    process.arch === 'x64' ? 'x86_64' : 'aarch64',
    '--uname-2.6',
  );
  const { kernel, items } = await probed(scene, old);
  t.regex(kernel, /^2\.6\./);
  t.deepEqual(items, (await probed(scene)).items);
  const helper = await startOwnHelper(t, scene.node, scene.directories, [], old);
  t.regex((await helper.ask('status', {})).kernel, /^2\.6\./);
});

const LACKING: readonly [string, readonly number[], RegExp][] = [
  [
    'BTF',
    [COMMAND.btfLoad],
    /lacks BTF, needed to .*; BPF spin lock, .*: use a kernel with CONFIG_BPF_SYSCALL/,
  ],
  [
    'BPF batch lookup',
    [COMMAND.mapLookupBatch],
    /lacks BPF batch lookup, needed to .*EINVAL\): use a newer kernel/,
  ],
];
for (const [name, commands, refusal] of LACKING) {
  test.serial(
    `a kernel without ${name} is refused with the remedy before anything is changed`,
    async (t) => {
      const scene = makeScene(t);
      const podpaced = podpacedWithout(scene, ...commands);
      const { code, items } = await probed(scene, podpaced);
      t.is(code, 1);
      t.like(itemOf(items, name), {
        ok: false,
        there: false,
        withoutIt: 'podpaced does not start',
      });
      const ended = await call(scene, podpaced, 'run');
      t.is(ended.code, 1);
      t.regex(ended.stderr, /^podpaced: Cannot start on Linux .*\n$/);
      t.regex(ended.stderr, refusal);
      t.deepEqual(fs.readdirSync(scene.directories.run), ['podpaced.sh']);
      t.false(fs.existsSync(scene.directories.pins));
    },
  );
}

test.serial('where there is no tcx, programs stand under clsact', async (t) => {
  const scene = makeScene(t);
  const podpaced = podpacedWithout(scene, COMMAND.progQuery);
  const { items } = await probed(scene, podpaced);
  t.like(itemOf(items, 'tcx'), { ok: true, there: false });
  t.like(itemOf(items, 'clsact'), { ok: true, there: true });
  const helper = await startOwnHelper(t, scene.node, scene.directories, [], podpaced);
  t.regex(helper.log(), /serves .*\(clsact, /);
  t.deepEqual((await helper.ask('status', {})).features, items);
});

/** Devices, qdiscs, files, and loaded modules; those that trying fq may load are left out. */
function pictureOf({ node, directories }: Scene): string[] {
  const modules = fs.existsSync('/proc/modules') ? fs.readFileSync('/proc/modules', 'utf8') : '';
  return [
    node.ip('link', 'show'),
    node.tc('qdisc', 'show'),
    ...fs.readdirSync(directories.run),
    String(fs.existsSync(directories.pins)),
    ...modules
      .split('\n')
      .flatMap((line) => line.split(' ', 1))
      .filter((name) => name !== 'sch_fq'),
  ];
}

test.serial('probing leaves nothing behind', async (t) => {
  const scene = makeScene(t);
  await waitForCarrier(scene.node, 'uplink');
  // A first one, for modules that the kernel loads on the way and keeps, where there is no tcx.
  await probed(scene);
  const before = pictureOf(scene);
  await probed(scene);
  t.deepEqual(pictureOf(scene), before);
});
