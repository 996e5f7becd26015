// What `kubectl describe` shows of a pod's cap: events, each once for a pod and a reason, a few in a
// second. Pure.

import { sha256 } from '../wire/sha256.ts';

/** Why there is an event; `reason` in the cluster. */
export type Reason =
  | 'BandwidthNotEnforced'
  | 'BandwidthInvalid'
  | 'BandwidthIgnored'
  | 'BandwidthCut'
  | 'NetworkListLost';

/** What an event is about. */
export interface Subject {
  readonly kind: 'Pod' | 'Node';
  readonly name: string;
  readonly uid: string;
  /** Absent of a node. */
  readonly namespace?: string;
}

/** Something to tell of in the cluster. */
export interface Notice {
  readonly about: Subject;
  readonly reason: Reason;
  /** A sentence, with the remedy. */
  readonly message: string;
}

/** A message may have 1,024 characters (k8s.io/kubernetes, pkg/apis/core/validation/events.go). */
const MAX_MESSAGE_LENGTH = 1024;
/** A name of an object is a subdomain of DNS. */
const MAX_NAME_LENGTH = 253;

/** The namespace of the events of objects that are in none. */
const NO_NAMESPACE = 'default';

/** Names a notice whatever its message: the same one is not posted twice. */
export function keyOfNotice({ about: { uid }, reason }: Notice): string {
  return `${uid} ${reason}`;
}

/** The namespace that the event of a notice is in. */
export function namespaceOf({ about: { namespace = NO_NAMESPACE } }: Notice): string {
  return namespace;
}

/** Who tells, and when. */
export interface Teller {
  readonly nodeName: string;
  /** In UTC (ISO 8601), without fractions of a second. */
  readonly now: string;
}

/**
 * The event as the API takes it. Its name follows from what it is about and the reason: a helper
 * that has been restarted is told that it is there already.
 */
export function eventOf(notice: Notice, { nodeName, now }: Teller): object {
  const { about, reason, message } = notice;
  const suffix = `.podpace-${sha256(keyOfNotice(notice)).slice(0, 16)}`;
  const namespace = namespaceOf(notice);
  const isLong = message.length > MAX_MESSAGE_LENGTH;
  return {
    apiVersion: 'v1',
    kind: 'Event',
    metadata: {
      name: about.name.slice(0, MAX_NAME_LENGTH - suffix.length).replace(/[.-]+$/, '') + suffix,
      namespace,
    },
    involvedObject: { apiVersion: 'v1', ...about },
    reason,
    message: isLong ? `${message.slice(0, MAX_MESSAGE_LENGTH - 1)}…` : message,
    type: 'Warning',
    ...{ firstTimestamp: now, lastTimestamp: now, count: 1 },
    source: { component: 'podpaced', host: nodeName },
    ...{ reportingComponent: 'podpace.io/podpaced', reportingInstance: nodeName },
  };
}

/** So many notices wait; more are dropped: the log has what they say. */
const MAX_WAITING = 1_000;
/** So many keys are remembered. */
const MAX_TOLD = 20_000;
/** Events a second, and at once after a pause. */
const PER_SECOND = 2;
const AT_ONCE = 5;

/** Notices on their way: each once, in their order, a few in a second. */
export class Outbox {
  readonly #waiting: Notice[] = [];
  readonly #told = new Set<string>();
  #allowance = AT_ONCE;
  #atMs = 0;

  /** Takes a notice, unless it was told of already. */
  put(notice: Notice): void {
    const key = keyOfNotice(notice);
    if (this.#told.has(key) || this.#waiting.length >= MAX_WAITING) return;
    if (this.#told.size >= MAX_TOLD) this.#told.clear();
    this.#told.add(key);
    this.#waiting.push(notice);
  }

  /** How long the next one has to wait, ms; undefined when none is there. */
  waitMs(nowMs: number): number | undefined {
    if (this.#waiting.length === 0) return undefined;
    this.#grow(nowMs);
    return this.#allowance >= 1 ? 0 : Math.ceil(((1 - this.#allowance) * 1000) / PER_SECOND);
  }

  /** The next one, if it may go now. */
  take(nowMs: number): Notice | undefined {
    if (this.waitMs(nowMs) !== 0) return undefined;
    this.#allowance -= 1;
    return this.#waiting.shift();
  }

  /** One that could not be delivered comes first again. */
  putBack(notice: Notice): void {
    this.#waiting.unshift(notice);
  }

  #grow(nowMs: number): void {
    const passedMs = Math.max(0, nowMs - this.#atMs);
    this.#allowance = Math.min(AT_ONCE, this.#allowance + (passedMs * PER_SECOND) / 1000);
    this.#atMs = nowMs;
  }
}
