// What is found of Debian's kernels, which are known: 6.1 has neither tcx nor netkit, later ones
// have everything.

import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import type { ProbeItem, ProbeResult } from '../../../helper/protocol/messages.ts';
import { checkProbeItems } from '../../../helper/protocol/probe-items.ts';
import { PODPACED } from '../../bed/helper.ts';
import { addUplink, makeHelperDirectories, startOwnHelper } from '../../kit/helper.ts';
import { makeNetns, type TestNetns } from '../../kit/netns.ts';

/** By kernel: how programs are attached, and what lacks that caps do not need. */
const KNOWN: readonly [series: RegExp, hooks: 'tcx' | 'clsact', absent: readonly string[]][] = [
  [/^6\.1\./, 'clsact', ['tcx', 'netkit']],
  [/^(6\.12|[7-9]\.\d+)\./, 'tcx', []],
];

function makeNode(t: ExecutionContext): TestNetns {
  const [node, peer] = [makeNetns(t), makeNetns(t)];
  addUplink(node, peer, 'uplink', 4);
  return node;
}

function probeOn(node: TestNetns): ProbeResult & { code: number | null } {
  const { status, stdout, stderr } = spawnSync(
    'nsenter',
    [`--net=/run/netns/${node.name}`, PODPACED, 'probe', '--json'],
    { encoding: 'utf8' },
  );
  if (stdout === '') throw new Error(stderr);
  const result = JSON.parse(stdout) as ProbeResult;
  checkProbeItems(result.items);
  return { code: status, ...result };
}

function namesOf(items: readonly ProbeItem[], isMeant: (item: ProbeItem) => boolean): string[] {
  return items.filter(isMeant).map(({ name }) => name);
}

test.serial("Debian's kernels have what they are known to have", async (t) => {
  const [, hooks, absent] = KNOWN.find(([series]) => series.test(os.release())) ?? [];
  const node = makeNode(t);
  const { code, items } = probeOn(node);
  t.is(code, 0);
  t.deepEqual(
    namesOf(items, ({ ok }) => !ok),
    [],
  );
  t.deepEqual(
    namesOf(items, ({ there }) => there === false),
    absent ?? ['a kernel that is known'],
  );
  t.deepEqual(
    namesOf(items, ({ there }) => there === undefined),
    hooks === 'tcx' ? ['clsact'] : [],
  );
  const helper = await startOwnHelper(t, node, makeHelperDirectories(t));
  t.regex(helper.log(), new RegExp(`serves .*\\(${hooks}, `));
  const { features, state } = await helper.ask('status', {});
  t.is(state, 'ok');
  t.deepEqual(
    features?.filter(({ name }) => name !== 'bpffs'),
    items.filter(({ name }) => name !== 'bpffs'),
  );
});

const FORBIDDING = '/etc/modprobe.d/podpace-test.conf';

/** Takes the module away, unless something uses it or it is built in. */
function removeFq(): boolean {
  return spawnSync('modprobe', ['--remove', 'sch_fq']).status === 0;
}

test.serial(
  'a module that is installed and forbidden is told from one that is not there',
  async (t) => {
    const node = makeNode(t);
    t.teardown(() => fs.rmSync(FORBIDDING, { force: true }));
    fs.mkdirSync('/etc/modprobe.d', { recursive: true });
    fs.writeFileSync(FORBIDDING, 'install sch_fq /bin/false\n');
    t.true(removeFq());
    const { code, items } = probeOn(node);
    t.is(code, 1);
    t.deepEqual(
      namesOf(items, ({ ok }) => !ok),
      ['sch_fq'],
    );
    t.regex(
      items.find(({ name }) => name === 'sch_fq')?.found ?? '',
      /not loadable: .*module sch_fq.*blacklist/,
    );

    // The helper serves all the same, and sees when the module has come.
    const helper = await startOwnHelper(t, node, makeHelperDirectories(t), [
      '--reconcile-seconds',
      '1',
    ]);
    const fqOf = async (): Promise<ProbeItem | undefined> =>
      (await helper.ask('status', {})).features?.find(({ name }) => name === 'sch_fq');
    t.like(await fqOf(), { ok: false, there: false });
    fs.rmSync(FORBIDDING);
    execFileSync('modprobe', ['sch_fq']);
    const endMs = performance.now() + 60_000;
    while ((await fqOf())?.there !== true && performance.now() < endMs) await sleep(100);
    t.like(await fqOf(), { ok: true, there: true });
    t.is((await helper.ask('status', {})).state, 'ok');
  },
);
