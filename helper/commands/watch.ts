// `--watch`: a query again and again, until somebody ends it.

import { setTimeout as sleep } from 'node:timers/promises';
import { InvalidArgumentError, type Command } from 'commander';

/** The cursor goes to the first place, and all is erased (ECMA-48: CUP, ED). */
const CLEAR = '\u001b[H\u001b[2J';

export interface WatchEdges {
  /** Empties the screen, on which a round takes the place of the one before; absent without one. */
  readonly clear?: () => void;
  /** Waits; false ends the watch. */
  readonly pause: (ms: number) => Promise<boolean>;
}

/** Of this process. */
export const WATCH_EDGES: WatchEdges = {
  ...(process.stdout.isTTY && { clear: () => void process.stdout.write(CLEAR) }),
  pause: (ms) => sleep(ms, true),
};

const STANDARD_SECONDS = 2;
const LEAST_SECONDS = 0.5;
const MOST_SECONDS = 86_400;

function seconds(text: string): number {
  const value = text.trim() === '' ? Number.NaN : Number(text);
  if (value >= LEAST_SECONDS && value <= MOST_SECONDS) return value;
  throw new InvalidArgumentError(
    `It takes seconds from ${LEAST_SECONDS} to ${MOST_SECONDS}; a pod stands in front of it.`,
  );
}

/** As commander has it: true without a number. */
export type WatchFlag = number | true | undefined;

export function addWatch(command: Command): Command {
  return command.option(
    '--watch [seconds]',
    `again every ${STANDARD_SECONDS} seconds; with --json a line each time`,
    seconds,
  );
}

/** What one round prints. */
export type Round = () => Promise<{ readonly result: object; readonly text: () => string }>;

interface Output {
  /** False when nobody reads any more; anything else goes on. */
  readonly stdout: (text: string) => unknown;
  readonly stderr: (text: string) => void;
}

/**
 * Prints rounds until `pause` or whoever reads ends them. The first one has to succeed; later a
 * helper may be away, and come back.
 */
export async function watch(
  { every, isJson }: { readonly every: number | true; readonly isJson: boolean },
  { stdout, stderr }: Output,
  { clear, pause }: WatchEdges,
  round: Round,
): Promise<void> {
  const pauseMs = (every === true ? STANDARD_SECONDS : every) * 1000;
  for (let isFirst = true; isFirst || (await pause(pauseMs)); isFirst = false) {
    let shown: string;
    try {
      const { result, text } = await round();
      shown = isJson ? JSON.stringify(result) : text();
    } catch (error) {
      if (isFirst) throw error;
      // What is on the screen is not so any more.
      clear?.();
      stderr(`podpaced: ${(error as Error).message}\n`);
      continue;
    }
    if (!isJson) clear?.();
    const between = isFirst || isJson || clear !== undefined ? '' : '\n';
    if (stdout(`${between}${shown}\n`) === false) return;
  }
}
