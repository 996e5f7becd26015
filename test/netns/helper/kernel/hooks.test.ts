// Both ways of attaching, wherever the kernel has them: what stands at a device afterwards, and what of others stays.

import fs from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import { loadProgram, PROG_TYPE_SCHED_CLS, programInfo } from '../../../../helper/kernel/bpf.ts';
import { isTcxSupported } from '../../../../helper/kernel/tcx.ts';
import { ensureBpffs } from '../../../../helper/kernel/bpffs.ts';
import { hasFilters } from '../../../../helper/kernel/filters.ts';
import { openHooks, type Hooks, type Place } from '../../../../helper/kernel/hooks.ts';
import { inNetns } from '../../../../helper/kernel/netns.ts';
import { addPair, makeNetns, type TestNetns } from '../../../kit/netns.ts';

const KINDS: readonly Hooks['kind'][] = isTcxSupported() ? ['tcx', 'clsact'] : ['clsact'];

/** `r0 = value; exit`: programs with different values have different tags. */
function load(t: ExecutionContext, value: number): { fd: number; name: string; id: number } {
  const instructions = Buffer.from('b7000000000000009500000000000000', 'hex');
  instructions.writeInt32LE(value, 4);
  const fd = loadProgram({ type: PROG_TYPE_SCHED_CLS, name: 'test', license: 'GPL', instructions });
  t.teardown(() => fs.closeSync(fd));
  return { fd, name: 'test', id: programInfo(fd).id };
}

interface Bench {
  readonly netns: TestNetns;
  readonly ifindex: number;
  /** Runs an operation whose system calls belong to the namespace's devices. */
  readonly run: <T>(operation: (hooks: Hooks) => Promise<T>) => Promise<T>;
}

async function makeBench(t: ExecutionContext, kind: Hooks['kind']): Promise<Bench> {
  const netns = makeNetns(t);
  const ifindex = await addPair(netns);
  const directory = `/tmp/${netns.name}`;
  const links = `/sys/fs/bpf/${netns.name}`;
  ensureBpffs('/sys/fs/bpf');
  t.teardown(() => {
    for (const each of [directory, links]) fs.rmSync(each, { recursive: true, force: true });
  });
  const hooks = openHooks(netns.rt, { links, marks: directory }, kind);
  const run = async <T>(operation: (hooks: Hooks) => Promise<T>): Promise<T> => {
    const results: Promise<T>[] = [];
    inNetns(netns.netns, () => {
      results.push(operation(hooks));
    });
    const [result] = await Promise.all(results);
    return result as T;
  };
  return { netns, ifindex, run };
}

for (const kind of KINDS) {
  test(`${kind}: a program comes, is replaced and goes`, async (t) => {
    const { ifindex, run } = await makeBench(t, kind);
    const place: Place = { ifindex, hook: 'egress' };
    const [first, second] = [load(t, -1), load(t, 0)];
    t.is(await run((hooks) => hooks.attachedProgramId(place)), undefined);
    await run((hooks) => hooks.attach(place, first));
    t.is(await run((hooks) => hooks.attachedProgramId(place)), first.id);
    t.is(await run((hooks) => hooks.attachedProgramId({ ifindex, hook: 'ingress' })), undefined);
    await run((hooks) => hooks.attach(place, second));
    t.is(await run((hooks) => hooks.attachedProgramId(place)), second.id);
    t.deepEqual(await run(async (hooks) => hooks.knownPlaces()), [place]);
    await run((hooks) => hooks.detach(place));
    t.is(await run((hooks) => hooks.attachedProgramId(place)), undefined);
    t.deepEqual(await run(async (hooks) => hooks.knownPlaces()), []);
    await run((hooks) => hooks.detach(place));
  });

  test(`${kind}: a device that vanished holds nothing and blocks nothing`, async (t) => {
    const { netns, ifindex, run } = await makeBench(t, kind);
    const place: Place = { ifindex, hook: 'ingress' };
    await run((hooks) => hooks.attach(place, load(t, -1)));
    netns.ip('link', 'delete', 'left');
    t.is(await run((hooks) => hooks.attachedProgramId(place)), undefined);
    await run((hooks) => hooks.detach(place));
    t.deepEqual(await run(async (hooks) => hooks.knownPlaces()), []);
  });
}

/** What a pod that goes and comes again at the same device does; tells only with two processors. Each takes a grace period. */
const TURNS = 200;

for (const kind of KINDS) {
  test.serial(`${kind}: taken off and put up again ${TURNS} times, none is refused or missing`, async (t) => {
    const { ifindex, run } = await makeBench(t, kind);
    const place: Place = { ifindex, hook: 'egress' };
    const program = load(t, -1);
    for (let turn = 0; turn < TURNS; turn += 1) {
      await run((hooks) => hooks.attach(place, program));
      if ((await run((hooks) => hooks.attachedProgramId(place))) !== program.id)
        t.fail(`missing: turn ${turn}`);
      await run((hooks) => hooks.detach(place));
    }
    t.is(await run((hooks) => hooks.attachedProgramId(place)), undefined);
  });
}

test('clsact: the qdisc goes with the last program, unless somebody else came to use it', async (t) => {
  for (const isShared of [false, true]) {
    const { netns, ifindex, run } = await makeBench(t, 'clsact');
    for (const hook of ['ingress', 'egress'] as const) {
      await run((hooks) => hooks.attach({ ifindex, hook }, load(t, -1)));
    }
    if (isShared) {
      const match = ['u32', 'match', 'u32', '0', '0', 'flowid', '1:1'];
      netns.tc('filter', 'add', 'dev', 'left', 'ingress', 'pref', '9', ...match);
    }
    await run((hooks) => hooks.detach({ ifindex, hook: 'ingress' }));
    t.regex(netns.tc('qdisc', 'show', 'dev', 'left'), /clsact/);
    await run((hooks) => hooks.detach({ ifindex, hook: 'egress' }));
    t.is(netns.tc('qdisc', 'show', 'dev', 'left').includes('clsact'), isShared);
    if (isShared) t.true(await hasFilters(netns.rt, ifindex, 'ingress'));
  }
});
