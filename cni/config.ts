// The keys of podpace's own entry in a network configuration.

import { checkExemptions } from '../helper/wire/exemption.ts';
import { field, optionalCount, optionalObject, optionalString, show } from './json.ts';
import { CniError, ErrorCode, isJsonObject, type JsonObject } from './types.ts';

/** Where the helper listens unless the configuration says otherwise. */
export const DEFAULT_SOCKET = '/run/podpace/helper.sock';

/** Longest path that fits sockaddr_un (unix(7)), without its NUL. */
const MAX_SOCKET_PATH_BYTES = 107;

/** What IFLA_MTU of a veth accepts (drivers/net/veth.c): IPv4's least to ETH_MAX_MTU. */
const MIN_MTU_BYTES = 68;
const MAX_MTU_BYTES = 65535;

/** What ADD does when the node cannot hold a cap. */
type OnUnenforceable = 'fail' | 'allow';

export interface Settings {
  readonly socket: string;
  readonly onUnenforceable: OnUnenforceable;
  /** Bytes; absent means that of the default route's device. */
  readonly mtu: number | undefined;
  /** Addresses to and from which the caps of its pods do not count. */
  readonly exempt?: readonly string[];
}

function invalid(message: string, remedy: string): CniError {
  return new CniError(ErrorCode.invalidConfig, message, remedy);
}

function parseSocket(config: JsonObject): string {
  const socket = optionalString(config, 'socket', 'socket') ?? DEFAULT_SOCKET;
  if (!socket.startsWith('/') || Buffer.byteLength(socket) > MAX_SOCKET_PATH_BYTES || socket.includes('\0')) {
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
  if (!Array.isArray(value)) throw invalid(`Cannot use exempt: it is ${show(value)}, not a list`, remedy);
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

function requireSupportedDevice(config: JsonObject): void {
  const device = optionalString(config, 'device', 'device') ?? 'veth';
  if (device === 'veth' || device === 'auto') return;
  if (device === 'netkit') {
    throw new CniError(
      ErrorCode.unsupportedField,
      'Cannot use device "netkit": this version of podpace does not support it',
      'set device to "veth" or "auto"',
    );
  }
  throw invalid(`Cannot use device: it is ${show(device)}`, 'set it to "veth" or "auto"');
}

/** Refuses what a later version will do: a key that changes nothing would be a silent lie. */
function refuseUnsupported(config: JsonObject): void {
  for (const key of ['hostRouting', 'congestionControl']) {
    const value = field(config, key);
    if (value === undefined || value === null || value === false) continue;
    throw new CniError(
      ErrorCode.unsupportedField,
      `Cannot use ${key} ${show(value)}: this version of podpace does not support it`,
      `remove ${key} from the network configuration`,
    );
  }
}

/** Reads every key. Throws CniError 7 or 2 that names the key, its value and the remedy. */
export function parseSettings(config: JsonObject): Settings {
  requireSupportedDevice(config);
  refuseUnsupported(config);
  const exempt = parseExempt(config);
  return {
    socket: parseSocket(config),
    onUnenforceable: parseOnUnenforceable(config),
    mtu: parseMtu(config),
    ...(exempt.length > 0 && { exempt }),
  };
}

/** The helper's socket, whatever else is wrong: for DEL, which must not fail over a configuration. */
export function socketOrDefault(config: JsonObject): string {
  try {
    return parseSocket(config);
  } catch {
    return DEFAULT_SOCKET;
  }
}

/**
 * Name of the IPAM plugin. Its presence makes podpace a main plugin, which makes the interface; without it podpace
 * is chained and only caps. Throws CniError 7 for an ipam of a wrong type.
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
 * The attachments that live, or undefined when the runtime does not say (then nothing may be taken for stale).
 * Throws CniError 7: a list that cannot be read must not look like an empty one.
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
    if (typeof containerId === 'string' && typeof ifname === 'string') return { containerId, ifname };
    throw invalid(
      `Cannot use ${key}: it has ${show(entry)}, not {"containerID", "ifname"}`,
      'nothing was removed; this is a defect of the runtime',
    );
  });
}
