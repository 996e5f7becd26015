// What a helper has on a node, as text: taken before and after something that must change nothing
// of it.

import fs from 'node:fs';
import path from 'node:path';
import {
  lookupElement,
  lookupPerCpu,
  MAP_TYPE,
  mapElements,
  mapInfo,
  mapKeys,
  openPinned,
} from '../../helper/kernel/bpf.ts';
import { inNetns } from '../../helper/kernel/netns.ts';
import { isTcxSupported, queryTcx } from '../../helper/kernel/tcx.ts';
import type { HelperDirectories } from './helper.ts';
import type { TestNetns } from './netns.ts';

/** Each file below a directory with its times, and with its content where it is an ordinary one. */
export function pictureTree(directory: string): string[] {
  const stat = fs.lstatSync(directory, { bigint: true, throwIfNoEntry: false });
  if (stat === undefined) return [`${directory}: nothing`];
  const { mode, size, uid, ino, mtimeNs, ctimeNs } = stat;
  const content =
    stat.isFile() && size > 0n && size < 65_536n ? fs.readFileSync(directory, 'latin1') : '';
  const line = [directory, mode, size, uid, ino, mtimeNs, ctimeNs, content].join(' ');
  if (!stat.isDirectory()) return [line];
  const names = fs.readdirSync(directory).toSorted();
  return [line, ...names.flatMap((name) => pictureTree(path.join(directory, name)))];
}

/**
 * Their entries come many at a time; others are arrays of programs or maps, and name those by id.
 */
const BATCHED_TYPES: ReadonlySet<number> = new Set([MAP_TYPE.HASH, MAP_TYPE.ARRAY]);

/** The kernel writes a value for each CPU, however small the room for it is. */
const PER_CPU_TYPES: ReadonlySet<number> = new Set([MAP_TYPE.PERCPU_HASH, MAP_TYPE.PERCPU_ARRAY]);

/** Entries of a map, each in one line, without those that are all zero. */
function pictureEntries(fd: number): string[] {
  const { id, keySize, valueSize, type } = mapInfo(fd);
  const entries: string[] = [];
  if (BATCHED_TYPES.has(type)) {
    const nothing = Buffer.alloc(valueSize);
    const isWanted = (values: Buffer, at: number): boolean =>
      values.compare(nothing, 0, valueSize, at, at + valueSize) !== 0;
    for (const [key, value] of mapElements(fd, keySize, valueSize, isWanted))
      entries.push(`${key.toString('hex')} ${value.toString('hex')}`);
  } else {
    const read = (key: Buffer): Buffer | undefined => {
      if (!PER_CPU_TYPES.has(type)) return lookupElement(fd, key, valueSize);
      return Buffer.concat(lookupPerCpu(fd, key, valueSize) ?? []);
    };
    for (const key of mapKeys(fd, keySize))
      entries.push(`${key.toString('hex')} ${read(key)?.toString('hex') ?? '-'}`);
  }
  return [`map ${id}`, ...entries.filter((entry) => !/ (0+|-)$/.test(entry)).toSorted()];
}

/** What is pinned at a path: a map with its entries. */
function picturePin(pin: string): string[] {
  const fd = openPinned(pin);
  try {
    const kind = fs.readlinkSync(`/proc/self/fd/${fd}`);
    return [`${pin} ${kind}`, ...(kind.endsWith('bpf-map') ? pictureEntries(fd) : [])];
  } finally {
    fs.closeSync(fd);
  }
}

function picturePrograms(node: TestNetns): string[] {
  return node.ipJson('link', 'show').flatMap(({ ifname, ifindex }) => {
    const name = String(ifname);
    const hooks = ['ingress', 'egress'] as const;
    return hooks.flatMap((hook) => [
      ...(isTcxSupported()
        ? [
            inNetns(
              node.netns,
              () => `${name} ${hook} ${queryTcx(Number(ifindex), hook).join(' ')}`,
            ),
          ]
        : []),
      node.tc('filter', 'show', 'dev', name, hook),
    ]);
  });
}

/** Programs, maps, links, filters, qdiscs, devices and files of a helper. */
export function pictureOf(node: TestNetns, { run, pins }: HelperDirectories): string[] {
  const maps = fs.readdirSync(pins, { withFileTypes: true }).filter((entry) => entry.isFile());
  return [
    ...[run, pins, '/run/podpace/addons'].flatMap(pictureTree),
    ...maps.flatMap(({ name }) => picturePin(path.join(pins, name))),
    ...picturePrograms(node),
    node.tc('qdisc', 'show'),
    node.ip('-d', 'link', 'show'),
    // Link-local addresses of IPv6 settle by themselves.
    node.ip('-4', 'route', 'show', 'table', 'all'),
  ];
}
