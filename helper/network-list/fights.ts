// Whether somebody keeps taking podpace out of the list. Pure.

/** An entry that goes sooner than this after it was put there was fought for. */
const QUICK_MS = 30_000;
const MAX_FIGHTS = 5;

/** Between two times that podpace is put into a list. */
export const REWRITE_PAUSE_MS = 1_000;

/** What has happened to the entry; times are of a clock that never goes back. */
export interface Fights {
  /** How often in a row it went quickly. */
  readonly count: number;
  /** When it was put there last. */
  readonly putAtMs: number | undefined;
}

export const NO_FIGHTS: Fights = { count: 0, putAtMs: undefined };

/** Podpace is not in the list: what that means for the count. */
export function afterLoss({ count, putAtMs }: Fights, nowMs: number): Fights {
  const isQuick = putAtMs !== undefined && nowMs - putAtMs < QUICK_MS;
  return { count: isQuick ? count + 1 : 0, putAtMs: undefined };
}

export function afterPut({ count }: Fights, nowMs: number): Fights {
  return { count, putAtMs: nowMs };
}

/** Whether to leave the list to whoever else writes it. */
export function isLost({ count }: Fights): boolean {
  return count >= MAX_FIGHTS;
}
