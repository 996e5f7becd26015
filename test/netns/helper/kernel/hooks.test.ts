// Both ways of attaching, wherever the kernel has them: what stands at a device afterwards, and
// what of others stays.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import {
  createMap,
  loadProgram,
  lookupElement,
  MAP_TYPE,
  PROG_TYPE_SCHED_CLS,
  programInfo,
} from '../../../../helper/kernel/bpf.ts';
import { createTcxLink, isTcxSupported } from '../../../../helper/kernel/tcx.ts';
import { ensureBpffs } from '../../../../helper/kernel/bpffs.ts';
import { filtersAt, replaceBpfFilter } from '../../../../helper/kernel/filters.ts';
import { KernelError } from '../../../../helper/wire/errors.ts';
import { openHooks, type Hooks } from '../../../../helper/kernel/hooks.ts';
import type { HookName, Place } from '../../../../helper/wire/hook-place.ts';
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

/**
 * What a pod that goes and comes again at the same device does; tells only with two processors.
 * Each takes a grace period.
 */
const TURNS = 200;

for (const kind of KINDS) {
  test.serial(
    `${kind}: taken off and put up again ${TURNS} times, none is refused or missing`,
    async (t) => {
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
    },
  );
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
    if (isShared) t.not((await filtersAt(netns.rt, ifindex, 'ingress')).length, 0);
  }
});

test('clsact: an ingress qdisc has its one hook, and nothing at egress', async (t) => {
  const { netns, ifindex, run } = await makeBench(t, 'clsact');
  const [ingress, egress] = [
    { ifindex, hook: 'ingress' },
    { ifindex, hook: 'egress' },
  ] as const;
  netns.tc('qdisc', 'add', 'dev', 'left', 'ingress');
  const program = load(t, -1);
  await run((hooks) => hooks.attach(ingress, program));
  t.is(await run((hooks) => hooks.attachedProgramId(ingress)), program.id);
  t.is(await run((hooks) => hooks.attachedProgramId(egress)), undefined);
  await t.throwsAsync(
    run((hooks) => hooks.attach(egress, load(t, 0))),
    { instanceOf: KernelError, message: /tc qdisc del dev left ingress/ },
  );
  await run((hooks) => hooks.detach(egress));
  t.is(await run((hooks) => hooks.attachedProgramId(ingress)), program.id);
  await run((hooks) => hooks.detach(ingress));
  t.is((await filtersAt(netns.rt, ifindex, 'ingress')).length, 0);
  t.regex(netns.tc('qdisc', 'show', 'dev', 'left'), /qdisc ingress/);
});

/**
 * Another program steps in front of all that are at a hook: what others do. Gives how it leaves.
 */
function stepInFront(
  { netns, ifindex }: Bench,
  kind: Hooks['kind'],
  {
    fd,
    handle,
    hook,
  }: { readonly fd: number; readonly handle: number; readonly hook: 'ingress' | 'egress' },
): Promise<() => void> {
  if (kind === 'clsact') {
    const filter = { ifindex, hook, priority: 1, handle, programFd: fd, name: 'other' };
    return replaceBpfFilter(netns.rt, filter).then(() => () => undefined);
  }
  const link = inNetns(netns.netns, () => createTcxLink({ programFd: fd, ifindex, hook }));
  return Promise.resolve(() => fs.closeSync(link));
}

for (const kind of KINDS) {
  for (const hook of ['ingress', 'egress'] as const) {
    test(`${kind}: at ${hook} a new program comes before all, and again when somebody has stepped in front`, async (t) => {
      const bench = await makeBench(t, kind);
      const { ifindex, run } = bench;
      const place: Place = { ifindex, hook };
      const standing = () => run(async (hooks) => (await hooks.standings([place]))[0]);
      if (kind === 'clsact') bench.netns.tc('qdisc', 'add', 'dev', 'left', 'clsact');
      const [ours, next] = [load(t, -1), load(t, -1)];
      const others = [load(t, -1), load(t, -1)];
      const [leaveFirst, leaveSecond] = [
        await stepInFront(bench, kind, { fd: others[0]!.fd, handle: 5, hook }),
        await run((hooks) => hooks.attach(place, ours)).then(() => {
          return stepInFront(bench, kind, { fd: others[1]!.fd, handle: 6, hook });
        }),
      ];
      const second = {
        kind: 'program',
        id: others[1]!.id,
        name: kind === 'tcx' ? 'test' : 'other',
      };
      t.deepEqual(await standing(), { programId: ours.id, inFront: [second], canPass: true });
      await run((hooks) => hooks.attach(place, next));
      t.like(
        await standing(),
        { programId: next.id, inFront: [second] },
        'replaced where it stands',
      );
      await run((hooks) => hooks.comeFirst(place, next));
      t.deepEqual(await standing(), { programId: next.id, inFront: [], canPass: true });
      await run((hooks) => hooks.comeFirst(place, ours));
      t.deepEqual(await standing(), { programId: ours.id, inFront: [], canPass: true });
      t.deepEqual(await run(async (hooks) => hooks.knownPlaces()), [place]);
      await run((hooks) => hooks.detach(place));
      t.is(await standing(), undefined);
      leaveFirst();
      leaveSecond();
    });
  }
}

/** Options of tc for a filter of another kind, or of another protocol. */
const FILTERS: readonly (readonly [what: string, pref: number, words: string])[] = [
  ['a filter of another kind', 1, 'protocol all u32 match u32 0 0 flowid 1:1'],
  ['one of another protocol', 1, 'protocol ip u32 match u32 0 0 flowid 1:1'],
  ['one of priority 2', 2, 'protocol all u32 match u32 0 0 flowid 1:1'],
  ['one of the last priority', 0xfff0, 'protocol all u32 match u32 0 0 flowid 1:1'],
];

for (const [what, pref, words] of FILTERS) {
  test(`clsact: ${what} is no obstacle, and named where it stays in front`, async (t) => {
    const { netns, ifindex, run } = await makeBench(t, 'clsact');
    netns.tc('qdisc', 'add', 'dev', 'left', 'clsact');
    const [first, last] = [load(t, -1), load(t, -1)];
    netns.tc('filter', 'add', 'dev', 'left', 'ingress', 'pref', String(pref), ...words.split(' '));
    const places = (['ingress', 'ingressLast'] as const).map((hook: HookName) => ({
      ifindex,
      hook,
    }));
    await run(async (hooks) => {
      for (const [index, program] of [first, last].entries())
        await hooks.attach(places[index]!, program);
    });
    const [front, behind] = await run((hooks) => hooks.standings(places));
    const filter = { kind: 'filter', type: 'u32', priority: 1 };
    const isHeld = pref === 1;
    t.deepEqual(front, {
      ...{ programId: first.id, inFront: isHeld ? [filter] : [], canPass: !isHeld },
    });
    t.deepEqual(behind, { programId: last.id, inFront: [], canPass: true });
    netns.tc('filter', 'delete', 'dev', 'left', 'ingress', 'pref', String(pref));
    await run((hooks) => hooks.comeFirst(places[0]!, first));
    t.deepEqual((await run((hooks) => hooks.standings(places)))[0]?.inFront, []);
    for (const place of places) await run((hooks) => hooks.detach(place));
    t.deepEqual(netns.tcJson('filter', 'show', 'dev', 'left', 'ingress'), []);
  });
}

/** Counts the packets that it sees, and lets them go on. */
function loadCounter(t: ExecutionContext): { fd: number; name: string; count: () => number } {
  const map = createMap({
    ...{ type: MAP_TYPE.ARRAY, name: 'seen', keySize: 4, valueSize: 8, maxEntries: 1, flags: 0 },
  });
  const mapFd = Buffer.alloc(4);
  mapFd.writeInt32LE(map);
  const instructions = [
    '620afcff00000000', // *(u32 *)(r10 - 4) = 0
    'bfa2000000000000', // r2 = r10
    '07020000fcffffff', // r2 += -4
    `18110000${mapFd.toString('hex')}`, // r1 = map
    '0000000000000000',
    '8500000001000000', // call bpf_map_lookup_elem
    '1500020000000000', // if r0 == 0 goto +2
    'b701000001000000', // r1 = 1
    'db10000000000000', // lock *(u64 *)r0 += r1
    'b7000000ffffffff', // r0 = TC_ACT_UNSPEC
    '9500000000000000', // exit
  ];
  const code = Buffer.from(instructions.join(''), 'hex');
  const fd = loadProgram({
    type: PROG_TYPE_SCHED_CLS,
    name: 'count',
    license: 'GPL',
    instructions: code,
  });
  t.teardown(() => {
    fs.closeSync(fd);
    fs.closeSync(map);
  });
  const count = () => Number(lookupElement(map, Buffer.alloc(4), 8)?.readBigUInt64LE());
  return { fd, name: 'count', count };
}

/** Sends small datagrams as fast as it can, in a process of its own. */
const FLOOD = `
  const socket = require('node:dgram').createSocket({ type: 'udp4', lookup: (name, options, done) => done(null, name, 4) });
  socket.on('error', () => undefined);
  socket.bind(0, () => {
    console.log('sending');
    const send = () => { for (let i = 0; i < 100; i++) socket.send('x', 9, '198.51.100.2'); setImmediate(send); };
    send();
  });`;

/** How often somebody steps in front, under load. */
const MOVES = 50;
/**
 * What a packet of a pod at a low cap takes: 1514 bytes at 10 Mbit/s. No gap is to be longer, in
 * the mean.
 */
const PACKET_US = 1211;
/** Of the gap, on a machine that others use. */
const ATTEMPTS = 3;

for (const kind of KINDS) {
  test.serial(
    `${kind}: no packet meets a program twice that steps in front, and hardly any meets none`,
    async (t) => {
      const bench = await makeBench(t, kind);
      const { netns, ifindex, run } = bench;
      netns.ip('address', 'add', '198.51.100.1/24', 'dev', 'left');
      const neighbour = ['lladdr', '02:00:00:00:00:02', 'dev', 'left'];
      netns.ip('neighbour', 'add', '198.51.100.2', ...neighbour);
      if (kind === 'clsact') netns.tc('qdisc', 'add', 'dev', 'left', 'clsact');
      const [all, ours, other] = [loadCounter(t), loadCounter(t), load(t, -1)];
      const place: Place = { ifindex, hook: 'egress' };
      await run((hooks) => hooks.attach(place, ours));
      // Behind ours from the first move on.
      const leave = await stepInFront(bench, kind, { fd: all.fd, handle: 5, hook: 'egress' });
      let gapUs = Infinity;
      // Whoever keeps the processor meanwhile makes the gap longer, never shorter.
      for (let attempt = 0; attempt < ATTEMPTS && gapUs >= PACKET_US; attempt += 1) {
        const sender = spawn('ip', ['netns', 'exec', netns.name, process.execPath, '-e', FLOOD], {
          stdio: ['ignore', 'pipe', 'inherit'],
        });
        t.teardown(() => sender.kill('SIGKILL'));
        await once(sender.stdout, 'data');
        const [begin, beginMs] = [{ all: all.count(), ours: ours.count() }, performance.now()];
        for (let move = 0; move < MOVES; move += 1) {
          const left = await stepInFront(bench, kind, { fd: other.fd, handle: 6, hook: 'egress' });
          await run((hooks) => hooks.comeFirst(place, ours));
          left();
        }
        const sentMs = performance.now() - beginMs;
        sender.kill('SIGKILL');
        await once(sender, 'close');
        const [sent, met] = [all.count() - begin.all, ours.count() - begin.ours];
        gapUs = (((sent - met) / MOVES) * sentMs * 1000) / sent;
        t.log(
          `${sent} packets in ${sentMs.toFixed(0)} ms, ${sent - met} met none: ${gapUs.toFixed(0)} us a move`,
        );
        t.true(sent > 10 * MOVES);
        t.true(met <= sent + 2, `met twice: ${met - sent}`);
      }
      t.true(gapUs < PACKET_US, `${gapUs} us a move`);
      leave();
    },
  );
}
