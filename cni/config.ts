// The keys of podpace's own entry in a network configuration.

import { DEFAULT_SOCKET } from '../helper/protocol/state-files.ts';
import { checkExemptions } from '../helper/wire/exemption.ts';
import { field, optionalCount, optionalObject, optionalString, show } from './json.ts';
import {
  CniError,
  DEVICES,
  ErrorCode,
  isJsonObject,
  type Device,
  type JsonObject,
} from './types.ts';

/** Longest path that fits sockaddr_un (unix(7)), without its NUL. */
const MAX_SOCKET_PATH_BYTES = 107;

/** What every IPv4 host must take (RFC 1122, 3.3.3), to ETH_MAX_MTU of linux/if_ether.h. */
const MIN_MTU_BYTES = 576;
const MAX_MTU_BYTES = 65535;

/** What ADD does when the node cannot hold a cap. */
type OnUnenforceable = 'fail' | 'allow';

export interface Settings {
  readonly socket: string;
  readonly onUnenforceable: OnUnenforceable;
  /** For how long the helper may be away before STATUS says that pods with caps cannot be added. */
  readonly helperAwaySeconds: number;
  readonly device: Device;
  /** Bytes; absent means that of the default route's device. */
  readonly mtu: number | undefined;
  /** Packets go past the node's IP stack. */
  readonly hostRouting: boolean;
  /** Of TCP in the pod; absent: the node's. */
  readonly congestionControl?: string;
  /** Addresses to and from which the caps of its pods do not count. */
  readonly exempt?: readonly string[];
}

function invalid(message: string, remedy: string): CniError {
  return new CniError(ErrorCode.invalidConfig, message, remedy);
}

function parseSocket(config: JsonObject): string {
  const socket = optionalString(config, 'socket', 'socket') ?? DEFAULT_SOCKET;
  if (
    !socket.startsWith('/') ||
    Buffer.byteLength(socket) > MAX_SOCKET_PATH_BYTES ||
    socket.includes('\0')
  ) {
    throw invalid(
      `Cannot use socket: it is ${show(socket)}`,
      `give an absolute path of at most ${MAX_SOCKET_PATH_BYTES} bytes, or leave it out for ${DEFAULT_SOCKET}`,
    );
  }
  return socket;
}

function parseOnUnenforceable(config: JsonObject): OnUnenforceable {
  const value = optionalString(config, 'onUnenforceable', 'onUnenforceable') ?? 'fail';
  if (value === 'fail' || value === 'allow') return value;
  throw invalid(`Cannot use onUnenforceable: it is ${show(value)}`, 'set it to "fail" or "allow"');
}

/** A helper that is replaced, or whose container is started again, is there before that. */
const DEFAULT_AWAY_SECONDS = 120;
const MAX_AWAY_SECONDS = 86_400;

function parseHelperAway(config: JsonObject): number {
  const seconds =
    optionalCount(config, 'helperAwaySeconds', 'helperAwaySeconds') ?? DEFAULT_AWAY_SECONDS;
  if (seconds <= MAX_AWAY_SECONDS) return seconds;
  throw invalid(
    `Cannot use helperAwaySeconds: it is ${seconds}`,
    `set it between 0 and ${MAX_AWAY_SECONDS} seconds, or leave it out for ${DEFAULT_AWAY_SECONDS}`,
  );
}

function parseMtu(config: JsonObject): number | undefined {
  const mtu = optionalCount(config, 'mtu', 'mtu') ?? 0;
  if (mtu === 0) return undefined;
  if (mtu >= MIN_MTU_BYTES && mtu <= MAX_MTU_BYTES) return mtu;
  throw invalid(
    `Cannot use mtu: it is ${mtu}`,
    `set it between ${MIN_MTU_BYTES} and ${MAX_MTU_BYTES} bytes, or leave it out`,
  );
}

/** The helper takes a request of 64 KiB at most. */
const MAX_EXEMPT = 1000;

function parseExempt(config: JsonObject): string[] {
  const value = field(config, 'exempt') ?? [];
  const remedy = 'give a list such as ["10.0.0.0/8", "2001:db8::/32", "!10.1.0.0/16"]';
  if (!Array.isArray(value))
    throw invalid(`Cannot use exempt: it is ${show(value)}, not a list`, remedy);
  if (value.length > MAX_EXEMPT) {
    throw invalid(
      `Cannot use exempt: it has ${value.length} entries, more than ${MAX_EXEMPT}`,
      'give long lists to podpaced: "exempt" in its configuration holds for all pods of the node',
    );
  }
  try {
    return checkExemptions(value);
  } catch (error) {
    throw invalid(`Cannot use exempt: ${(error as Error).message}`, remedy);
  }
}

function parseDevice(config: JsonObject): Device {
  const value = optionalString(config, 'device', 'device') ?? 'veth';
  const device = DEVICES.find((known) => known === value);
  if (device !== undefined) return device;
  throw invalid(`Cannot use device: it is ${show(value)}`, 'set it to "veth", "netkit" or "auto"');
}

function parseHostRouting(config: JsonObject): boolean {
  const value = field(config, 'hostRouting') ?? false;
  if (typeof value === 'boolean') return value;
  throw invalid(`Cannot use hostRouting: it is ${show(value)}`, 'set it to true or false');
}

/** TCP_CA_NAME_MAX of linux/tcp.h is 16, its NUL included. */
const CONGESTION_CONTROL = /^[a-zA-Z0-9_-]{1,15}$/;

function parseCongestionControl(config: JsonObject): string | undefined {
  const value = optionalString(config, 'congestionControl', 'congestionControl');
  if (value === undefined || value === '' || CONGESTION_CONTROL.test(value))
    return value || undefined;
  throw invalid(
    `Cannot use congestionControl: it is ${show(value)}`,
    'name an algorithm of the kernel, such as "bbr" or "cubic", or leave it out',
  );
}

/** Reads every key. Throws CniError 7 that names the key, its value and the remedy. */
export function parseSettings(config: JsonObject): Settings {
  const exempt = parseExempt(config);
  const congestionControl = parseCongestionControl(config);
  return {
    socket: parseSocket(config),
    onUnenforceable: parseOnUnenforceable(config),
    helperAwaySeconds: parseHelperAway(config),
    device: parseDevice(config),
    mtu: parseMtu(config),
    hostRouting: parseHostRouting(config),
    ...(exempt.length > 0 && { exempt }),
    ...(congestionControl !== undefined && { congestionControl }),
  };
}

/**
 * The helper's socket, whatever else is wrong: for DEL, which must not fail over a configuration.
 */
export function socketOrDefault(config: JsonObject): string {
  try {
    return parseSocket(config);
  } catch {
    return DEFAULT_SOCKET;
  }
}

/**
 * Name of the IPAM plugin. Its presence makes podpace a main plugin, which makes the interface;
 * without it podpace is chained and only caps. Throws CniError 7 for an ipam of a wrong type.
 */
export function ipamType(config: JsonObject): string | undefined {
  const ipam = optionalObject(config, 'ipam', 'ipam');
  if (ipam === undefined) return undefined;
  const type = optionalString(ipam, 'type', 'ipam.type');
  return type === '' ? undefined : type;
}

/** prevResult as it came, or undefined. */
export function previousResult(config: JsonObject): unknown {
  return field(config, 'prevResult') ?? undefined;
}

/** An attachment as GC names those that live. */
export interface ValidAttachment {
  readonly containerId: string;
  readonly ifname: string;
}

/**
 * The attachments that live, or undefined when the runtime does not say (then nothing may be taken
 * for stale). Throws CniError 7: a list that cannot be read must not look like an empty one.
 */
export function validAttachments(config: JsonObject): readonly ValidAttachment[] | undefined {
  const key = 'cni.dev/valid-attachments';
  const list = config[key];
  if (list === undefined || list === null) return undefined;
  const isList = Array.isArray(list);
  const entries = isList ? (list as readonly unknown[]) : [list];
  return entries.map((entry) => {
    const object = isList && isJsonObject(entry) ? entry : {};
    const [containerId, ifname] = [field(object, 'containerID'), field(object, 'ifname')];
    if (typeof containerId === 'string' && typeof ifname === 'string')
      return { containerId, ifname };
    throw invalid(
      `Cannot use ${key}: it has ${show(entry)}, not {"containerID", "ifname"}`,
      'nothing was removed; this is a defect of the runtime',
    );
  });
}
