// Pods without a cap as `list --all` tells of them: those that a record is of, and the node's ends
// of pairs of which none is, as of pods that were there before the plugin.

import type { Link } from '../kernel/links.ts';
import { PAIR_KINDS } from '../kernel/pod-pairs.ts';
import { fitting } from '../protocol/page.ts';
import {
  keyOf,
  type AttachmentKind,
  type ListParams,
  type UncappedPod,
  type UncappedResult,
  type UnknownPod,
} from '../protocol/messages.ts';
import { podNamesOf } from '../protocol/pod-names.ts';
import {
  hostInterfaceIndexesOf,
  type AttachmentRecord,
  type UncappedRecord,
  type Wish,
} from '../shaping/records.ts';
import type { Orphan } from '../shaping/aggregate-ids.ts';

/** The node at one moment. */
export interface Census {
  readonly uncapped: readonly UncappedRecord[];
  readonly attachments: readonly AttachmentRecord[];
  readonly wishes: readonly Wish[];
  readonly links: readonly Link[];
  /**
   * Indexes of devices that lead off the node: in a node that is a container, one end of a pair.
   */
  readonly uplinks: ReadonlySet<number>;
  readonly orphans: readonly Orphan[];
}

function podOf(record: UncappedRecord): UncappedPod {
  const { containerId, ifname, network, sandbox, addedAt, noPair } = record;
  const { hostInterface, hostInterfaceIndex, kind } = record;
  return {
    ...{ containerId, ifname, network, sandbox },
    ...(hostInterface !== undefined && { hostInterface }),
    ...(hostInterfaceIndex !== undefined && { hostInterfaceIndex }),
    ...(kind !== undefined && { kind }),
    ...podNamesOf(record),
    ...(addedAt !== undefined && { addedAt }),
    ...(noPair !== undefined && { noPair }),
  };
}

/** Pods whose record is of one that has no cap and is to have none, in the order of their keys. */
export function uncappedPods({ uncapped, attachments, wishes }: Census): UncappedPod[] {
  const others = new Set([...attachments, ...wishes].map(keyOf));
  return uncapped.filter((record) => !others.has(keyOf(record))).map(podOf);
}

/** In the order of their indexes. */
export function unknownPods(census: Census): UnknownPod[] {
  const { uncapped, attachments, wishes, links, uplinks, orphans } = census;
  const known = new Set<number | undefined>([
    ...[...attachments, ...wishes].flatMap(hostInterfaceIndexesOf),
    ...uncapped.map(({ hostInterfaceIndex }) => hostInterfaceIndex),
    ...uplinks,
  ]);
  const held = new Set(orphans.map(({ ifindex }) => ifindex));
  return links
    .filter(
      ({ index, kind, linkNetnsId }) =>
        PAIR_KINDS.has(kind) && linkNetnsId !== undefined && !known.has(index),
    )
    .toSorted((a, b) => a.index - b.index)
    .map(({ index, name, kind }) => ({
      ...{ hostInterface: name, hostInterfaceIndex: index, kind: kind as AttachmentKind },
      ...(held.has(index) && { isHeld: true as const }),
    }));
}

function isNamed(pod: UncappedPod | UnknownPod): pod is UncappedPod {
  return 'containerId' in pod;
}

/** Behind all keys of attachments, in which no such character comes first. */
function placeOf({ hostInterfaceIndex }: UnknownPod): string {
  return `~${String(hostInterfaceIndex).padStart(10, '0')}`;
}

/** One page. */
export function uncappedPage(census: Census, { after }: ListParams): UncappedResult {
  const isLater = (place: string): boolean => after === undefined || place > after;
  const rest = [
    ...uncappedPods(census).map((pod) => ({ place: keyOf(pod), pod })),
    ...unknownPods(census).map((pod) => ({ place: placeOf(pod), pod })),
  ].filter(({ place }) => isLater(place));
  const page = fitting(rest);
  const pods = page.map(({ pod }) => pod);
  const last = page.at(-1);
  return {
    uncapped: pods.filter(isNamed),
    unknown: pods.flatMap((pod) => (isNamed(pod) ? [] : pod)),
    ...(last !== undefined && page.length < rest.length && { next: last.place }),
  };
}
