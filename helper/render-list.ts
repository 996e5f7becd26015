// What `podpaced list` prints: a row for each direction that has a cap, and one for each pod that
// has none. Pure.

import type {
  AttachmentStatus,
  Direction,
  EffectiveCap,
  ListResult,
  RecentFigures,
  UncappedPod,
  UncappedResult,
  UnknownPod,
} from './protocol/messages.ts';
import type { CapSources } from './protocol/cap-sources.ts';
import { podOf } from './protocol/pod-names.ts';
import { renderTable, renderWait } from './render.ts';
import { DIRECTIONS } from './shaping/effective.ts';
import { formatBytes, formatRate } from './shaping/units.ts';

/** A pod as a row names it. */
interface Named {
  readonly pod: string;
  readonly container: string;
  readonly ifname: string;
  readonly network: string;
  readonly hostInterface: string;
  readonly wiring: string;
}

/** What a row says of one direction. */
interface Row extends Named {
  readonly direction: string;
  readonly cap: string;
  /** Rate, and which part of the cap that is. */
  readonly now: string;
  readonly throttled: string;
  readonly p50: string;
  readonly p99: string;
  readonly dropped: string;
  readonly marked: string;
  readonly unaccounted: string;
  readonly state: string;
}

/** Columns by their headings; those of `--wide` are left out else. */
const COLUMNS: readonly (readonly [heading: string, key: keyof Row, isWide?: true])[] = [
  ['POD', 'pod'],
  ['CONTAINER', 'container'],
  ['INTERFACE', 'ifname'],
  ['NETWORK', 'network', true],
  ['HOST INTERFACE', 'hostInterface', true],
  ['WIRING', 'wiring', true],
  ['DIRECTION', 'direction'],
  ['CAP', 'cap'],
  ['NOW', 'now'],
  ['THROTTLED', 'throttled'],
  ['WAIT P50', 'p50'],
  ['WAIT P99', 'p99'],
  ['DROPPED', 'dropped'],
  ['CE', 'marked'],
  ['UNACCOUNTED', 'unaccounted'],
  ['STATE', 'state'],
];

const NOTHING: Omit<Row, keyof Named | 'state'> = {
  ...{ direction: '-', cap: '-', now: '-', throttled: '-', p50: '-', p99: '-' },
  ...{ dropped: '-', marked: '-', unaccounted: '-' },
};

/** A cap, with where it comes from if that is not what the pod itself asks for. */
function renderCap(cap: EffectiveCap | undefined, source: CapSources[Direction]): string {
  if (cap === undefined) return '-';
  const rate = formatRate(cap.rateBitsPerSec);
  if (cap.changed.length > 0) return `${rate} (set)`;
  if (source?.source === 'default') return `${rate} (default)`;
  const asked = source?.askedBitsPerSec;
  return asked === undefined ? rate : `${rate} (cut from ${formatRate(asked)})`;
}

/** The pair of an attachment, and what else ADD made of it. */
function renderWiring({ kind, hostRouting, congestionControl }: AttachmentStatus): string {
  const words = [
    kind ?? '-',
    hostRouting === undefined ? undefined : 'host routing',
    congestionControl,
  ];
  return words.filter((word) => word !== undefined).join(', ');
}

/** Whether a direction is enforced, or all of an attachment, and why not. */
function renderState(
  { problems, problemsByDirection, notes = [] }: AttachmentStatus,
  direction?: Direction,
): string {
  // Helpers that do not tell directions apart have something to say of both.
  const isOfAll = problemsByDirection === undefined || direction === undefined;
  const wrong = isOfAll ? problems : (problemsByDirection[direction] ?? []);
  if (wrong.length === 0) return ['enforced', ...notes].join('; ');
  return `NOT ENFORCED: ${[...wrong, ...notes].join('; ')}`;
}

function percent(part: number): string {
  return `${Math.round(part * 100)}%`;
}

function figuresOf(
  figures: RecentFigures | undefined,
  cap: EffectiveCap | undefined,
): Partial<Row> {
  if (figures === undefined) return {};
  const { bytesPerSec, throttledShare, p50Ns, p99Ns, droppedPackets, ceMarkedPackets } = figures;
  const bitsPerSec = (bytesPerSec ?? 0) * 8;
  const ofCap = cap === undefined ? '' : ` (${percent(bitsPerSec / cap.rateBitsPerSec)})`;
  return {
    now: bytesPerSec === undefined ? '-' : formatRate(Number(bitsPerSec.toPrecision(3))) + ofCap,
    throttled: throttledShare === undefined ? '-' : percent(throttledShare),
    ...{ p50: renderWait(p50Ns), p99: renderWait(p99Ns) },
    ...{ dropped: String(droppedPackets), marked: String(ceMarkedPackets) },
  };
}

function rowsOf(attachment: AttachmentStatus): Row[] {
  const { containerId, ifname, network, hostInterface, beside = [] } = attachment;
  const { effective, capSources = {}, recent = {}, unaccountedBytes } = attachment;
  const named: Named = {
    ...{ pod: podOf(attachment) ?? '-', container: containerId, ifname, network },
    hostInterface: [hostInterface, ...beside.map((pair) => pair.hostInterface)].join(', '),
    wiring: renderWiring(attachment),
  };
  const directions = DIRECTIONS.filter((direction) => effective[direction] !== undefined);
  if (directions.length === 0) return [{ ...named, ...NOTHING, state: renderState(attachment) }];
  return directions.map((direction) => {
    const cap = effective[direction];
    const isCounted = direction === 'egress' && unaccountedBytes !== undefined;
    return {
      ...{ ...named, ...NOTHING, direction, cap: renderCap(cap, capSources[direction]) },
      ...figuresOf(recent[direction], cap),
      ...(isCounted && { unaccounted: formatBytes(unaccountedBytes) }),
      state: renderState(attachment, direction),
    };
  });
}

function uncappedRow(pod: UncappedPod): Row {
  const { containerId, ifname, network, hostInterface = '-', kind = '-', noPair } = pod;
  return {
    ...{ ...NOTHING, pod: podOf(pod) ?? '-', container: containerId, ifname, network },
    ...{ hostInterface, wiring: kind },
    state: noPair === undefined ? 'no cap' : `no cap, and none is possible: ${noPair}`,
  };
}

function unknownRow({ hostInterface, kind, isHeld }: UnknownPod): Row {
  return {
    ...{ ...NOTHING, pod: '-', container: '-', ifname: '-', network: '-' },
    ...{ hostInterface, wiring: kind },
    state:
      isHeld === true
        ? `unknown (${hostInterface}): the record of its cap was lost, see podpaced status`
        : `unknown (${hostInterface}): no record of it, as of a pod that was there before podpace`,
  };
}

function table(rows: readonly Row[], isWide: boolean): string {
  const columns = COLUMNS.filter(([, , isOfWide]) => isWide || isOfWide !== true);
  return renderTable([
    columns.map(([heading]) => heading),
    ...rows.map((row) => columns.map(([, key]) => row[key])),
  ]);
}

/** The answer of `podpaced list`. */
export function renderList({ attachments }: ListResult, isWide: boolean): string {
  if (attachments.length === 0) return 'No pod on this node has a cap';
  return table(attachments.flatMap(rowsOf), isWide);
}

/** The answer of `podpaced list --all`. */
export function renderAll(
  { attachments, uncapped, unknown }: ListResult & Omit<UncappedResult, 'next'>,
  isWide: boolean,
): string {
  const rows = [
    ...[...attachments.flatMap(rowsOf), ...uncapped.map(uncappedRow), ...unknown.map(unknownRow)],
  ];
  return rows.length === 0 ? 'No pod on this node is known' : table(rows, isWide);
}
