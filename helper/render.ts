// What the operator's commands print. Pure: results in, text out.

import type { AttachmentStatus, Cap, ListResult, ProbeResult, StatusResult } from './protocol/messages.ts';
import { formatRate } from './shaping/rates.ts';

/** Columns padded to their widest cell, two spaces apart, no blanks at line ends. */
export function renderTable(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [column, cell] of row.entries()) widths[column] = Math.max(widths[column] ?? 0, cell.length);
  }
  const lines = rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
  return lines.join('\n');
}

function renderCap(cap: Cap | undefined): string {
  return cap === undefined ? '-' : formatRate(cap.rateBitsPerSec);
}

/** The answer of `podpaced status`. */
export function renderStatus(status: StatusResult): string {
  const enforcing = status.exits.filter((exit) => exit.departureProgram).map(({ name }) => name);
  const names = (enforcing.length > 0 ? enforcing : status.exits.map(({ name }) => name)).join(' ');
  const exits = status.exits.map((exit) => {
    const leaves = [...new Set(exit.leafQdiscs)].join('+');
    const qdisc =
      leaves === '' ? exit.rootQdisc : `${exit.rootQdisc} with ${exit.leafQdiscs.length} ${leaves}`;
    return [`  ${exit.name}`, `${exit.queues} queues`, qdisc, exit.departureProgram ? 'capping' : 'idle'];
  });
  const lines = [
    renderTable([
      ['BandwidthManager:', `EDT with BPF  [${names}]`],
      ['State:', status.state === 'ok' ? 'ok' : 'DEGRADED: not every cap is enforced'],
      ['Attachments:', String(status.attachments)],
      ['Horizon:', `${status.horizonNs / 1_000_000} ms`],
      ['Kernel:', status.kernel],
      [
        'Version:',
        `${status.version} (protocol ${status.protocolVersion}), running since ${status.startedAt}`,
      ],
    ]),
    ...(exits.length === 0 ? ['Exits:             none found'] : ['Exits:', renderTable(exits)]),
    ...(status.problems.length === 0
      ? []
      : ['Problems:', ...status.problems.map((problem) => `  ${problem}`)]),
  ];
  return lines.join('\n');
}

function attachmentRow(attachment: AttachmentStatus): string[] {
  const { containerId, ifname, network, hostInterface, caps, problems } = attachment;
  return [
    containerId,
    ifname,
    network,
    hostInterface,
    renderCap(caps.egress),
    renderCap(caps.ingress),
    problems.length === 0 ? 'enforced' : `NOT ENFORCED: ${problems.join('; ')}`,
  ];
}

/** The answer of `podpaced list`. */
export function renderList({ attachments }: ListResult): string {
  if (attachments.length === 0) return 'No pod on this node has a cap';
  const head = ['CONTAINER', 'INTERFACE', 'NETWORK', 'HOST INTERFACE', 'EGRESS', 'INGRESS', 'STATE'];
  return renderTable([head, ...attachments.map(attachmentRow)]);
}

/** The answer of `podpaced probe`. */
export function renderProbe({ items }: ProbeResult): string {
  return renderTable(
    items.map(({ name, ok, found, remedy }) => [
      ok ? 'ok' : 'MISSING',
      name,
      remedy === undefined ? found : `${found}; ${remedy}`,
    ]),
  );
}
