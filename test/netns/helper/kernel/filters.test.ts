import fs from 'node:fs';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { loadProgram, PROG_TYPE_SCHED_CLS } from '../../../../helper/kernel/bpf.ts';
import { KernelError } from '../../../../helper/wire/errors.ts';
import {
  deleteFilter,
  ensureClsact,
  filtersAt,
  listBpfFilters,
  removeClsact,
  replaceBpfFilter,
} from '../../../../helper/kernel/filters.ts';
import { redirectTargets } from '../../../../helper/wire/tc-action.ts';
import { addPair, makeNetns } from '../../../kit/netns.ts';

/**
 * Loads `r0 = -1; exit` (TC_ACT_UNSPEC), with as many useless instructions before it as make its
 * tag another.
 */
function load(t: ExecutionContext, padding = 0): number {
  const pad = 'b701000000000000'.repeat(padding);
  const instructions = Buffer.from(`${pad}b7000000ffffffff9500000000000000`, 'hex');
  const fd = loadProgram({ type: PROG_TYPE_SCHED_CLS, name: 'pass', license: 'GPL', instructions });
  t.teardown(() => fs.closeSync(fd));
  return fd;
}

/** What the kernel says of a program's descriptor: its id and its tag. */
function programIdentity(fd: number): { programId: number; programTag: string } {
  const text = fs.readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8');
  const field = (name: string): string =>
    new RegExp(`^${name}:\\s*(\\S+)$`, 'm').exec(text)?.[1] ?? '';
  return { programId: Number(field('prog_id')), programTag: field('prog_tag') };
}

test('ensureClsact makes the qdisc once, removeClsact removes it', async (t) => {
  const netns = makeNetns(t);
  const ifindex = await addPair(netns);
  t.true(await ensureClsact(netns.rt, ifindex));
  t.false(await ensureClsact(netns.rt, ifindex));
  t.true(netns.tc('qdisc', 'show', 'dev', 'left').includes('qdisc clsact ffff: parent ffff:fff1'));
  await removeClsact(netns.rt, ifindex);
  t.false(netns.tc('qdisc', 'show', 'dev', 'left').includes('clsact'));
  await t.throwsAsync(removeClsact(netns.rt, ifindex), {
    instanceOf: KernelError,
    message: /at clsact/,
  });
});

test('ensureClsact says that an ingress qdisc stands in its place', async (t) => {
  const netns = makeNetns(t);
  const ifindex = await addPair(netns);
  netns.tc('qdisc', 'add', 'dev', 'left', 'ingress');
  await t.throwsAsync(ensureClsact(netns.rt, ifindex), {
    instanceOf: KernelError,
    message: /EEXIST \(qdisc "ingress" stands in its place\)/,
  });
});

test('ensureClsact says ENODEV for no interface', async (t) => {
  const { rt } = makeNetns(t);
  const error = await t.throwsAsync(ensureClsact(rt, 4711), {
    instanceOf: KernelError,
    message: /4711/,
  });
  t.is(error?.errno, 'ENODEV');
});

test('replaceBpfFilter puts a program at a hook, as tc shows', async (t) => {
  const netns = makeNetns(t);
  const ifindex = await addPair(netns);
  const programFd = load(t);
  await ensureClsact(netns.rt, ifindex);
  await replaceBpfFilter(netns.rt, {
    ifindex,
    hook: 'egress',
    priority: 50,
    handle: 1,
    programFd,
    name: 'depart',
  });
  const identity = programIdentity(programFd);
  t.deepEqual(await listBpfFilters(netns.rt, ifindex, 'egress'), [
    { priority: 50, protocol: 3, handle: 1, name: 'depart', directAction: true, ...identity },
  ]);
  t.deepEqual(await listBpfFilters(netns.rt, ifindex, 'ingress'), []);
  const shown = netns
    .tcJson('filter', 'show', 'dev', 'left', 'egress')
    .find(({ options }) => options !== undefined);
  t.like(shown, { protocol: 'all', pref: 50, kind: 'bpf' });
  t.like(shown?.['options'], { bpf_name: 'depart', 'direct-action': true });
});

test('replaceBpfFilter exchanges the program and keeps priority and handle', async (t) => {
  const netns = makeNetns(t);
  const ifindex = await addPair(netns);
  await ensureClsact(netns.rt, ifindex);
  const filter = { ifindex, hook: 'ingress', priority: 50, handle: 7, name: 'classify' } as const;
  const programs = [load(t), load(t, 3)];
  for (const programFd of programs) {
    await replaceBpfFilter(netns.rt, { ...filter, programFd });
    const filters = await listBpfFilters(netns.rt, ifindex, 'ingress');
    t.is(filters.length, 1);
    t.like(filters[0], { priority: 50, handle: 7, ...programIdentity(programFd) });
  }
});

test('listBpfFilters leaves out other kinds, and gives the order in which they run', async (t) => {
  const netns = makeNetns(t);
  const ifindex = await addPair(netns);
  const programFd = load(t);
  await ensureClsact(netns.rt, ifindex);
  const u32 = ['protocol', 'ip', 'u32', 'match', 'u32', '0', '0'];
  netns.tc('filter', 'add', 'dev', 'left', 'egress', 'prio', '5', ...u32);
  for (const priority of [9, 3]) {
    const filter = {
      ifindex,
      hook: 'egress',
      priority,
      handle: 1,
      programFd,
      name: `p${priority}`,
    } as const;
    await replaceBpfFilter(netns.rt, filter);
  }
  t.deepEqual(
    (await listBpfFilters(netns.rt, ifindex, 'egress')).map(({ name }) => name),
    ['p3', 'p9'],
  );
});

test('deleteFilter removes one filter and leaves the others', async (t) => {
  const netns = makeNetns(t);
  const ifindex = await addPair(netns);
  const programFd = load(t);
  await ensureClsact(netns.rt, ifindex);
  for (const handle of [1, 2]) {
    const filter = {
      ifindex,
      hook: 'egress',
      priority: 50,
      handle,
      programFd,
      name: `h${handle}`,
    } as const;
    await replaceBpfFilter(netns.rt, filter);
  }
  const first = { ifindex, hook: 'egress', priority: 50, handle: 1 } as const;
  await deleteFilter(netns.rt, first);
  t.deepEqual(
    (await listBpfFilters(netns.rt, ifindex, 'egress')).map(({ name }) => name),
    ['h2'],
  );
  const error = await t.throwsAsync(deleteFilter(netns.rt, first), { instanceOf: KernelError });
  t.is(error?.errno, 'ENOENT');
  t.is(
    error?.operation,
    `delete the filter at egress of interface ${ifindex} with priority 50 and handle 1`,
  );
});

test('filters without a clsact qdisc: none to list, none to put', async (t) => {
  const netns = makeNetns(t);
  const ifindex = await addPair(netns);
  t.deepEqual(await listBpfFilters(netns.rt, ifindex, 'egress'), []);
  const filter = {
    ifindex,
    hook: 'egress',
    priority: 50,
    handle: 1,
    programFd: load(t),
    name: 'depart',
  } as const;
  const error = await t.throwsAsync(replaceBpfFilter(netns.rt, filter), {
    instanceOf: KernelError,
    message: /"depart"/,
  });
  t.is(error?.errno, 'EINVAL');
});

/** Filters that match everything, as far as a kernel has them; this machine's has u32 alone. */
const MATCHES = {
  u32: 'match u32 0 0',
  matchall: '',
  flower: '',
  fw: 'handle 1',
};

test('where a filter redirects packets is read of every kind that the kernel has, as tc puts it there', async (t) => {
  const netns = makeNetns(t);
  const ifindex = await addPair(netns);
  const right = Number(netns.ipJson('link', 'show', 'dev', 'right')[0]?.['ifindex']);
  await ensureClsact(netns.rt, ifindex);
  for (const [kind, match] of Object.entries(MATCHES)) {
    for (const [action, targets] of [
      ['redirect', [right]],
      ['mirror', []],
    ] as const) {
      const [handle, rest] = match.startsWith('handle') ? [match, ''] : ['', match];
      const words = `filter add dev left egress pref 7 ${handle} ${kind} ${rest} action mirred egress ${action} dev right`;
      try {
        netns.tc(...words.split(' ').filter((word) => word !== ''));
      } catch (error) {
        if (kind === 'u32') throw error;
        t.log(`no ${kind}: ${(error as Error).message.split('\n')[1]}`);
        continue;
      }
      const found = await filtersAt(netns.rt, ifindex, 'egress');
      t.deepEqual(
        found.flatMap((filter) => redirectTargets(filter.kind, filter.options)),
        [...targets],
        `${kind} ${action}`,
      );
      netns.tc('filter', 'delete', 'dev', 'left', 'egress', 'pref', '7');
    }
  }
});
