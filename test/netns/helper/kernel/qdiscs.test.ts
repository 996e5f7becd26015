import test from 'ava';
import { KernelError } from '../../../../helper/wire/errors.ts';
import { findLink } from '../../../../helper/kernel/links.ts';
import {
  TC_H_ROOT,
  deleteQdisc,
  listClasses,
  listQdiscs,
  replaceQdisc,
} from '../../../../helper/kernel/qdiscs.ts';
import { addPair, makeNetns } from '../../../kit/netns.ts';
import type { TestNetns } from '../../../kit/netns.ts';

const PFIFO_LIMIT_7 = Buffer.from('07000000', 'hex');

/** What `tc qdisc show` says, in our words. */
function witness({ tcJson }: TestNetns): string[] {
  return tcJson('qdisc', 'show', 'dev', 'left')
    .map(({ kind, handle, parent, root }) => {
      const place = root === true ? 'root' : String(parent).replace(/^:/, '0:');
      return `${String(kind)} ${String(handle)} ${place}`;
    })
    .sort();
}

function format(handle: number): string {
  if (handle === TC_H_ROOT) return 'root';
  const minor = handle & 0xffff;
  return `${(handle >>> 16).toString(16)}:${minor === 0 ? '' : minor.toString(16)}`;
}

async function ours(netns: TestNetns, ifindex: number): Promise<string[]> {
  const qdiscs = await listQdiscs(netns.rt, ifindex);
  return qdiscs
    .map(({ kind, handle, parent }) => `${kind} ${format(handle)} ${format(parent)}`)
    .sort();
}

test('listQdiscs shows the default noqueue that tc shows', async (t) => {
  const netns = makeNetns(t);
  const ifindex = await addPair(netns, 4);
  t.deepEqual(await ours(netns, ifindex), ['noqueue 0: root']);
  t.deepEqual(await ours(netns, ifindex), witness(netns));
});

test('listQdiscs and listClasses show a configured mq with all its default leaves', async (t) => {
  const netns = makeNetns(t);
  const ifindex = await addPair(netns, 4);
  await replaceQdisc(netns.rt, { ifindex, parent: TC_H_ROOT, handle: 0x10000, kind: 'mq' });
  const listed = await ours(netns, ifindex);
  t.is(listed.length, 5);
  t.deepEqual(listed, witness(netns));
  const classes = await listClasses(netns.rt, ifindex);
  t.deepEqual(
    classes.map(({ handle }) => handle),
    [0x10001, 0x10002, 0x10003, 0x10004],
  );
  t.true(classes.every(({ kind, leafHandle }) => kind === 'mq' && leafHandle === 0));
});

test('a default mq and its leaves have no handle, and take other leaves only once mq has one', async (t) => {
  const netns = makeNetns(t);
  // A veth gets no queues of its own accord; an ifb does.
  netns.ip('link', 'add', 'left', 'numtxqueues', '2', 'type', 'ifb');
  netns.ip('link', 'set', 'left', 'up');
  const ifindex = (await findLink(netns.rt, { name: 'left' }))?.index ?? 0;
  const listed = await ours(netns, ifindex);
  t.deepEqual(listed, witness(netns));
  t.is(listed.length, 3);
  t.true(listed.includes('mq 0: root'));
  t.deepEqual(await listClasses(netns.rt, ifindex), [
    { handle: 1, parent: TC_H_ROOT, leafHandle: 0, kind: 'mq' },
    { handle: 2, parent: TC_H_ROOT, leafHandle: 0, kind: 'mq' },
  ]);
  const leaf = { ifindex, kind: 'pfifo' };
  await t.throwsAsync(replaceQdisc(netns.rt, { ...leaf, parent: 1 }), { instanceOf: KernelError });
  await replaceQdisc(netns.rt, { ifindex, parent: TC_H_ROOT, handle: 0x10000, kind: 'mq' });
  await t.notThrowsAsync(replaceQdisc(netns.rt, { ...leaf, parent: 0x10001 }));
});

test('listClasses gives the handle of every leaf under mq', async (t) => {
  const netns = makeNetns(t);
  const ifindex = await addPair(netns, 4);
  await replaceQdisc(netns.rt, { ifindex, parent: TC_H_ROOT, handle: 0x10000, kind: 'mq' });
  for (const [index, { handle }] of (await listClasses(netns.rt, ifindex)).entries()) {
    const leaf = {
      ifindex,
      parent: handle,
      handle: (0x20 + index) << 16,
      kind: 'pfifo',
      options: PFIFO_LIMIT_7,
    };
    await replaceQdisc(netns.rt, leaf);
  }
  t.deepEqual(
    (await listClasses(netns.rt, ifindex)).map(({ leafHandle }) => leafHandle >>> 16),
    [0x20, 0x21, 0x22, 0x23],
  );
  t.deepEqual(await ours(netns, ifindex), witness(netns));
  const leaf = (await listQdiscs(netns.rt, ifindex)).find(({ handle }) => handle === 0x210000);
  t.deepEqual(leaf?.options, PFIFO_LIMIT_7);
  t.is(leaf?.parent, 0x10002);
});

test('replaceQdisc replaces what stands there, and deleteQdisc brings the default back', async (t) => {
  const netns = makeNetns(t);
  const ifindex = await addPair(netns, 4);
  await replaceQdisc(netns.rt, { ifindex, parent: TC_H_ROOT, handle: 0x50000, kind: 'pfifo' });
  await replaceQdisc(netns.rt, { ifindex, parent: TC_H_ROOT, handle: 0x60000, kind: 'bfifo' });
  t.deepEqual(witness(netns), ['bfifo 6: root']);
  await deleteQdisc(netns.rt, { ifindex, parent: TC_H_ROOT });
  t.deepEqual(witness(netns), ['noqueue 0: root']);
});

test('replacing the root keeps the filters under clsact', async (t) => {
  const netns = makeNetns(t);
  const ifindex = await addPair(netns, 4);
  netns.tc('qdisc', 'add', 'dev', 'left', 'clsact');
  netns.tc(
    'filter',
    'add',
    'dev',
    'left',
    'egress',
    'protocol',
    'ip',
    'u32',
    'match',
    'u32',
    '0',
    '0',
  );
  await replaceQdisc(netns.rt, { ifindex, parent: TC_H_ROOT, kind: 'pfifo' });
  t.true(netns.tc('filter', 'show', 'dev', 'left', 'egress').includes('u32'));
});

test('listQdiscs without an index lists every device', async (t) => {
  const netns = makeNetns(t);
  await addPair(netns, 4);
  const names = new Set((await listQdiscs(netns.rt)).map(({ ifindex }) => ifindex));
  t.true(names.size >= 2);
});

test('qdisc errors name the kind, the interface and the place', async (t) => {
  const netns = makeNetns(t);
  const ifindex = await addPair(netns, 4);
  const unknown = replaceQdisc(netns.rt, { ifindex, parent: TC_H_ROOT, kind: 'nonesuch' });
  const error = await t.throwsAsync(unknown, { instanceOf: KernelError });
  t.is(error?.operation, `put qdisc "nonesuch" on interface ${ifindex} at root`);
  t.is(error?.errno, 'ENOENT');
  t.truthy(error?.detail);
  const gone = replaceQdisc(netns.rt, { ifindex: 4711, parent: 0x10001, kind: 'pfifo' });
  const nodev = await t.throwsAsync(gone, {
    instanceOf: KernelError,
    message: /interface 4711 at 1:1/,
  });
  t.is(nodev?.errno, 'ENODEV');
  const none = await t.throwsAsync(deleteQdisc(netns.rt, { ifindex, parent: TC_H_ROOT }), {
    instanceOf: KernelError,
  });
  t.is(none?.errno, 'ENOENT');
});

test('listClasses of a device that is gone is empty', async (t) => {
  const { rt } = makeNetns(t);
  t.deepEqual(await listClasses(rt, 4711), []);
});
