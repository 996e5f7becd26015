// The keys of podpace's own entry in a network configuration.

import { CONGESTION_CONTROL } from '../helper/protocol/names.ts';
import { DEFAULT_SOCKET } from '../helper/protocol/state-files.ts';
import { checkExemptions } from '../helper/wire/exemption.ts';
import { integer, optional, string, type Reader } from '../helper/protocol/shape.ts';
import { field, object, readKey, show } from './json.ts';
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

/** How a key is read: it has to be of a type, and then one of the values that can be used. */
interface Key<T> {
  readonly type: Reader<T | undefined>;
  readonly standard: T;
  readonly isUsable: (value: T) => boolean;
  readonly remedy: string;
}

function readSetting<T>(config: JsonObject, name: string, key: Key<T>): T {
  const value = readKey(config, name, key.type) ?? key.standard;
  if (key.isUsable(value)) return value;
  throw invalid(`Cannot use ${name}: it is ${show(value)}`, key.remedy);
}

const word = optional(string);
const count = optional(integer(0));

const SOCKET: Key<string> = {
  type: word,
  standard: DEFAULT_SOCKET,
  isUsable: (socket) =>
    socket.startsWith('/') &&
    Buffer.byteLength(socket) <= MAX_SOCKET_PATH_BYTES &&
    !socket.includes('\0'),
  remedy: `give an absolute path of at most ${MAX_SOCKET_PATH_BYTES} bytes, or leave it out for ${DEFAULT_SOCKET}`,
};

const ON_UNENFORCEABLE: Key<string> = {
  type: word,
  standard: 'fail',
  isUsable: (value) => value === 'fail' || value === 'allow',
  remedy: 'set it to "fail" or "allow"',
};

/** A helper that is replaced, or whose container is started again, is there before that. */
const DEFAULT_AWAY_SECONDS = 120;
const MAX_AWAY_SECONDS = 86_400;

const HELPER_AWAY: Key<number> = {
  type: count,
  standard: DEFAULT_AWAY_SECONDS,
  isUsable: (seconds) => seconds <= MAX_AWAY_SECONDS,
  remedy: `set it between 0 and ${MAX_AWAY_SECONDS} seconds, or leave it out for ${DEFAULT_AWAY_SECONDS}`,
};

/** 0 as well as absence is the MTU of the default route's device. */
const MTU: Key<number> = {
  type: count,
  standard: 0,
  isUsable: (mtu) => mtu === 0 || (mtu >= MIN_MTU_BYTES && mtu <= MAX_MTU_BYTES),
  remedy: `set it between ${MIN_MTU_BYTES} and ${MAX_MTU_BYTES} bytes, or leave it out`,
};

const DEVICE: Key<string> = {
  type: word,
  standard: 'veth',
  isUsable: (value) => DEVICES.some((device) => device === value),
  remedy: 'set it to "veth", "netkit" or "auto"',
};

const HOST_ROUTING: Key<unknown> = {
  type: (value) => value,
  standard: false,
  isUsable: (value) => typeof value === 'boolean',
  remedy: 'set it to true or false',
};

const ALGORITHM: Key<string> = {
  type: word,
  standard: '',
  isUsable: (name) => name === '' || CONGESTION_CONTROL.test(name),
  remedy: 'name an algorithm of the kernel, such as "bbr" or "cubic", or leave it out',
};

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

/** Reads every key. Throws CniError 7 that names the key, its value and the remedy. */
export function parseSettings(config: JsonObject): Settings {
  const exempt = parseExempt(config);
  const congestionControl = readSetting(config, 'congestionControl', ALGORITHM);
  return {
    socket: readSetting(config, 'socket', SOCKET),
    onUnenforceable: readSetting(config, 'onUnenforceable', ON_UNENFORCEABLE) as OnUnenforceable,
    helperAwaySeconds: readSetting(config, 'helperAwaySeconds', HELPER_AWAY),
    device: readSetting(config, 'device', DEVICE) as Device,
    mtu: readSetting(config, 'mtu', MTU) || undefined,
    hostRouting: readSetting(config, 'hostRouting', HOST_ROUTING) as boolean,
    ...(exempt.length > 0 && { exempt }),
    ...(congestionControl !== '' && { congestionControl }),
  };
}

/**
 * The helper's socket, whatever else is wrong: for DEL, which must not fail over a configuration.
 */
export function socketOrDefault(config: JsonObject): string {
  try {
    return readSetting(config, 'socket', SOCKET);
  } catch {
    return DEFAULT_SOCKET;
  }
}

const ipam = optional(object({ type: word }));

/**
 * Name of the IPAM plugin. Its presence makes podpace a main plugin, which makes the interface;
 * without it podpace is chained and only caps. Throws CniError 7 for an ipam of a wrong type.
 */
export function ipamType(config: JsonObject): string | undefined {
  return readKey(config, 'ipam', ipam)?.type || undefined;
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
