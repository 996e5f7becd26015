// What the kernel holds, of the devices in question.

import { listLinks, type Link } from '../kernel/links.ts';
import { listQdiscs, type Qdisc } from '../kernel/qdiscs.ts';
import { listRoutes } from '../kernel/routes.ts';
import type { RtSocket } from '../kernel/rtnetlink.ts';
import { decodeFqOptions } from '../wire/fq.ts';
import { RT_TABLE_MAIN, RTN_UNICAST } from '../wire/route-message.ts';
import type { Datapath } from './datapath.ts';
import type { ObservedExit, ObservedQdisc } from './exit-qdiscs.ts';
import {
  placeOf,
  type Desired,
  type Hook,
  type Observed,
  type ObservedMaps,
  type ProgramName,
} from './plan.ts';
import type { ExitRecord } from './records.ts';

const HOOKS: readonly Hook[] = ['ingress', 'egress'];

function observedQdisc({ kind, handle, parent, options }: Qdisc): ObservedQdisc {
  const base = { kind, handle, parent, options: options.toString('base64') };
  return kind === 'fq' ? { ...base, fq: decodeFqOptions(options) } : base;
}

/** Devices with their qdiscs, those of `indexes` that exist. */
export async function observeDevices(
  rt: RtSocket,
  indexes: ReadonlySet<number>,
): Promise<Map<number, ObservedExit>> {
  const links = (await listLinks(rt)).filter(({ index }) => indexes.has(index));
  const qdiscs = await listQdiscs(rt);
  return new Map(
    links.map(({ index, name, numTxQueues }) => {
      const own = qdiscs.filter(({ ifindex }) => ifindex === index).map(observedQdisc);
      return [index, { ifindex: index, name, numTxQueues, qdiscs: own }];
    }),
  );
}

async function observePrograms(
  datapath: Datapath,
  devices: Iterable<number>,
): Promise<Map<string, ProgramName | 'stale'>> {
  const programs = new Map<string, ProgramName | 'stale'>();
  for (const ifindex of devices) {
    for (const hook of HOOKS) {
      const id = await datapath.hooks.attachedProgramId({ ifindex, hook });
      if (id !== undefined) programs.set(placeOf({ ifindex, hook }), datapath.programNameOf(id) ?? 'stale');
    }
  }
  return programs;
}

/** What the maps hold of the aggregates of `desired` and of some devices. */
export function observeMaps(datapath: Datapath, desired: Desired, indexes: Iterable<number>): ObservedMaps {
  const ids = desired.attachments.flatMap(({ egressAggregateId, ingressAggregateId }) =>
    [egressAggregateId, ingressAggregateId].filter((id) => id !== undefined),
  );
  const hostInterfaces = [...indexes].flatMap((ifindex) => {
    const entry = datapath.readHostInterface(ifindex);
    return entry === undefined ? [] : [[ifindex, entry] as const];
  });
  return {
    configs: new Map(ids.map((id) => [id, datapath.readConfig(id)])),
    hostInterfaces: new Map(hostInterfaces),
  };
}

/** Everything a plan for `desired` needs to know about the devices `indexes`. */
export async function observe(
  datapath: Datapath,
  desired: Desired,
  indexes: ReadonlySet<number>,
  exitRecords: readonly ExitRecord[],
): Promise<Observed> {
  return {
    ...observeMaps(datapath, desired, indexes),
    devices: await observeDevices(datapath.rt, indexes),
    programs: await observePrograms(datapath, indexes),
    exitRecords: exitRecords.filter(({ ifindex }) => indexes.has(ifindex)),
  };
}

const DEFAULT_DESTINATIONS: ReadonlySet<string> = new Set(['0.0.0.0/0', '::/0']);

/**
 * The node's uplinks: the devices named, or with `auto` those of the main table's default routes.
 * `missing` are names that no device has.
 */
export async function findUplinks(
  rt: RtSocket,
  wanted: readonly string[],
): Promise<{ uplinks: Link[]; missing: string[] }> {
  const links = await listLinks(rt);
  const names = wanted.filter((name) => name !== 'auto');
  const found = new Set<number>();
  const missing: string[] = [];
  for (const name of names) {
    const link = links.find((candidate) => candidate.name === name);
    if (link === undefined) missing.push(name);
    else found.add(link.index);
  }
  if (wanted.includes('auto')) {
    for (const { destination, ifindex, type } of await listRoutes(rt, { table: RT_TABLE_MAIN })) {
      // "unreachable default" names the loopback device: no way off the node.
      if (ifindex === undefined || type !== RTN_UNICAST) continue;
      if (DEFAULT_DESTINATIONS.has(destination)) found.add(ifindex);
    }
  }
  return { uplinks: links.filter(({ index }) => found.has(index)), missing };
}
