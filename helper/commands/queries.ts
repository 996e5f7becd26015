// status, list and counters: what the helper says of the node and its pods.

import type { Command } from 'commander';
import {
  keyOf,
  type AttachmentKey,
  type AttachmentStatus,
  type ListResult,
} from '../protocol/messages.ts';
import { checkProbeItems } from '../protocol/probe-items.ts';
import { remedies } from '../protocol/remedies.ts';
import { DEFAULT_SOCKET } from '../protocol/state-files.ts';
import { renderAll, renderList } from '../render-list.ts';
import { renderCounters, renderStatus } from '../render.ts';
import { matchingAttachments } from '../select.ts';
import { addWatch, type Round } from './watch.ts';
import {
  type CliEdges,
  type QueryOptions,
  ask,
  show,
  listAll,
  countersOfAll,
  type Uncapped,
  uncappedIfKnown,
  POD,
  POD_IS,
  selectCapped,
} from './asking.ts';

export function addStatus(
  program: Command,
  edges: CliEdges,
  setExitCode: (code: number) => void,
): void {
  const command = program
    .command('status')
    .description('exits, health and problems; exit status 1 when DEGRADED')
    .option('--socket <path>', 'unix socket of the helper', DEFAULT_SOCKET)
    .option('--json', 'print JSON');
  addWatch(command).action((options: QueryOptions) =>
    show(edges, options, async () => {
      const result = await ask(options.socket, 'status', {});
      if (result.features !== undefined) checkProbeItems(result.features);
      setExitCode(result.state === 'ok' ? 0 : 1);
      return { result, text: () => renderStatus(result) };
    }),
  );
}

type ListOptions = QueryOptions & { readonly all?: true; readonly wide?: true };

async function listed(
  selector: string | undefined,
  { socket, all: isAll, wide }: ListOptions,
): ReturnType<Round> {
  const isWide = wide === true;
  const { attachments: capped } = await listAll(socket);
  if (isAll !== true) {
    const attachments = selector === undefined ? capped : matchingAttachments(selector, capped);
    return { result: { attachments }, text: () => renderList({ attachments }, isWide) };
  }
  const others = await uncappedIfKnown(socket);
  if (others === undefined)
    throw new Error(
      `The podpaced that runs keeps no record of other pods; ${remedies.newerHelper(process.execPath)}`,
    );
  const pods = pick(selector, capped, others);
  return { result: pods, text: () => renderAll(pods, isWide) };
}

export function addList(program: Command, edges: CliEdges): void {
  const command = program
    .command('list')
    .description(
      'every capped pod: caps, rate now, waits, drops; with --all also those without a cap',
    )
    .argument(`[${POD}]`, `this pod only; ${POD_IS}`)
    .option('--all', 'also pods without a cap, those that no record is of as unknown')
    .option('--wide', 'also network, host interface and wiring')
    .option('--socket <path>', 'unix socket of the helper', DEFAULT_SOCKET)
    .option('--json', 'print JSON');
  addWatch(command).action((selector: string | undefined, options: ListOptions) =>
    show(edges, options, () => listed(selector, options)),
  );
}

/** All pods of the node, or those that a selector names. One that was just capped is so. */
function pick(
  selector: string | undefined,
  attachments: readonly AttachmentStatus[],
  { uncapped: others, unknown }: Uncapped,
): ListResult & Uncapped {
  const capped = new Set(attachments.map(keyOf));
  const uncapped = others.filter((pod) => !capped.has(keyOf(pod)));
  if (selector === undefined) return { attachments, uncapped, unknown };
  const found = new Set<AttachmentKey>(
    matchingAttachments(selector, [...attachments, ...uncapped]),
  );
  return {
    attachments: attachments.filter((one) => found.has(one)),
    uncapped: uncapped.filter((one) => found.has(one)),
    unknown: [],
  };
}

export function addCounters(program: Command, edges: CliEdges): void {
  const command = program
    .command('counters')
    .description('what became of the packets of capped pods, and how long they wait')
    .argument(`[${POD}]`, `this pod only; ${POD_IS}`)
    .option('--per-cpu', 'with --json: each CPU by itself too')
    .option('--socket <path>', 'unix socket of the helper', DEFAULT_SOCKET)
    .option('--json', 'print JSON');
  addWatch(command).action(
    (selector: string | undefined, options: QueryOptions & { perCpu?: true }) =>
      show(edges, options, async () => {
        const { socket, perCpu = false } = options;
        const result =
          selector === undefined
            ? await countersOfAll(socket, perCpu)
            : await ask(socket, 'counters', {
                only: await selectCapped(socket, selector, edges),
                perCpu,
              });
        return { result, text: () => renderCounters(result) };
      }),
  );
}
