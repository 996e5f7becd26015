// How the pods of a node are followed: list them in pages, then watch from there; again and again,
// whatever the server does. Pure: what happened in, what to do next out. The caller asks `stepOf`,
// does it, and tells `after` of each thing that comes of it.
//
// - The resource version says from where to watch. What a server has forgotten (410, as a status
//   or as an event within a good answer) and what makes no sense has all pods listed anew.
// - A watch ends by itself after some minutes; that is no failure, but one that ends at once is.
// - A version that the server does not know yet (its store was restored) gives silence: a watch
//   that says nothing, not even a bookmark, is given up, and the pods are listed anew.
// - Failures are tried again after a pause that doubles up to half a minute, and that differs from
//   node to node.

import type { Page, WatchMessage } from './stream.ts';
import type { Pod } from './pods.ts';

/** What to do next. */
export type Step =
  | { readonly do: 'wait'; readonly ms: number }
  | { readonly do: 'list'; readonly continue?: string }
  | { readonly do: 'watch'; readonly resourceVersion: string; readonly timeoutSeconds: number };

/** What came of it. A watch has several: messages, then one of its ends. */
export type Outcome =
  | { readonly of: 'waited' }
  | ({ readonly of: 'page' } & Page)
  | { readonly of: 'message'; readonly message: WatchMessage }
  /** A watch that has been open for STEADY_MS. */
  | { readonly of: 'steady' }
  /** The server has ended a watch. */
  | { readonly of: 'ended'; readonly lastedMs: number }
  /** A watch has said nothing for too long. */
  | { readonly of: 'silent' }
  /** The server does not know the resource version, or a page's token, any more. */
  | { readonly of: 'expired' }
  /** What came is nothing that a server of the API sends. */
  | { readonly of: 'garbage'; readonly why: string }
  | { readonly of: 'failed'; readonly why: string; readonly leastWaitMs?: number };

/** What has changed among the pods. */
export type PodsChange =
  | { readonly kind: 'all'; readonly pods: readonly Pod[] }
  | { readonly kind: 'put' | 'gone'; readonly pod: Pod };

/** Where the following stands. Times are of one clock. */
export interface Following {
  /** Before the next step. */
  readonly waitMs: number;
  /** Of the pages so far, while they are listed. */
  readonly listed: readonly Pod[];
  readonly continue?: string;
  /** From where to watch; absent: list. */
  readonly resourceVersion?: string;
  /** Failures in a row. */
  readonly failures: number;
  /** When the server was heard last. */
  readonly heardAtMs: number;
  /** Changes are not known since then, and why; absent while they are. */
  readonly away?: { readonly sinceMs: number; readonly why: string };
}

/** A watch that has lasted so long has not ended at once. */
export const STEADY_MS = 5_000;

/** A watch is asked to end after so long, and half as much again by chance. */
const WATCH_SECONDS = 240;

const FIRST_PAUSE_MS = 500;
const MAX_PAUSE_MS = 30_000;
/** Before the next watch, after one that ended as it should: at most. */
const SHORT_PAUSE_MS = 200;
const MAX_ASKED_PAUSE_MS = 60_000;

/** Nothing is known yet. */
export function beginning(nowMs: number): Following {
  return { waitMs: 0, listed: [], failures: 0, heardAtMs: nowMs };
}

/** What to do next. `chance` is from 0 to 1. */
export function stepOf(state: Following, chance: number): Step {
  const { waitMs, resourceVersion, continue: next } = state;
  if (waitMs > 0) return { do: 'wait', ms: waitMs };
  if (resourceVersion === undefined)
    return { do: 'list', ...(next !== undefined && { continue: next }) };
  const timeoutSeconds = Math.round(WATCH_SECONDS * (1 + chance / 2));
  return { do: 'watch', resourceVersion, timeoutSeconds };
}

/** From half to one and a half of a pause that doubles with each failure in a row, ms. */
function pauseMs(failures: number, chance: number): number {
  const wholeMs = Math.min(MAX_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(failures - 1, 16));
  return Math.round(wholeMs * (0.5 + chance));
}

/** The moment, and a number from 0 to 1. */
export interface Circumstance {
  readonly nowMs: number;
  readonly chance: number;
}

/** Without what a list has brought so far; `isAnew`: also without the version to watch from. */
function restarted({ continue: _next, ...state }: Following, isAnew: boolean): Following {
  if (!isAnew) return { ...state, listed: [] };
  const { resourceVersion: _version, ...rest } = state;
  return { ...rest, listed: [] };
}

interface Setback {
  readonly why: string;
  readonly sinceMs: number;
  readonly isAnew: boolean;
  readonly leastWaitMs?: number;
}

function setBack(state: Following, setback: Setback, { chance }: Circumstance): Following {
  const { why, sinceMs, isAnew, leastWaitMs = 0 } = setback;
  const failures = state.failures + 1;
  const askedMs = Math.min(leastWaitMs, MAX_ASKED_PAUSE_MS);
  return {
    ...restarted(state, isAnew),
    failures,
    waitMs: Math.max(pauseMs(failures, chance), askedMs),
    away: { sinceMs: state.away?.sinceMs ?? sinceMs, why },
  };
}

/** The server answers as it should. */
function settled({ away: _away, ...state }: Following, nowMs: number): Following {
  return { ...state, failures: 0, heardAtMs: nowMs };
}

/** The versions are of no use any more: list at once, unless that has just been so. */
function expired(state: Following, circumstance: Circumstance): Following {
  if (state.failures === 0) return { ...restarted(state, true), failures: 1 };
  const why = 'the API server forgets each version at once';
  return setBack(state, { why, sinceMs: circumstance.nowMs, isAnew: true }, circumstance);
}

function afterPage(
  state: Following,
  { pods, resourceVersion, continue: next }: Page,
  nowMs: number,
): { readonly state: Following; readonly change?: PodsChange } {
  const listed = [...state.listed, ...pods];
  const { continue: _former, ...rest } = state;
  const heard = { ...rest, heardAtMs: nowMs };
  if (next !== undefined) return { state: { ...heard, listed, continue: next } };
  return {
    state: { ...heard, listed: [], resourceVersion },
    change: { kind: 'all', pods: listed },
  };
}

function afterMessage(
  state: Following,
  message: WatchMessage,
  circumstance: Circumstance,
): { readonly state: Following; readonly change?: PodsChange } {
  const { nowMs } = circumstance;
  if (message.type === 'error') {
    if (message.code === 410) return { state: expired(state, circumstance) };
    const why = `the API server ends the watch: ${message.code} ${message.message}`;
    const setback = { why, sinceMs: nowMs, isAnew: true };
    return { state: setBack(state, setback, circumstance) };
  }
  const next = { ...settled(state, nowMs), resourceVersion: message.resourceVersion };
  if (message.type === 'bookmark') return { state: next };
  return { state: next, change: { kind: message.type, pod: message.pod } };
}

/** Where the following stands after something came of a step, and what has changed by it. */
export function after(
  state: Following,
  outcome: Outcome,
  circumstance: Circumstance,
): { readonly state: Following; readonly change?: PodsChange } {
  const { nowMs, chance } = circumstance;
  const setBackBy = (why: string, more: Partial<Setback> = {}): { readonly state: Following } => {
    const setback = { why, sinceMs: nowMs, isAnew: false, ...more };
    return { state: setBack(state, setback, circumstance) };
  };
  switch (outcome.of) {
    case 'waited':
      return { state: { ...state, waitMs: 0 } };
    case 'page':
      return afterPage(state, outcome, nowMs);
    case 'message':
      return afterMessage(state, outcome.message, circumstance);
    case 'steady':
      return { state: settled(state, nowMs) };
    case 'ended':
      return outcome.lastedMs >= STEADY_MS
        ? { state: { ...state, waitMs: Math.round(SHORT_PAUSE_MS * chance) } }
        : setBackBy('the API server ends the watch at once');
    case 'silent':
      return setBackBy('the API server says nothing', { isAnew: true, sinceMs: state.heardAtMs });
    case 'expired':
      return { state: expired(state, circumstance) };
    case 'garbage':
      return setBackBy(outcome.why, { isAnew: true });
    case 'failed':
      return setBackBy(outcome.why, {
        ...(outcome.leastWaitMs !== undefined && { leastWaitMs: outcome.leastWaitMs }),
      });
  }
}
