import test from 'ava';
import { Protocol } from 'netlink/dist/constants.js';
import { KernelError } from '../../../../helper/wire/errors.ts';
import {
  changeLink,
  createVethPair,
  deleteLink,
  findLink,
  listLinks,
} from '../../../../helper/kernel/links.ts';
import { NetlinkSocket } from '../../../../helper/kernel/netlink-socket.ts';
import { inNetns } from '../../../../helper/kernel/netns.ts';
import { DATAGRAM_BYTES, type RtTransport } from '../../../../helper/kernel/rt-transport.ts';
import { RtSocket } from '../../../../helper/kernel/rtnetlink.ts';
import { makeNetns } from '../../../kit/netns.ts';

/** A socket of a process that is gone after so many messages. */
function openEnding(messages: number): RtSocket {
  const transport: RtTransport = new NetlinkSocket(Protocol.ROUTE, DATAGRAM_BYTES);
  const send = transport.send.bind(transport);
  let left = messages;
  transport.send = (datagram, done) => {
    left -= 1;
    if (left < 0) done({ code: 'EPIPE' });
    else send(datagram, done);
  };
  return new RtSocket(transport);
}

test('createVethPair makes both ends under their names in their namespaces', async (t) => {
  const node = makeNetns(t);
  const pod = makeNetns(t);
  await createVethPair(node.rt, {
    name: 'host0',
    alias: 'pod "a"',
    mtu: 1400,
    mac: '02:00:00:00:00:01',
    peer: { name: 'eth0', mac: '02:00:00:00:00:02', netns: pod.netns },
    numTxQueues: 4,
  });
  const [host] = node.ipJson('-d', 'link', 'show', 'host0');
  t.like(host, {
    mtu: 1400,
    address: '02:00:00:00:00:01',
    ifalias: 'pod "a"',
    num_tx_queues: 4,
    num_rx_queues: 4,
  });
  const [eth0] = pod.ipJson('-d', 'link', 'show', 'eth0');
  t.like(eth0, { mtu: 1400, address: '02:00:00:00:00:02', num_tx_queues: 4 });
  t.is(node.ipJson('link').length, 2);
});

test('createVethPair can leave both ends in one namespace', async (t) => {
  const { rt, ipJson } = makeNetns(t);
  await createVethPair(rt, { name: 'left', mtu: 1500, peer: { name: 'right' } });
  t.is(ipJson('link', 'show', 'left')[0]?.['link'], 'right');
});

test('createVethPair says EEXIST with the names, and creates nothing, when either is taken', async (t) => {
  const node = makeNetns(t);
  const pod = makeNetns(t);
  await createVethPair(node.rt, {
    name: 'host0',
    mtu: 1500,
    peer: { name: 'eth0', netns: pod.netns },
  });
  for (const [name, peer] of [
    ['host0', 'eth1'],
    ['host1', 'eth0'],
  ] as const) {
    const pair = { name, alias: 'x', mtu: 1500, peer: { name: peer, netns: pod.netns } };
    const error = await t.throwsAsync(createVethPair(node.rt, pair), { instanceOf: KernelError });
    t.is(error?.errno, 'EEXIST');
    t.is(error?.operation, `create link "${name}" with peer "${peer}"`);
  }
  t.is((await listLinks(node.rt)).length, 2);
  t.is((await listLinks(pod.rt)).length, 2);
});

test('createVethPair leaves no pair behind when the alias is refused', async (t) => {
  const { rt } = makeNetns(t);
  const pair = { name: 'host0', alias: 'x'.repeat(300), mtu: 1500, peer: { name: 'eth0' } };
  const error = await t.throwsAsync(createVethPair(rt, pair), {
    instanceOf: KernelError,
    message: /set alias/,
  });
  t.truthy(error?.errno);
  t.is((await listLinks(rt)).length, 1);
});

test('createVethPair leaves no pair without its alias, whatever its last message was', async (t) => {
  const { netns, rt } = makeNetns(t);
  const interrupted = [];
  for (let messages = 0; messages <= 4; messages += 1) {
    const name = `host${messages}`;
    const socket = inNetns(netns, () => openEnding(messages));
    t.teardown(() => socket.close());
    const pair = { name, alias: 'a pod', mtu: 1500, peer: { name: `eth${messages}` } };
    const isDone = await createVethPair(socket, pair).then(
      () => true,
      () => false,
    );
    const link = await findLink(rt, { name });
    if (link !== undefined) t.is(link.alias, 'a pod', `${messages} messages`);
    if (link !== undefined && !isDone) interrupted.push(messages);
  }
  t.true(interrupted.length > 0);
});

test('createVethPair leaves the alias of a link that has the name', async (t) => {
  const { rt } = makeNetns(t);
  await createVethPair(rt, { name: 'host0', alias: 'former', mtu: 1500, peer: { name: 'eth0' } });
  const pair = { name: 'host0', alias: 'later', mtu: 1500, peer: { name: 'eth1' } };
  await t.throwsAsync(createVethPair(rt, pair), { instanceOf: KernelError });
  t.is((await findLink(rt, { name: 'host0' }))?.alias, 'former');
});

test('createVethPair reports a name that is too long with the kernel’s words', async (t) => {
  const { rt } = makeNetns(t);
  const pair = { name: 'sixteen-letters-', mtu: 1500, peer: { name: 'eth0' } };
  const error = await t.throwsAsync(createVethPair(rt, pair), { instanceOf: KernelError });
  t.is(error?.errno, 'ERANGE');
  t.truthy(error?.detail, 'the extended ack is on');
});

test('listLinks and findLink agree with ip', async (t) => {
  const { rt, ip, ipJson } = makeNetns(t);
  ip('link', 'add', 'br0', 'type', 'bridge');
  ip(
    'link',
    'add',
    'left',
    'mtu',
    '1300',
    'numtxqueues',
    '3',
    'type',
    'veth',
    'peer',
    'name',
    'right',
  );
  ip('link', 'set', 'left', 'master', 'br0', 'alias', 'an alias');
  ip('link', 'set', 'right', 'up');
  ip('link', 'add', 'ifb0', 'type', 'ifb');
  const links = await listLinks(rt);
  for (const witness of ipJson('-d', 'link')) {
    const link = links.find(({ index }) => index === witness['ifindex']);
    t.like(link, {
      name: witness['ifname'],
      mtu: witness['mtu'],
      mac: witness['address'],
      up: (witness['flags'] as string[]).includes('UP'),
      alias: witness['ifalias'],
      kind: (witness['linkinfo'] as { info_kind?: string } | undefined)?.info_kind,
      masterIndex: links.find(({ name }) => name === witness['master'])?.index,
      linkIndex: links.find(({ name }) => name === witness['link'])?.index,
      numTxQueues: witness['num_tx_queues'],
      numRxQueues: witness['num_rx_queues'],
      gsoMaxSizeBytes: witness['gso_max_size'],
      gsoMaxSegs: witness['gso_max_segs'],
    });
    t.deepEqual(await findLink(rt, { index: link?.index ?? 0 }), link);
    t.deepEqual(await findLink(rt, { name: link?.name ?? '' }), link);
  }
  t.is(links.length, 5);
});

test('a link to another namespace carries the id of that namespace', async (t) => {
  const node = makeNetns(t);
  const pod = makeNetns(t);
  await createVethPair(node.rt, {
    name: 'host0',
    mtu: 1500,
    peer: { name: 'eth0', netns: pod.netns },
  });
  const host = await findLink(node.rt, { name: 'host0' });
  const eth0 = await findLink(pod.rt, { name: 'eth0' });
  t.is(host?.linkIndex, eth0?.index);
  t.is(typeof host?.linkNetnsId, 'number');
});

test('findLink gives undefined for no such link', async (t) => {
  const { rt } = makeNetns(t);
  t.is(await findLink(rt, { name: 'none' }), undefined);
  t.is(await findLink(rt, { index: 4711 }), undefined);
});

test('changeLink changes what it is told and nothing else', async (t) => {
  const { rt, ip, ipJson } = makeNetns(t);
  ip('link', 'add', 'left', 'type', 'veth', 'peer', 'name', 'right');
  const index = (await findLink(rt, { name: 'left' }))?.index ?? 0;
  await changeLink(rt, index, {
    mtu: 1280,
    alias: 'before',
    gsoMaxSizeBytes: 30_000,
    gsoMaxSegs: 20,
  });
  t.like(ipJson('-d', 'link', 'show', 'left')[0], {
    mtu: 1280,
    ifalias: 'before',
    gso_max_size: 30_000,
    gso_max_segs: 20,
  });
  await changeLink(rt, index, { name: 'renamed' });
  await changeLink(rt, index, { up: true });
  await changeLink(rt, index, { alias: '' });
  const [witness] = ipJson('-d', 'link', 'show', 'renamed');
  t.like(witness, { ifindex: index, mtu: 1280, gso_max_segs: 20 });
  t.true((witness?.['flags'] as string[] | undefined)?.includes('UP'));
  t.is(witness?.['ifalias'], undefined);
  await changeLink(rt, index, { up: false });
  t.false((await findLink(rt, { index }))?.up);
});

test('changeLink moves a link to another namespace', async (t) => {
  const node = makeNetns(t);
  const pod = makeNetns(t);
  node.ip('link', 'add', 'left', 'type', 'veth', 'peer', 'name', 'right');
  const index = (await findLink(node.rt, { name: 'right' }))?.index ?? 0;
  await changeLink(node.rt, index, { netns: pod.netns, name: 'eth0', up: true });
  t.is(await findLink(node.rt, { name: 'right' }), undefined);
  t.true((await findLink(pod.rt, { name: 'eth0' }))?.up);
});

test('deleteLink takes both ends of a pair', async (t) => {
  const node = makeNetns(t);
  const pod = makeNetns(t);
  await createVethPair(node.rt, {
    name: 'host0',
    mtu: 1500,
    peer: { name: 'eth0', netns: pod.netns },
  });
  await deleteLink(node.rt, (await findLink(node.rt, { name: 'host0' }))?.index ?? 0);
  t.is(await findLink(node.rt, { name: 'host0' }), undefined);
  t.is(await findLink(pod.rt, { name: 'eth0' }), undefined);
});

test('changes of a link that is gone say ENODEV and name it', async (t) => {
  const { rt } = makeNetns(t);
  for (const change of [deleteLink(rt, 4711), changeLink(rt, 4711, { up: true })]) {
    const error = await t.throwsAsync(change, { instanceOf: KernelError, message: /4711/ });
    t.is(error?.errno, 'ENODEV');
  }
});
