// Whether the maps hold what they held when nothing was wrong with them: a node's maps seldom
// change, and to read them whole takes a hundredth of the time that comparing their entries takes.

import { mapImage } from '../kernel/bpf.ts';
import { aggregateIdsInUse } from '../shaping/aggregate-ids.ts';
import type { Exit } from '../shaping/exits.ts';
import { aggregateIndex, aggregatePage } from '../wire/aggregate.ts';
import { desiredPolicing, type Node } from './view.ts';

/** Everything that the plan of the maps follows from: what should be, and what is. */
export type MapsState = readonly unknown[];

/** The maps as they are, beside what their entries follow from. `exits`: those with an overhead. */
export function stateOfMaps(node: Node, exits: readonly Exit[]): MapsState {
  const { datapath, store, orphans } = node;
  const { maps, policing } = datapath;
  const records = store.readAttachments();
  const ids = [...aggregateIdsInUse(records)];
  const configs = ids.reduce((most, id) => Math.max(most, aggregateIndex(id) + 1), 0);
  const hasRouting = records.some(({ hostRouting }) => hostRouting !== undefined);
  return [
    records,
    [...new Set(ids.map(aggregatePage))].every((page) => datapath.hasPage(page)),
    JSON.stringify([exits, orphans, desiredPolicing(node), policing.standing()]),
    datapath.goesOnInReceive(),
    JSON.stringify([...datapath.exemptionDigests()]),
    configs === 0 ? undefined : mapImage(maps.aggregateConfig, configs),
    ...[maps.hostInterfaces, maps.upperExits].map((map) => mapImage(map)),
    ...(hasRouting ? [maps.routedPods, maps.podAddresses].map((map) => mapImage(map)) : []),
  ];
}

export function isSameState(a: MapsState, b: MapsState): boolean {
  return (
    a.length === b.length &&
    a.every((each, index) => {
      const other = b[index];
      return Buffer.isBuffer(each) && Buffer.isBuffer(other) ? each.equals(other) : each === other;
    })
  );
}
