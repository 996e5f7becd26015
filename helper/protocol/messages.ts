// The conversation between the CNI executable and the helper: one request, one response, each one JSON object
// on one line. This file says what the objects look like; frame.ts how they travel.

/** Both sides must speak the same number; it changes with every incompatible change of the messages. */
export const PROTOCOL_VERSION = 1;

/** Caps on one direction of an attachment. */
export interface Cap {
  /** Bits per second on the wire (layer 2 without preamble and checksum). */
  readonly rateBitsPerSec: number;
  /** Bits that may leave at once after idleness; absent means the default (DESIGN: 1 ms of the rate). */
  readonly burstBits?: number;
}

/** Egress is out of the pod, ingress into it. A direction without a cap is absent. */
export interface Caps {
  readonly egress?: Cap;
  readonly ingress?: Cap;
}

/** What ADD creates and DEL removes: names one attachment on the node. */
export interface AttachmentKey {
  readonly containerId: string;
  readonly ifname: string;
}

export interface AttachParams extends AttachmentKey {
  /** Name of the network in the conflist. */
  readonly network: string;
  /** Node-side end of the pod's pair. */
  readonly hostInterface: string;
  /** Path of the pod's network namespace, as CNI_NETNS gave it. */
  readonly sandbox: string;
  readonly caps: Caps;
}

/** Names an attachment in one string; neither part can hold a colon. Strings compare by UTF-16 units. */
export function keyOf({ containerId, ifname }: AttachmentKey): string {
  return `${containerId}:${ifname}`;
}

export interface AttachResult {
  /** Why a cap is not enforced although the call succeeded; empty when everything is. */
  readonly degraded: readonly string[];
}

export interface CheckParams extends AttachParams {}

/**
 * Attachments of a network that are to stay. A long list comes in parts, since a message is limited: then each part
 * speaks of the attachments from `from` up to but not including `to` only, in the order of `keyOf`.
 */
export interface GcParams {
  readonly network: string;
  readonly valid: readonly AttachmentKey[];
  /** Absent in the first part. */
  readonly from?: string;
  /** Absent in the last part. */
  readonly to?: string;
}

/** State of one exit as `status` reports it. */
export interface ExitStatus {
  readonly name: string;
  readonly ifindex: number;
  /** Queues that carry a leaf qdisc. */
  readonly queues: number;
  /** `mq`, `fq`, or what stands there instead. */
  readonly rootQdisc: string;
  readonly leafQdiscs: readonly string[];
  readonly departureProgram: boolean;
  /** Empty when caps are enforced here; else the reasons, each with its remedy. */
  readonly problems: readonly string[];
}

export interface StatusResult {
  readonly version: string;
  readonly protocolVersion: number;
  readonly kernel: string;
  /** `ok` when every cap is enforced (or there is none); `degraded` otherwise. */
  readonly state: 'ok' | 'degraded';
  readonly problems: readonly string[];
  readonly exits: readonly ExitStatus[];
  readonly attachments: number;
  readonly horizonNs: number;
  readonly startedAt: string;
}

/** One line of `list`. */
export interface AttachmentStatus extends AttachParams {
  readonly hostInterfaceIndex: number;
  readonly egressAggregateId?: number;
  readonly ingressAggregateId?: number;
  readonly problems: readonly string[];
}

/** `list` answers in pages, since a message is limited. */
export interface ListParams {
  /** `next` of the page before; absent for the first. */
  readonly after?: string;
}

export interface ListResult {
  /** In the order of `keyOf`. */
  readonly attachments: readonly AttachmentStatus[];
  /** Key of the last one here, when more follow. */
  readonly next?: string;
}

/** One thing that `probe` looked for. */
export interface ProbeItem {
  readonly name: string;
  readonly ok: boolean;
  /** What was found. */
  readonly found: string;
  /** What to do about it; absent when ok. */
  readonly remedy?: string;
}

export interface ProbeResult {
  readonly items: readonly ProbeItem[];
}

export interface GcResult {
  readonly removed: readonly AttachmentKey[];
}

export interface UninstallResult {
  readonly restoredExits: readonly string[];
  readonly detached: number;
}

/** Every method with its parameters and its result. */
export interface Methods {
  attach: { params: AttachParams; result: AttachResult };
  detach: { params: AttachmentKey; result: Record<string, never> };
  check: { params: CheckParams; result: Record<string, never> };
  gc: { params: GcParams; result: GcResult };
  status: { params: Record<string, never>; result: StatusResult };
  list: { params: ListParams; result: ListResult };
  probe: { params: Record<string, never>; result: ProbeResult };
  uninstall: { params: Record<string, never>; result: UninstallResult };
}

export type Method = keyof Methods;

/**
 * Causes a caller may act on.
 * - `bad-request`: the message itself is wrong; a bug or another version.
 * - `protocol-version`: the two sides speak different versions.
 * - `unenforceable`: this node cannot hold the cap (no sch_fq, no uplink, kernel too old, foreign qdisc).
 * - `not-found`: the interface or the attachment is not there.
 * - `check-failed`: something that an attachment needs is missing.
 * - `busy`: the helper is shutting down; try again.
 * - `internal`: anything else, with the kernel's own words.
 */
export type ErrorCode =
  'bad-request' | 'protocol-version' | 'unenforceable' | 'not-found' | 'check-failed' | 'busy' | 'internal';

export interface ProtocolError {
  readonly code: ErrorCode;
  /** What is wrong, naming the value. */
  readonly message: string;
  /** What the operator can do. */
  readonly remedy?: string;
}

export interface Request<M extends Method = Method> {
  readonly version: number;
  readonly method: M;
  readonly params: Methods[M]['params'];
}

export type Response<M extends Method = Method> =
  | { readonly version: number; readonly result: Methods[M]['result'] }
  | { readonly version: number; readonly error: ProtocolError };
