// Each remedy that podpace names is carried out as it is worded, and helps.

import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { HelperError } from '../../../helper/protocol/client.ts';
import type { ProbeItem, ProbeResult } from '../../../helper/protocol/messages.ts';
import { inNetns } from '../../../helper/kernel/netns.ts';
import { createTcxLink, isTcxSupported } from '../../../helper/kernel/tcx.ts';
import { remedies } from '../../../helper/protocol/remedies.ts';
import { buildDirectory } from '../../../scripts/lib/paths.ts';
import { PODPACED } from '../../bed/helper.ts';
import {
  addUplink,
  makeHelperDirectories,
  paramsOf,
  startOwnHelper,
  wirePod,
  type TestHelper,
} from '../../kit/helper.ts';
import { indexOf, load, verdictCode } from '../../kit/foreign-programs.ts';
import { makeNetns } from '../../kit/netns.ts';
import { runProgram } from '../../kit/run-program.ts';
import type { TestNetns } from '../../kit/netns.ts';
import type { RemedyOf } from '../../kit/remedy-tiers.ts';

const CAPS = { egress: { rateBitsPerSec: 10_000_000 } };

interface Scene {
  readonly node: TestNetns;
  readonly sandbox: TestNetns;
  readonly helper: TestHelper;
  /** Attaches the pod; what is said when it fails. */
  readonly attach: () => Promise<string>;
}

async function refusal(asked: Promise<unknown>): Promise<string> {
  try {
    await asked;
    return '';
  } catch (error) {
    if (error instanceof HelperError) return `${error.message}; ${error.remedy}`;
    throw error;
  }
}

/**
 * What is switched on in the configuration of this kernel; undefined where Debian has that in a
 * package of its own.
 */
function configuration(): ReadonlySet<string> | undefined {
  const release = os.release();
  const file = path.join(buildDirectory, 'kernels', release, 'boot', `config-${release}`);
  if (!fs.existsSync(file)) return undefined;
  const text = fs.readFileSync(file, 'utf8');
  return new Set([...text.matchAll(/^(CONFIG_\w+)=[ym]$/gm)].map(([, name = '']) => name));
}

/** Everything that `podpaced probe` has to say of this kernel. */
async function probed(): Promise<readonly ProbeItem[]> {
  const { stdout } = await runProgram(PODPACED, ['probe', '--json']);
  return (JSON.parse(stdout) as ProbeResult).items;
}

/** Runs the command in the node's namespace. */
function run({ node }: Scene, command: string): void {
  execFileSync('ip', ['netns', 'exec', node.name, ...command.split(' ')]);
}

/** Of each remedy: that it is named where it is needed, and that doing so helps. */
const CASES: Readonly<
  Record<RemedyOf<'vm'>, (t: ExecutionContext, scene: Scene) => Promise<void>>
> = {
  nodeNamespace: async (t, { sandbox, helper }) => {
    const elsewhere = refusal(helper.ask('attach', paramsOf('eth0', sandbox, CAPS)));
    t.true((await elsewhere).includes(remedies.nodeNamespace));
  },
  noUplink: async (t, { node, attach }) => {
    node.ip('route', 'delete', 'default');
    t.true((await attach()).includes(remedies.noUplink));
    node.ip('route', 'add', 'default', 'via', '198.51.100.2');
    t.is(await attach(), '');
  },
  foreignQdisc: async (t, scene) => {
    const { node, attach, helper } = scene;
    await helper.ask('detach', { containerId: 'c-pod0', ifname: 'eth0' });
    node.tc(
      'qdisc',
      'replace',
      'dev',
      'uplink',
      'root',
      'tbf',
      'rate',
      '1gbit',
      'burst',
      '1mb',
      'latency',
      '10ms',
    );
    const text = await attach();
    t.true(text.includes(remedies.foreignQdisc('uplink')), text);
    run(scene, /\((tc [^)]*)\)/.exec(text)?.[1] ?? 'false');
    t.is(await attach(), '');
  },
  ingressQdisc: async (t, scene) => {
    const { node, helper, attach } = scene;
    const isWell = async (): Promise<boolean> => (await helper.ask('status', {})).state === 'ok';
    for (const device of ['uplink', 'pod0']) {
      await helper.ask('detach', { containerId: 'c-pod0', ifname: 'eth0' });
      node.tc('qdisc', 'add', 'dev', device, 'ingress');
      const text = await attach();
      if (isTcxSupported()) {
        t.is(text, '');
        t.true(await isWell());
        node.tc('qdisc', 'delete', 'dev', device, 'ingress');
        continue;
      }
      // What the pod sends is held all the same, where only what comes to it could not be.
      const named = device === 'pod0' ? helper.log() : text;
      t.is(text === '', device === 'pod0', text);
      t.true(named.includes(remedies.ingressQdisc(device)), named);
      // A cap that was refused is none, and nobody with a cap sends to the only pod.
      t.true(await isWell());
      const command = remedies.ingressQdisc(device);
      run(scene, /\((tc qdisc [^)]*)\)/.exec(command)?.[1] ?? 'false');
      t.is(await attach(), '');
      t.true(await isWell());
    }
  },
  inFront: async (t, scene) => {
    const { node, helper, attach } = scene;
    const named = async (): Promise<string> => (await helper.ask('status', {})).problems.join('; ');
    if (isTcxSupported()) {
      // Who steps in front again and again is let stay there, and told of.
      const { fd } = load(t, verdictCode(0));
      const ifindex = indexOf(node, 'pod0');
      const links: number[] = [];
      const endMs = performance.now() + 60_000;
      while (
        !(await named()).includes(remedies.inFront('pod0', 'ingress')) &&
        performance.now() < endMs
      ) {
        for (const link of links.splice(0)) fs.closeSync(link);
        links.push(
          inNetns(node.netns, () => createTcxLink({ programFd: fd, ifindex, hook: 'ingress' })),
        );
        await sleep(2500);
      }
      t.true((await named()).includes(remedies.inFront('pod0', 'ingress')), await named());
      for (const link of links) fs.closeSync(link);
    } else {
      await helper.ask('detach', { containerId: 'c-pod0', ifname: 'eth0' });
      node.tc('qdisc', 'replace', 'dev', 'pod0', 'clsact');
      const words = 'pref 1 protocol all u32 match u32 0 0 action pass';
      node.tc('filter', 'add', 'dev', 'pod0', 'ingress', ...words.split(' '));
      t.is(await attach(), '');
      const text = await named();
      t.true(text.includes(remedies.inFront('pod0', 'ingress', 1)), text);
      run(scene, /\((tc filter [^)]*)\)/.exec(text)?.[1] ?? 'false');
    }
    const wellMs = performance.now() + 10_000;
    while ((await named()) !== '' && performance.now() < wellMs) await sleep(100);
    t.is(await named(), '');
  },
  missingQdisc: async (t) => {
    // This kernel has it as a module, or built in: modprobe succeeds for either.
    execFileSync('modprobe', [/modprobe (\w+)/.exec(remedies.missingQdisc('fq'))?.[1] ?? '']);
    t.pass();
  },
  kernelWith: async (t) => {
    const configured = configuration();
    const named = (await probed()).flatMap(({ name, remedy = '' }) =>
      remedy.startsWith(remedies.kernelWith(''))
        ? [{ name, options: remedy.match(/CONFIG_\w+/g) ?? [] }]
        : [],
    );
    // Without its configuration it is the newest, which has everything.
    if (configured === undefined) t.deepEqual(named, []);
    for (const { name, options } of named) {
      t.true(options.length > 0, name);
      t.false(
        options.every((option) => configured?.has(option)),
        `${name}: ${options.join(' ')}`,
      );
    }
    t.true(configured?.has('CONFIG_BPF_SYSCALL') ?? true);
  },
  newerKernel: async (t) => {
    const [major = 0, minor = 0] = os.release().split('.').map(Number);
    for (const { name, remedy } of await probed()) {
      const named = /Linux (\d+)\.(\d+) has it/.exec(remedy ?? '');
      if (named === null) continue;
      const isNewer =
        major > Number(named[1]) || (major === Number(named[1]) && minor >= Number(named[2]));
      t.false(isNewer, `${name}: ${remedy}`);
    }
    t.regex(remedies.newerKernel('6.6'), /Linux 6\.6 has it/);
  },
  waitForRepair: async (t, { node, helper, sandbox }) => {
    const params = paramsOf('pod0', sandbox, CAPS);
    node.tc('qdisc', 'delete', 'dev', 'uplink', 'root');
    t.true((await refusal(helper.ask('check', params))).includes(remedies.waitForRepair));
    const endMs = performance.now() + 60_000;
    while ((await refusal(helper.ask('check', params))) !== '' && performance.now() < endMs);
    await t.notThrowsAsync(helper.ask('check', params));
  },
  lastInList: async (t, { node, sandbox, helper }) => {
    const peer = ['type', 'veth', 'peer', 'name', 'eth1', 'netns', sandbox.name];
    node.ip('link', 'add', 'late0', ...peer);
    const [late] = node.ipJson('link', 'show', 'dev', 'late0');
    const pair = { podInterface: 'eth1', hostInterface: 'late0' };
    const beside = [{ ...pair, hostInterfaceIndex: Number(late?.['ifindex']) }];
    const params = { ...paramsOf('pod0', sandbox, CAPS), beside };
    t.true((await refusal(helper.ask('check', params))).includes(remedies.lastInList));
    t.is(await refusal(helper.ask('attach', params)), '');
    t.is(await refusal(helper.ask('check', params)), '');
  },
  unknownAttachment: async (t, scene) => {
    const key = { containerId: 'nobody', ifname: 'eth0' };
    const asked = scene.helper.ask('set', { ...key, direction: 'egress', changes: {} });
    t.true((await refusal(asked)).includes(remedies.unknownAttachment));
    t.regex(execFileSync(PODPACED, ['list', '--socket', scene.helper.socket]).toString(), /c-pod0/);
  },
};

test.serial('every remedy is named where it is needed, and helps', async (t) => {
  t.timeout(300_000);
  const [node, sandbox, peer] = [makeNetns(t), makeNetns(t), makeNetns(t)];
  wirePod(node, sandbox, 'pod0');
  addUplink(node, peer, 'uplink', 4);
  const helper = await startOwnHelper(t, node, makeHelperDirectories(t));
  const attach = (): Promise<string> =>
    refusal(helper.ask('attach', paramsOf('pod0', sandbox, CAPS)));
  for (const carryOut of Object.values(CASES)) await carryOut(t, { node, sandbox, helper, attach });
});
