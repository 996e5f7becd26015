// The conversation between the CNI executable and the helper: one request, one response, each one
// JSON object on one line. requests.ts says what the request looks like and this file the answer;
// frame.ts says how they travel.

import type { CounterName } from '../wire/aggregate.ts';
import type { CapSources } from './cap-sources.ts';
import type { ProblemCode, Severity, Stage } from './problem-codes.ts';
import type { PodNames } from './pod-names.ts';
import type { ProbeItem } from './probe-items.ts';
import type {
  AttachmentKey,
  AttachParams,
  CapChanges,
  Direction,
  Method,
  Params,
} from './requests.ts';
import { object, oneOf, optional, string, type Read } from './shape.ts';
import { versionRange, type Need } from './versions.ts';

export type { PodNames } from './pod-names.ts';
export type { ProbeItem } from './probe-items.ts';
export type * from './requests.ts';

/** Changes of either direction. */
export type ChangedCaps = { readonly [D in Direction]?: CapChanges };

/** How one direction is paced, everything taken into account. */
export interface EffectiveCap extends Required<Omit<CapChanges, 'burstBits'>> {
  /** Time at the rate that may leave at once after idleness. */
  readonly burstNs: number;
  /** What `set` has changed of it. */
  readonly changed: readonly (keyof CapChanges)[];
}

/** Directions that are capped. */
export type EffectiveCaps = { readonly [D in Direction]?: EffectiveCap };

/** Pairs of which podpace knows the ends. */
export const ATTACHMENT_KINDS = ['veth', 'netkit'] as const;
export type AttachmentKind = (typeof ATTACHMENT_KINDS)[number];

/**
 * Names an attachment in one string; neither part can hold a colon. Strings compare by UTF-16
 * units.
 */
export function keyOf({ containerId, ifname }: AttachmentKey): string {
  return `${containerId}:${ifname}`;
}

export interface AttachResult {
  /** Why a cap is not enforced although the call succeeded; empty when everything is. */
  readonly degraded: readonly string[];
  /**
   * What to know although everything is as asked for, such as who does not see these packets any
   * more.
   */
  readonly notices: readonly string[];
  /** Host interfaces that share the caps. Helpers that know one of an attachment do not say. */
  readonly held?: readonly string[];
}

/**
 * What the devices below an exit add to each packet: headers and trailers, without what is filled
 * up.
 */
export interface ExitOverhead {
  readonly bytes: number;
  /**
   * `estimated`: nothing says it exactly, as of a kind that podpace does not know; `unknown`: a
   * process of the node makes the outer headers, and the configuration says the figure.
   */
  readonly certainty: 'known' | 'estimated' | 'unknown';
}

/** State of one exit as `status` reports it. */
export interface ExitStatus {
  readonly name: string;
  readonly ifindex: number;
  /** Driver family: `vlan`, `bond`, `vxlan`, …; `device` for hardware. */
  readonly kind: string;
  /** Where it leads: off the node, into a pod of it, or to the ports of a bridge. */
  readonly role: 'uplink' | 'pod' | 'bridge';
  /** Its transmit queues. */
  readonly queues: number;
  /** `mq`, `fq`, or what stands there instead. */
  readonly rootQdisc: string;
  /** Under that; with `below`, of the devices there. */
  readonly leafQdiscs: readonly string[];
  /**
   * Devices that hold its packets: slaves of a bond, ports of a bridge. Absent when it holds them
   * itself.
   */
  readonly below?: readonly string[];
  /** What is charged for each packet besides its length here. Old helpers do not say. */
  readonly overhead?: ExitOverhead;
  /** Whether podpace's program stands at its egress. */
  readonly departureProgram: boolean;
  /** Whether packets to pods with host routing are taken in here before the IP stack sees them. */
  readonly arrivalProgram: boolean;
  /** Empty when caps are enforced here; else the reasons, each with its remedy. */
  readonly problems: readonly string[];
}

/** An attachment of which not everything is enforced. */
export interface ConcernedAttachment extends AttachmentKey, PodNames {
  readonly directions: readonly Direction[];
}

/** What becomes of what pods send to the node itself. */
export type NodeTraffic = 'policed' | 'free' | 'not capped';

export interface StatusResult {
  readonly version: string;
  /** The newest that the helper serves. */
  readonly protocolVersion: number;
  readonly kernel: string;
  /**
   * The items of `probe`: uplinks as they are now, sch_fq as it was when it was last tried, all
   * else as it was at start. Old helpers do not say.
   */
  readonly features?: readonly ProbeItem[];
  /**
   * `ok` when every cap is enforced, and one that is asked for now would be; `degraded` otherwise.
   */
  readonly state: 'ok' | 'degraded';
  readonly problems: readonly string[];
  /** What to know although every cap is enforced. */
  readonly notices: readonly string[];
  readonly exits: readonly ExitStatus[];
  /** Exits into pods that are left out of `exits`, since a message is limited. */
  readonly moreExits: number;
  readonly attachments: number;
  /**
   * Those that a problem concerns, with the directions, in the order of `keyOf`. Old helpers do not
   * say.
   */
  readonly notEnforced?: readonly ConcernedAttachment[];
  /** How many are left out of `notEnforced`. */
  readonly moreNotEnforced?: number;
  /** Old helpers do not say. */
  readonly nodeTraffic?: NodeTraffic;
  readonly horizonNs: number;
  /** 0: off. */
  readonly aqmTargetNs: number;
  readonly aqmIntervalNs: number;
  readonly startedAt: string;
}

/**
 * What a direction did in the last 10 s, and what became of its packets since it got its cap. What
 * nobody has counted yet is absent.
 */
export interface RecentFigures {
  readonly bytesPerSec?: number;
  /** Part of the time. */
  readonly throttledShare?: number;
  /** Sojourns of the accepted packets; absent too where there were none. */
  readonly p50Ns?: number;
  readonly p99Ns?: number;
  readonly droppedPackets: number;
  readonly ceMarkedPackets: number;
}

/** One line of `list`. */
export interface AttachmentStatus extends AttachParams {
  /**
   * When it was added, in UTC (ISO 8601), where its pod has a name: of two sandboxes of one name
   * the later is the newer.
   */
  readonly addedAt?: string;
  readonly hostInterfaceIndex: number;
  readonly kind?: AttachmentKind;
  /**
   * The other end of `hostInterface`, where it is not the interface of CNI_IFNAME: that is gone.
   */
  readonly podInterface?: string;
  readonly egressAggregateId?: number;
  readonly ingressAggregateId?: number;
  /** What `set` has changed of `caps`, which are as the pod asks, within the operator's rules. */
  readonly changes?: ChangedCaps;
  /** Where `caps` come from. Old helpers do not say, nor is it said of what old plugins asked for. */
  readonly capSources?: CapSources;
  readonly effective: EffectiveCaps;
  /** Why its caps are not enforced as they should be; empty when they are. Each sentence once. */
  readonly problems: readonly string[];
  /**
   * The same by the direction that they concern; a direction that nothing is wrong with is absent.
   * Old helpers do not say.
   */
  readonly problemsByDirection?: { readonly [D in Direction]?: readonly string[] };
  /**
   * Bytes that it sent and that vanished between its interface and the exits. Absent without an
   * egress cap; old helpers do not say.
   */
  readonly unaccountedBytes?: number;
  /** By direction; absent of one that was not counted yet. Old helpers do not say. */
  readonly recent?: { readonly [D in Direction]?: RecentFigures };
  /**
   * What is to be known of it although nothing is known to be wrong; absent when there is nothing.
   */
  readonly notes?: readonly string[];
}

/**
 * The direction before and after; absent when it was or is not capped. Old helpers do not name the
 * pod.
 */
export interface SetResult extends PodNames {
  readonly before?: EffectiveCap;
  readonly after?: EffectiveCap;
  /** What to know although it is as asked for; absent when there is nothing. */
  readonly notices?: readonly string[];
}

/**
 * What became of an aggregate's packets since it got its cap. Exact below 2^53, beyond rounded by
 * less than 10^-15. Helpers of other releases count more, or less.
 */
export interface Counters extends Readonly<Partial<Record<CounterName, number>>> {
  /**
   * Accepted packets by sojourn: bucket 0 below 2^16 ns, bucket i below 2^(16+i) ns, the last takes
   * the rest.
   */
  readonly sojourn: readonly number[];
}

/**
 * What was seen of an aggregate's frames beside what became of them: merged packets as their
 * segments, bytes without what tunnels add. Of what goes into a pod only exempt and dropped ones
 * are told apart: it is charged where it is seen.
 */
export interface Books {
  /** At the host interface. */
  readonly seenFrames: number;
  readonly seenBytes: number;
  /** At an exit, another pod's interface among them: charged, exempt or dropped there. */
  readonly settledFrames: number;
  readonly settledBytes: number;
  readonly exemptFrames: number;
  readonly exemptBytes: number;
  /** By the horizon, the AQM or fairness. */
  readonly droppedFrames: number;
  readonly droppedBytes: number;
  /** Not settled although it came up from the pod, seen or not: gone in between. */
  readonly unaccountedFrames: number;
  readonly unaccountedBytes: number;
}

/** Counters of one direction of an attachment. */
export interface DirectionCounters {
  readonly total: Counters;
  /** By CPU number, what is not 0, without the histogram; only when asked for. */
  readonly perCpu?: Readonly<Record<string, Partial<Omit<Counters, 'sojourn'>>>>;
  /** How long a packet of the bulk that comes now would wait. */
  readonly backlogNs: number;
  /** Absent in answers of old helpers. */
  readonly books?: Books;
}

/** One attachment in the answer of `counters`. */
export interface AttachmentCounters extends AttachmentKey, PodNames {
  readonly hostInterface: string;
  readonly egress?: DirectionCounters;
  readonly ingress?: DirectionCounters;
}

export interface CountersResult {
  /** In the order of `keyOf`. */
  readonly attachments: readonly AttachmentCounters[];
  /** Key of the last one here, when more follow. */
  readonly next?: string;
}

/**
 * The last steps of one direction, oldest first, of each what was counted in it; null where nobody
 * counted. Columns, since a message is limited.
 */
export interface DirectionHistory {
  readonly bytesPerSec: readonly (number | null)[];
  readonly throttledSeconds: readonly (number | null)[];
  /** Sojourns; null also where no packet was accepted. */
  readonly p50Ns: readonly (number | null)[];
  readonly p99Ns: readonly (number | null)[];
}

/** A direction without a cap is absent, and all columns of one have the same length. */
export interface HistoryResult extends AttachmentKey, PodNames {
  readonly stepSeconds: number;
  /** How long ago the latest step has ended; absent before the first one. */
  readonly endedMsAgo?: number;
  readonly effective: EffectiveCaps;
  readonly egress?: DirectionHistory;
  readonly ingress?: DirectionHistory;
}

export interface ListResult {
  /** In the order of `keyOf`. */
  readonly attachments: readonly AttachmentStatus[];
  /** Key of the last one here, when more follow. */
  readonly next?: string;
}

/** A pod that was added without a cap, and has none. */
export interface UncappedPod extends AttachmentKey, PodNames {
  readonly network: string;
  readonly sandbox: string;
  /** Absent where there is none, or the kernel could not be asked. */
  readonly hostInterface?: string;
  readonly hostInterfaceIndex?: number;
  readonly kind?: AttachmentKind;
  /** In UTC (ISO 8601). */
  readonly addedAt?: string;
  /** Why it cannot be capped; absent where nothing is known to be in the way. */
  readonly noPair?: string;
}

/**
 * The node's end of a pair that leads to another network namespace and of which no record tells.
 */
export interface UnknownPod {
  readonly hostInterface: string;
  readonly hostInterfaceIndex: number;
  readonly kind: AttachmentKind;
  /** The kernel holds a cap there all the same, whose record was lost. */
  readonly isHeld?: true;
}

/** Pods without a cap, in pages as those of `list`: first those that are known. */
export interface UncappedResult {
  /** In the order of `keyOf`. */
  readonly uncapped: readonly UncappedPod[];
  /** In the order of their indexes. */
  readonly unknown: readonly UnknownPod[];
  /** What `after` has to be, when more follow. */
  readonly next?: string;
}

export interface ProbeResult {
  /** The kernel's release. It decides nothing. */
  readonly kernel: string;
  readonly items: readonly ProbeItem[];
}

export interface GcResult {
  readonly removed: readonly AttachmentKey[];
}

export interface UninstallResult {
  readonly restoredExits: readonly string[];
  /** Pods that were known to have a cap. */
  readonly detached: number;
  /** Those of them whose wish is kept. */
  readonly kept: number;
  /**
   * Files of what further pods were to have, which cannot be read and are kept; absent when there
   * are none.
   */
  readonly unreadable?: readonly string[];
}

/** Something found on the way of a pod's packets. */
export interface ExplainEntry {
  readonly stage: Stage;
  readonly code: ProblemCode;
  readonly severity: Severity;
  readonly message: string;
  /** Absent where the message says all that there is to do. */
  readonly remedy?: string;
}

/** The way of one attachment's packets. */
export interface ExplainResult {
  readonly attachment: AttachmentStatus;
  /** In no order; empty when all is well. */
  readonly entries: readonly ExplainEntry[];
  /** Those that are no pod's. */
  readonly exits: readonly ExitStatus[];
  readonly nodeTraffic: NodeTraffic;
  /** Addresses to and from which the caps do not count: the node's, then the pod's. */
  readonly exempt: readonly string[];
  /** Absent where the cap is not in force. */
  readonly counters?: AttachmentCounters | undefined;
}

interface Results {
  attach: AttachResult;
  detach: Record<string, never>;
  check: Record<string, never>;
  gc: GcResult;
  status: StatusResult;
  list: ListResult;
  uncapped: UncappedResult;
  set: SetResult;
  counters: CountersResult;
  history: HistoryResult;
  probe: ProbeResult;
  uninstall: UninstallResult;
  explain: ExplainResult;
}

/** Every method with its parameters and its result. */
export type Methods = {
  readonly [M in Method]: { readonly params: Params[M]; readonly result: Results[M] };
};

/**
 * Causes a caller may act on.
 * - `bad-request`: the message itself is wrong; a bug or another version.
 * - `bad-value`: what `set` asks for cannot be; nothing was changed.
 * - `protocol-version`: the request's version is not served. Read alike in every version.
 * - `unknown-need`: the request needs what this helper does not know (since version 3).
 * - `unenforceable`: this node cannot hold the cap (no sch_fq, no uplink, foreign qdisc).
 * - `not-found`: the interface or the attachment is not there.
 * - `check-failed`: something that an attachment needs is missing.
 * - `busy`: the helper is shutting down; try again.
 * - `internal`: anything else, with the kernel's own words.
 */
export const ERROR_CODES = [
  'bad-request',
  'bad-value',
  'protocol-version',
  'unknown-need',
  'unenforceable',
  'not-found',
  'check-failed',
  'busy',
  'internal',
] as const;
export type ErrorCode = (typeof ERROR_CODES)[number];

export const protocolError = object({
  code: oneOf(ERROR_CODES),
  /** What is wrong, naming the value. */
  message: string,
  /** What the operator can do. */
  remedy: optional(string),
  /**
   * With `protocol-version`: what the helper serves. Helpers up to version 2 do not say: they serve
   * the version of their answer.
   */
  serves: optional(versionRange),
});
export type ProtocolError = Read<typeof protocolError>;

export interface Request<M extends Method = Method> {
  readonly version: number;
  readonly method: M;
  readonly params: Methods[M]['params'];
  /** What must not be ignored of it (versions.ts); absent when there is nothing. */
  readonly needs?: readonly Need[];
}

export type Response<M extends Method = Method> =
  | { readonly version: number; readonly result: Methods[M]['result'] }
  | { readonly version: number; readonly error: ProtocolError };
