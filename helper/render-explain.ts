// What `podpaced explain` prints: the way of a pod's packets station by station, what stands there,
// and below it what is wrong. Pure.

import type { ExplainEntry, ExplainResult } from './protocol/messages.ts';
import { nameOf } from './protocol/pod-names.ts';
import { printable } from './protocol/printable.ts';
import { STAGES, type Stage } from './protocol/problem-codes.ts';
import { renderTable } from './render.ts';
import { DIRECTIONS } from './shaping/effective.ts';
import { formatBytes, formatRate } from './shaping/units.ts';

/** What stands at a station, in a few words; empty where nothing has to be said. */
const THERE: Readonly<Record<Stage, (result: ExplainResult) => string>> = {
  'host-interface': ({ attachment: { hostInterface, beside = [], kind = 'pair', network } }) => {
    const names = [hostInterface, ...beside.map((pair) => pair.hostInterface)].join(', ');
    return `${names} (${kind}), network ${network}`;
  },
  classifier: ({ attachment: { hostInterface } }) =>
    `marks what comes in at ${hostInterface} with the cap's id`,
  routing: ({ attachment: { hostRouting } }) =>
    hostRouting === undefined
      ? "by the node's IP stack"
      : `host routing, past the IP stack and its netfilter; to ${hostRouting.addresses.join(', ')}`,
  exit: ({ exits }) =>
    exits
      .map(({ name, rootQdisc, leafQdiscs, below, overhead }) => {
        const leaves = leafQdiscs.length > 0 ? ` over ${leafQdiscs.length} x ${leafQdiscs[0]}` : '';
        const held = below === undefined ? `${rootQdisc}${leaves}` : `held by ${below.join(', ')}`;
        const bytes = overhead?.bytes ?? 0;
        return `${name}: ${held}${bytes === 0 ? '' : `, ${bytes} bytes more a packet`}`;
      })
      .join('; ') || 'none',
  'node-sockets': ({ nodeTraffic }) => `what it sends to the node itself is ${nodeTraffic}`,
  delivery: ({ attachment: { effective, hostInterface } }) =>
    effective.ingress === undefined
      ? 'no cap into the pod'
      : `what goes into the pod waits at ${hostInterface}`,
  caps: ({ attachment: { effective } }) =>
    DIRECTIONS.map((direction) => {
      const cap = effective[direction];
      return `${direction} ${cap === undefined ? 'not capped' : formatRate(cap.rateBitsPerSec)}`;
    }).join(', '),
  books: ({ counters }) => {
    const books = counters?.egress?.books;
    if (books === undefined) return '';
    const { seenBytes, settledBytes, exemptBytes, unaccountedBytes } = books;
    const [seen, settled] = [formatBytes(seenBytes), formatBytes(settledBytes)];
    return `sent ${seen}, settled ${settled} (exempt ${formatBytes(exemptBytes)}), unaccounted ${formatBytes(unaccountedBytes)}`;
  },
  node: () => '',
};

/** The worst of what was found at a station. */
function verdictOf(entries: readonly ExplainEntry[]): string {
  if (entries.some(({ severity }) => severity === 'error')) return 'ERROR';
  return entries.some(({ severity }) => severity === 'warning') ? 'warning' : 'ok';
}

function findingLines({ severity, code, message, remedy }: ExplainEntry): string[] {
  const found = `    ${severity} ${code}: ${printable(message)}`;
  // Many messages end with it.
  const isSaid = remedy === undefined || message.includes(remedy);
  return isSaid ? [found] : [found, `    remedy: ${printable(remedy)}`];
}

/** The answer of `podpaced explain`. */
export function renderExplain(result: ExplainResult): string {
  const { attachment, entries, exempt } = result;
  const at = Map.groupBy(entries, ({ stage }) => stage);
  const rows = STAGES.map((stage) => [
    ...['', stage, verdictOf(at.get(stage) ?? []), THERE[stage](result)],
  ]);
  const lines = renderTable(rows).split('\n');
  return [
    printable(nameOf(attachment)),
    ...STAGES.flatMap((stage, row) => [
      lines[row] ?? '',
      ...(at.get(stage) ?? []).flatMap(findingLines),
    ]),
    `exempt from its caps: ${exempt.map(printable).join(', ') || 'nothing'}`,
  ].join('\n');
}
