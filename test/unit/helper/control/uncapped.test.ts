// Which records of pods without a cap are of a pod that is there, and how they are listed.

import fs from 'node:fs';
import path from 'node:path';
import test from 'ava';
import { keepUncapped } from '../../../../cni/uncapped.ts';
import { endOf } from '../../../../helper/control/uncapped.ts';
import { identityAt, OWN_NETNS } from '../../../../helper/control/file-identity.ts';
import { UncappedFiles } from '../../../../helper/control/uncapped-files.ts';
import {
  uncappedPage,
  unknownPods,
  type Census,
} from '../../../../helper/control/uncapped-list.ts';
import type { Link } from '../../../../helper/kernel/links.ts';
import type { UncappedPod, UnknownPod } from '../../../../helper/protocol/messages.ts';
import { formatRecord, parseRecord } from '../../../../helper/shaping/record-schema.ts';
import type { UncappedRecord } from '../../../../helper/shaping/records.ts';
import { temporaryDirectory } from '../../../bed/temporary-directory.ts';

const BOOT = '01234567-89ab-cdef-0123-456789abcdef';
const HERE = { bootId: BOOT, nodeNetns: '4:10' };
/** A namespace that is there as long as the test is. */
const SANDBOX = OWN_NETNS;
const INODE = identityAt(SANDBOX) ?? '';
const [DEVICE = ''] = INODE.split(':');

const RECORD: UncappedRecord = {
  ...{ containerId: 'c1', ifname: 'eth0', network: 'pods', sandbox: SANDBOX },
  ...{ sandboxNetns: INODE, nodeNetns: '4:10', bootId: BOOT },
  ...{ hostInterface: 'veth7', hostInterfaceIndex: 7, kind: 'veth', isAsked: true },
};

type Case = readonly [
  what: string,
  changes: Partial<UncappedRecord>,
  kind: string | undefined,
  end: RegExp | undefined,
];

const CASES: readonly Case[] = [
  ['all is as it was', {}, 'veth', undefined],
  ['another boot', { bootId: BOOT.replace('0', '1') }, 'veth', /another boot/],
  ['another node', { nodeNetns: '4:11' }, 'veth', /another network namespace/],
  ['the host interface is gone', {}, undefined, /^veth7 is gone$/],
  ['its index is of another kind of device', {}, 'netkit', /^veth7 is gone$/],
  ['nobody has asked for the host interface', { isAsked: false }, undefined, undefined],
  ['the sandbox is gone', { sandbox: '/proc/self/ns/none' }, 'veth', /none is gone$/],
  ['its directory cannot be seen', { sandbox: '/nonesuch/none' }, 'veth', undefined],
  ['another inode', { sandboxNetns: `${DEVICE}:1` }, 'veth', /is another sandbox now$/],
  ['no namespace is to be seen there', { sandbox: '/etc/passwd' }, 'veth', undefined],
];

for (const [what, changes, kind, end] of CASES) {
  test(`a record is ${end === undefined ? 'kept' : 'forgotten'}: ${what}`, (t) => {
    const host = kind === undefined ? undefined : { kind };
    const found = endOf({ ...RECORD, ...changes }, HERE, host);
    if (end === undefined) t.is(found, undefined);
    else t.regex(found ?? '', end);
  });
}

test('what the plugin writes is what the helper reads, and reads again when it has changed only', (t) => {
  const socket = path.join(temporaryDirectory(t), 'run', 'helper.sock');
  const call = {
    ...{ containerId: 'c1', ifname: 'eth0', network: 'pods', netns: SANDBOX },
    pod: { podNamespace: 'default', podName: 'web-0' },
  };
  const result = {
    interfaces: [
      { name: 'lo' },
      { name: 'eth0', sandbox: SANDBOX },
      { name: 'v4if0', sandbox: SANDBOX },
      { name: 'far0', sandbox: '/run/netns/other' },
    ],
  };
  const settings = { exempt: ['10.0.0.0/8'], congestionControl: 'bbr' };
  keepUncapped(socket, { call, settings, capSource: 'annotation', result });
  const files = new UncappedFiles(socket);
  const [record] = files.look().records;
  t.like(record, {
    ...{ containerId: 'c1', network: 'pods', sandbox: SANDBOX, sandboxNetns: INODE, ...settings },
    ...{ listed: ['v4if0'], podName: 'web-0' },
  });
  t.is(files.look().records[0], record);
  keepUncapped(socket, { call, settings, capSource: 'annotation', result: {} });
  t.false('listed' in (files.look().records[0] ?? {}));
  fs.writeFileSync(files.path(call), '{');
  t.deepEqual([...files.look().bad.keys()], [files.path(call)]);
  for (const bad of [{ containerId: 'c'.repeat(201) }, { netns: '/run/\u001b' }])
    t.throws(
      () =>
        keepUncapped(socket, {
          call: { ...call, ...bad },
          settings,
          capSource: 'annotation',
          result,
        }),
      {
        message: 'no record can hold its names',
      },
    );
});

/**
 * One of every key but the helper's own: the compiler asks for what is added to records later.
 */
const WHOLE: Required<Omit<UncappedRecord, 'noPair'>> = {
  ...{ containerId: 'c1', ifname: 'eth0', network: 'pods', sandbox: SANDBOX },
  ...{ sandboxNetns: INODE, nodeNetns: INODE, bootId: BOOT, isAsked: true },
  ...{ hostInterface: 'veth7', hostInterfaceIndex: 7, kind: 'veth' },
  ...{ exempt: ['10.0.0.0/8'], congestionControl: 'bbr', listed: ['v4if0'] },
  ...{ podNamespace: 'default', podName: 'web-0', podUid: 'u1' },
  addedAt: '2026-11-30T00:00:00.000Z',
  capSource: 'conflist',
};

test('the plugin writes a whole record as the helper would, byte by byte', (t) => {
  const socket = path.join(temporaryDirectory(t), 'helper.sock');
  const { containerId, ifname, network, podNamespace, podName, podUid } = WHOLE;
  const call = {
    ...{ containerId, ifname, network, netns: SANDBOX },
    pod: { podNamespace, podName, podUid },
  };
  const result = { interfaces: [{ name: 'v4if0', sandbox: SANDBOX }] };
  const { capSource } = WHOLE;
  keepUncapped(socket, { call, settings: WHOLE, capSource, result, host: link(7) });
  const text = fs.readFileSync(new UncappedFiles(socket).path(call), 'utf8');
  const { bootId, addedAt } = parseRecord('uncapped', 'c1:eth0', text);
  t.not(bootId, undefined);
  t.not(addedAt, undefined);
  const moment = { ...(bootId && { bootId }), ...(addedAt && { addedAt }) };
  t.is(text, formatRecord('uncapped', { ...WHOLE, ...moment }));
});

function link(index: number, more: Partial<Link> = {}): Link {
  return {
    ...{ index, name: `veth${index}`, kind: 'veth', linkIndex: 2, linkNetnsId: 1, mtu: 1500 },
    ...{ mac: '', up: true, loopback: false, numTxQueues: 1, numRxQueues: 1 },
    ...{ gsoMaxSizeBytes: 65_536, gsoMaxSegs: 65_535, ...more },
  };
}

const CENSUS: Census = {
  uncapped: [],
  attachments: [],
  wishes: [],
  links: [],
  uplinks: new Set(),
  orphans: [],
};

test('unknown is what leads to another namespace, is no uplink, and of no record', (t) => {
  const attachment = {
    ...{ containerId: 'c2', ifname: 'eth0', network: 'pods', sandbox: '/x', caps: {} },
    ...{ hostInterface: 'veth8', hostInterfaceIndex: 8 },
    beside: [{ podInterface: 'v4if0', hostInterface: 'veth9', hostInterfaceIndex: 9 }],
  };
  const { linkNetnsId: _here, ...within } = link(12);
  const orphan = { ifindex: 14, name: 'veth14', egressId: 1, ingressId: 0 };
  const unknown = unknownPods({
    ...CENSUS,
    uncapped: [RECORD],
    attachments: [attachment],
    links: [
      ...[14, 13, 11, 9, 8, 7].map((index) => link(index)),
      within,
      link(2, { kind: 'vlan' }),
      link(3, { kind: 'netkit', name: 'nk3' }),
    ],
    uplinks: new Set([11]),
    orphans: [orphan],
  });
  t.deepEqual(unknown, [
    { hostInterface: 'nk3', hostInterfaceIndex: 3, kind: 'netkit' },
    { hostInterface: 'veth13', hostInterfaceIndex: 13, kind: 'veth' },
    { hostInterface: 'veth14', hostInterfaceIndex: 14, kind: 'veth', isHeld: true },
  ]);
});

test('the pages have every pod once, those with a record first', (t) => {
  const uncapped = Array.from({ length: 500 }, (_, at) => ({
    ...RECORD,
    ...{ containerId: `${at}`.padStart(64, '0'), hostInterfaceIndex: 10_000 + at },
  }));
  const census = {
    ...CENSUS,
    uncapped,
    links: Array.from({ length: 900 }, (_, at) => link(at + 1)),
  };
  const pods: (UncappedPod | UnknownPod)[] = [];
  let pages = 0;
  for (let after: string | undefined, isLast = false; !isLast; isLast = after === undefined) {
    const page = uncappedPage(census, after === undefined ? {} : { after });
    pods.push(...page.uncapped, ...page.unknown);
    after = page.next;
    pages += 1;
  }
  t.true(pages > 2);
  t.deepEqual(
    pods.map(({ hostInterfaceIndex }) => hostInterfaceIndex),
    [...uncapped, ...census.links.map(({ index }) => ({ hostInterfaceIndex: index }))].map(
      ({ hostInterfaceIndex }) => hostInterfaceIndex,
    ),
  );
});
