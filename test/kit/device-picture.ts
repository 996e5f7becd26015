// What the kernel holds of podpace's for one device, to be compared before and after; asked for
// without processes.

import fs from 'node:fs';
import path from 'node:path';
import { lookupElement, mapElements, openPinned } from '../../helper/kernel/bpf.ts';
import { listBpfFilters } from '../../helper/kernel/filters.ts';
import { inNetns } from '../../helper/kernel/netns.ts';
import { listQdiscs, type Qdisc } from '../../helper/kernel/qdiscs.ts';
import { isTcxSupported, queryTcx } from '../../helper/kernel/tcx.ts';
import {
  AGGREGATE_CONFIG,
  AGGREGATE_KEY,
  INTERFACE_KEY,
  HOST_INTERFACE,
} from '../../helper/wire/aggregate.ts';
import type { HelperDirectories } from './helper.ts';
import type { TestNetns } from './netns.ts';

interface Place {
  readonly node: TestNetns;
  readonly directories: HelperDirectories;
}

/** Value of an entry in hexadecimal; undefined without one. */
export function readMap(
  { directories }: Pick<Place, 'directories'>,
  name: string,
  key: Buffer,
  valueSize: number,
): string | undefined {
  const fd = openPinned(path.join(directories.pins, name));
  try {
    return lookupElement(fd, key, valueSize)?.toString('hex');
  } finally {
    fs.closeSync(fd);
  }
}

/** Programs at a hook, by their kernel ids; none when there are none. */
export async function programsAt(
  node: TestNetns,
  ifindex: number,
  hook: 'ingress' | 'egress',
): Promise<unknown[]> {
  return isTcxSupported()
    ? inNetns(node.netns, () => queryTcx(ifindex, hook))
    : listBpfFilters(node.rt, ifindex, hook);
}

/** Everything that the kernel holds for a device, to be compared. */
export async function pictureDevice(place: Place, ifindex: number) {
  return pictureWith(place, ifindex, await listQdiscs(place.node.rt, ifindex));
}

/**
 * The same of many devices, by their indexes. The kernel lists the qdiscs of the whole node to each
 * who asks: here once.
 */
export async function pictureDevices(place: Place, ifindexes: readonly number[]) {
  const qdiscs = Map.groupBy(await listQdiscs(place.node.rt), ({ ifindex }) => ifindex);
  const pictures = new Map<number, Awaited<ReturnType<typeof pictureWith>>>();
  for (const ifindex of ifindexes)
    pictures.set(ifindex, await pictureWith(place, ifindex, qdiscs.get(ifindex) ?? []));
  return pictures;
}

async function pictureWith(place: Place, ifindex: number, qdiscs: readonly Qdisc[]) {
  const { node } = place;
  const configOf = (id: number) =>
    readMap(place, 'aggregate_config', AGGREGATE_KEY.encode(id), AGGREGATE_CONFIG.size);
  return {
    programs: [
      await programsAt(node, ifindex, 'ingress'),
      await programsAt(node, ifindex, 'egress'),
    ],
    entry: readMap(place, 'host_interfaces', INTERFACE_KEY.encode(ifindex), HOST_INTERFACE.size),
    configs: [configOf(5000 + 2 * ifindex), configOf(5001 + 2 * ifindex)],
    qdiscs,
  };
}

/** Every element of a map as `NAME KEY=VALUE` in hexadecimal, in the kernel's order. */
export function readWholeMap(
  { directories }: Place,
  name: string,
  keySize: number,
  valueSize: number,
): string[] {
  const fd = openPinned(path.join(directories.pins, name));
  try {
    return Array.from(
      mapElements(fd, keySize, valueSize),
      ([key, value]) => `${name} ${key.toString('hex')}=${value.toString('hex')}`,
    );
  } finally {
    fs.closeSync(fd);
  }
}
