// history: what a pod's directions did in the last hour.

import { InvalidArgumentError, type Command } from 'commander';
import type { DirectionHistory, HistoryResult } from '../protocol/messages.ts';
import { nameOf, podNamesOf } from '../protocol/pod-names.ts';
import { HISTORY_STEP_SECONDS, HISTORY_STEPS } from '../protocol/requests.ts';
import { DEFAULT_SOCKET } from '../protocol/state-files.ts';
import { renderDirectionHistory, type TimedStep } from '../render-history.ts';
import { DIRECTIONS } from '../shaping/effective.ts';
import {
  type CliEdges,
  type QueryOptions,
  ask,
  POD,
  POD_IS,
  selectCapped,
  show,
} from './asking.ts';
import { addWatch } from './watch.ts';

const MINUTE_STEPS = 60 / HISTORY_STEP_SECONDS;
const MOST_MINUTES = HISTORY_STEPS / MINUTE_STEPS;

function minutes(text: string): number {
  const value = text.trim() === '' ? Number.NaN : Number(text);
  if (value >= 1 && value <= MOST_MINUTES) return value;
  throw new InvalidArgumentError(`It takes minutes from 1 to ${MOST_MINUTES}.`);
}

/** The steps of a direction that are known, oldest first. */
export function timedSteps(
  { bytesPerSec, throttledSeconds, p50Ns, p99Ns }: DirectionHistory,
  { stepSeconds, endedMsAgo = 0 }: Pick<HistoryResult, 'stepSeconds' | 'endedMsAgo'>,
  now: Date,
): TimedStep[] {
  const latest = bytesPerSec.length - 1;
  return bytesPerSec.flatMap((rate, at) => {
    if (rate === null) return [];
    const endedMs = now.getTime() - endedMsAgo - (latest - at) * stepSeconds * 1000;
    const [half, most] = [p50Ns[at] ?? undefined, p99Ns[at] ?? undefined];
    return [
      {
        endedAt: new Date(endedMs).toISOString(),
        bytesPerSec: rate,
        throttledSeconds: throttledSeconds[at] ?? 0,
        ...(half !== undefined && { p50Ns: half }),
        ...(most !== undefined && { p99Ns: most }),
      },
    ];
  });
}

interface Historied {
  readonly result: object;
  readonly text: () => string;
}

function historied(answer: HistoryResult): Historied {
  const { containerId, ifname, stepSeconds, effective } = answer;
  const now = new Date();
  const directions = DIRECTIONS.flatMap((direction) => {
    const columns = answer[direction];
    return columns === undefined ? [] : [[direction, timedSteps(columns, answer, now)] as const];
  });
  const pod = { containerId, ifname, ...podNamesOf(answer) };
  return {
    result: { ...pod, stepSeconds, effective, ...Object.fromEntries(directions) },
    text: () =>
      directions
        .map(([direction, steps]) =>
          renderDirectionHistory(
            ...[`${nameOf(pod)} ${direction}`, steps, effective[direction], stepSeconds],
          ),
        )
        .join('\n\n'),
  };
}

export function addHistory(program: Command, edges: CliEdges): void {
  const command = program
    .command('history')
    .description('rate, time throttled and waits of a pod in the last hour, in steps of 10 s')
    .argument(`<${POD}>`, `one capped pod; ${POD_IS}`)
    .option('--minutes <number>', `how far back (default: ${MOST_MINUTES})`, minutes)
    .option('--socket <path>', 'unix socket of the helper', DEFAULT_SOCKET)
    .option('--json', 'print JSON');
  addWatch(command).action(
    (selector: string, options: QueryOptions & { readonly minutes?: number }) =>
      show(edges, options, async () => {
        const { socket, minutes: back = MOST_MINUTES } = options;
        const key = await selectCapped(socket, selector, edges);
        const steps = Math.round(back * MINUTE_STEPS);
        return historied(await ask(socket, 'history', { ...key, steps }));
      }),
  );
}
