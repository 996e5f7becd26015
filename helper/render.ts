// What the operator's commands print. Pure: results in, text out. Names and sentences may hold what
// others chose: a cell of a table and a sentence are one line each, with control characters
// escaped.

import type {
  AttachmentCounters,
  AttachmentKey,
  CountersResult,
  Direction,
  DirectionCounters,
  EffectiveCap,
  ExitStatus,
  PodNames,
  ProbeItem,
  ProbeResult,
  SetResult,
  StatusResult,
  UninstallResult,
} from './protocol/messages.ts';
import { printable } from './protocol/printable.ts';
import { nameOf, podOf } from './protocol/pod-names.ts';
import { sojournQuantileNs } from './shaping/counters.ts';
import { DIRECTIONS } from './shaping/effective.ts';
import { formatBytes, formatDuration, formatRate } from './shaping/units.ts';
import { COUNTERS, type CounterName } from './wire/aggregate.ts';

/**
 * Columns padded to their widest cell, two spaces apart, no blanks at line ends; every cell
 * printable.
 */
export function renderTable(rows: readonly (readonly string[])[]): string {
  const cells = rows.map((row) => row.map(printable));
  const widths: number[] = [];
  for (const row of cells) {
    for (const [column, cell] of row.entries())
      widths[column] = Math.max(widths[column] ?? 0, cell.length);
  }
  const lines = cells.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
  return lines.join('\n');
}

/** A wait for people, to the digits that a histogram has; `-` where nobody knows. */
export function renderWait(ns: number | undefined): string {
  return ns === undefined ? '-' : formatDuration(Number(ns.toPrecision(2)));
}

function renderAqm({
  aqmTargetNs,
  aqmIntervalNs,
}: Pick<EffectiveCap, 'aqmTargetNs' | 'aqmIntervalNs'>): string {
  if (aqmTargetNs === 0) return 'off';
  return `target ${formatDuration(aqmTargetNs)}, interval ${formatDuration(aqmIntervalNs)}`;
}

function exitRow(exit: ExitStatus): string[] {
  const {
    name,
    role,
    kind,
    queues,
    rootQdisc,
    leafQdiscs,
    below,
    departureProgram,
    arrivalProgram,
  } = exit;
  const leaves =
    leafQdiscs.length === 0 ? '' : `${leafQdiscs.length} ${[...new Set(leafQdiscs)].join('+')}`;
  const under = leaves === '' ? rootQdisc : `${rootQdisc} with ${leaves}`;
  const qdisc = below === undefined ? under : `${leaves} on ${below.join(' ') || 'nothing'}`;
  // A bridge or bond without ports has nothing that could hold packets, and nowhere to send them.
  const holding = below?.length === 0 ? 'holds nothing' : 'capping';
  const doing = [
    departureProgram ? holding : 'idle',
    ...(arrivalProgram ? ['host routing'] : []),
    ...renderOverhead(exit),
  ];
  return [`  ${name}`, role, kind, `${queues} queues`, qdisc, doing.join(', ')];
}

/** Where it is not known what is added to each packet, what is charged for it. */
function renderOverhead({ overhead }: ExitStatus): string[] {
  if (overhead === undefined || overhead.certainty === 'known') return [];
  return [`overhead ${overhead.certainty}: ${overhead.bytes} bytes charged a packet`];
}

/** The answer of `podpaced status`. */
export function renderStatus(status: StatusResult): string {
  const uplinks = status.exits.filter(({ role }) => role === 'uplink');
  const enforcing = uplinks.filter(
    ({ departureProgram, below }) => departureProgram && below?.length !== 0,
  );
  const names = (enforcing.length > 0 ? enforcing : uplinks).map(({ name }) => name).join(' ');
  const exits = status.exits.map(exitRow);
  const lines = [
    renderTable([
      ['BandwidthManager:', `EDT with BPF  [${names}]`],
      ['State:', renderHealth(status)],
      ['Attachments:', renderAttachments(status)],
      ...(status.nodeTraffic === undefined ? [] : [['To the node:', status.nodeTraffic]]),
      ['Horizon:', formatDuration(status.horizonNs)],
      ['AQM:', renderAqm(status)],
      ['Kernel:', renderKernel(status)],
      [
        'Version:',
        `${status.version} (protocol ${status.protocolVersion}), running since ${status.startedAt}`,
      ],
    ]),
    ...(exits.length === 0 ? ['Exits:             none found'] : ['Exits:', renderTable(exits)]),
    ...(status.moreExits === 0 ? [] : [`  and ${status.moreExits} more into pods`]),
    ...renderSentences('Problems:', status.problems),
    ...renderSentences('To know:', status.notices),
  ];
  return lines.join('\n');
}

function renderAttachments({
  attachments,
  notEnforced = [],
  moreNotEnforced = 0,
}: StatusResult): string {
  const count = notEnforced.length + moreNotEnforced;
  return count === 0
    ? String(attachments)
    : `${attachments}, not enforced: ${count} (see podpaced list)`;
}

function renderHealth({ state, attachments }: StatusResult): string {
  if (state === 'ok') return 'ok';
  return attachments === 0
    ? 'DEGRADED: caps would be refused'
    : 'DEGRADED: not every cap is enforced';
}

function renderSentences(title: string, sentences: readonly string[]): string[] {
  return sentences.length === 0
    ? []
    : [title, ...sentences.map((sentence) => `  ${printable(sentence)}`)];
}

function settingRow(
  title: string,
  render: (cap: EffectiveCap) => string,
  { before, after }: SetResult,
): string[] {
  const cells = [before, after].map((cap) => (cap === undefined ? '-' : render(cap)));
  return [title, ...cells];
}

/** The answer of `podpaced set`: every setting before and after. */
export function renderSet(
  attachment: AttachmentKey & PodNames,
  direction: string,
  result: SetResult,
): string {
  return renderTable([
    [`${nameOf(attachment)} ${direction}`, 'BEFORE', 'AFTER'],
    settingRow('rate', ({ rateBitsPerSec }) => formatRate(rateBitsPerSec), result),
    settingRow('burst', ({ burstNs }) => formatDuration(burstNs), result),
    settingRow('horizon', ({ horizonNs }) => formatDuration(horizonNs), result),
    settingRow('AQM', renderAqm, result),
    settingRow('set by hand', ({ changed }) => changed.join(', ') || 'nothing', result),
  ]);
}

function renderQuantile({ total }: DirectionCounters, share: number): string {
  const boundNs = sojournQuantileNs(total, share);
  return boundNs === undefined ? '-' : `<${formatDuration(boundNs)}`;
}

/** One direction of an attachment, for a row. */
interface Counted {
  readonly attachment: AttachmentCounters;
  readonly direction: Direction;
  readonly counters: DirectionCounters;
}

type Cell = (counted: Counted) => string;

const COUNT_FORMATS: Readonly<Record<string, (count: number) => string>> = {
  bytes: formatBytes,
  ns: formatDuration,
};

/** What the datapath counts, by headings; a helper of another release may not count it. */
const TOTAL_COLUMNS = Object.entries(COUNTERS).flatMap(([name, { heading, unit }]) => {
  const format = COUNT_FORMATS[unit] ?? String;
  const cell: Cell = ({ counters: { total } }) => {
    const count = total[name as CounterName];
    return count === undefined ? '-' : format(count);
  };
  return heading === undefined ? [] : [[heading, cell] as const];
});

function unaccounted({ direction, counters: { books } }: Counted): string {
  return books === undefined || direction === 'ingress' ? '-' : formatBytes(books.unaccountedBytes);
}

/** Columns of `podpaced counters`, by their headings. */
const COUNTER_COLUMNS: Readonly<Record<string, Cell>> = {
  POD: ({ attachment }) => podOf(attachment) ?? '-',
  CONTAINER: ({ attachment }) => attachment.containerId,
  INTERFACE: ({ attachment }) => attachment.ifname,
  DIRECTION: ({ direction }) => direction,
  ...Object.fromEntries(TOTAL_COLUMNS),
  UNACCOUNTED: unaccounted,
  'WAIT P50': ({ counters }) => renderQuantile(counters, 0.5),
  'WAIT P99': ({ counters }) => renderQuantile(counters, 0.99),
  BACKLOG: ({ counters }) => formatDuration(counters.backlogNs),
};

function counterRows(attachment: AttachmentCounters): string[][] {
  return DIRECTIONS.flatMap((direction) => {
    const counters = attachment[direction];
    if (counters === undefined) return [];
    return [
      Object.values(COUNTER_COLUMNS).map((cell) => cell({ attachment, direction, counters })),
    ];
  });
}

/** The answer of `podpaced counters`. */
export function renderCounters({ attachments }: CountersResult): string {
  if (attachments.length === 0) return 'No pod on this node has a cap';
  return renderTable([Object.keys(COUNTER_COLUMNS), ...attachments.flatMap(counterRows)]);
}

/**
 * `MISSING` is what caps need, `absent` what is only useful, `-` what was not tried and does not
 * matter.
 */
function probeState({ ok, there }: ProbeItem): string {
  if (!ok) return 'MISSING';
  if (there === undefined) return '-';
  return there ? 'ok' : 'absent';
}

function probeFinding({ ok, there, found, neededFor, withoutIt, remedy }: ProbeItem): string {
  if (there === true) return `${found}, ${neededFor}`;
  const weight = ok ? 'useful' : 'needed';
  const rest = [...(there === false ? [withoutIt] : []), ...(remedy === undefined ? [] : [remedy])];
  return [`${found}, ${weight} ${neededFor}`, ...rest].join('; ');
}

/** The answer of `podpaced probe`. */
export function renderProbe({ kernel, items }: ProbeResult): string {
  const rows = items.map((item) => [probeState(item), item.name, probeFinding(item)]);
  return renderTable([['', 'kernel', kernel], ...rows]);
}

/** What the kernel lacks, in a few words: `probe` has the rest. */
function renderKernel({ kernel, features = [] }: StatusResult): string {
  const lacking = features.filter(({ there }) => there === false).map(({ name }) => name);
  return lacking.length === 0
    ? kernel
    : `${kernel}, without ${lacking.join(', ')} (see podpaced probe)`;
}

/** The answer of `podpaced uninstall`. */
export function renderUninstall({
  detached,
  restoredExits,
  kept,
  unreadable = [],
}: UninstallResult): string {
  const done = `Detached ${detached} pods; restored ${restoredExits.map(printable).join(', ') || 'nothing'}`;
  const rest: string[] = [];
  if (kept > 0)
    rest.push(
      `${kept} pods have lost their cap; what they were to have is kept, and a podpaced that is started later ` +
        'caps those that still run',
    );
  if (unreadable.length > 0)
    rest.push(
      `Records that cannot be read are kept for a podpaced that can: ${unreadable.map(printable).join(', ')}`,
    );
  if (rest.length === 0) return done;
  return [done, ...rest, '"podpaced uninstall --forget" drops what is kept'].join('. ');
}
