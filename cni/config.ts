// The keys of podpace's own entry in a network configuration.

import { isEmpty, networkReaders, usable } from '../helper/protocol/network-keys.ts';
import {
  integer,
  optional,
  string,
  type ReadFields,
  type Reader,
} from '../helper/protocol/shape.ts';
import { DEFAULT_SOCKET } from '../helper/protocol/state-files.ts';
import { field, object, readAt, readKey, show } from './json.ts';
import { CniError, DEVICES, ErrorCode, isJsonObject, type JsonObject } from './types.ts';

/** Longest path that fits sockaddr_un (unix(7)), without its NUL. */
const MAX_SOCKET_PATH_BYTES = 107;

/** What every IPv4 host must take (RFC 1122, 3.3.3), to ETH_MAX_MTU of linux/if_ether.h. */
const MIN_MTU_BYTES = 576;
const MAX_MTU_BYTES = 65535;

/** A helper that is replaced, or whose container is started again, is there before that. */
const DEFAULT_AWAY_SECONDS = 120;
const MAX_AWAY_SECONDS = 86_400;

/** A key whose errors come with the remedy. */
function key<T>(read: Reader<T>, remedy: string): Reader<T> {
  return (value, place) => readAt(value, place, read, remedy);
}

/** A key with what stands for its absence. */
function or<T>(standard: T, read: Reader<T>): Reader<T> {
  return (value, place) => (value === undefined ? standard : read(value, place));
}

/** A key that is one of some words, of which the first stands for its absence. */
function word<T extends string>(words: readonly [T, ...T[]]): Reader<T> {
  const quoted = words.map((each) => `"${each}"`);
  const remedy = `set it to ${quoted.slice(0, -1).join(', ')} or ${quoted.at(-1)}`;
  const isWord = (value: string): boolean => words.some((each) => each === value);
  return or(words[0], key(usable(string, isWord) as Reader<T>, remedy));
}

function isSocketPath(socket: string): boolean {
  const isFitting = Buffer.byteLength(socket) <= MAX_SOCKET_PATH_BYTES;
  return socket.startsWith('/') && isFitting && !socket.includes('\0');
}

/** 0 as well as absence is the MTU of the default route's device. */
const mtu = key(
  usable(integer(0), (bytes) => bytes === 0 || (bytes >= MIN_MTU_BYTES && bytes <= MAX_MTU_BYTES)),
  `set it between ${MIN_MTU_BYTES} and ${MAX_MTU_BYTES} bytes, or leave it out`,
);

const anything: Reader<unknown> = (value) => value;

const KEYS = {
  socket: or(
    DEFAULT_SOCKET,
    key(
      usable(string, isSocketPath),
      `give an absolute path of at most ${MAX_SOCKET_PATH_BYTES} bytes, or leave it out for ${DEFAULT_SOCKET}`,
    ),
  ),
  /** What ADD does when the node cannot hold a cap. */
  onUnenforceable: word(['fail', 'allow']),
  /** For how long the helper may be away before STATUS says that pods with caps cannot be added. */
  helperAwaySeconds: or(
    DEFAULT_AWAY_SECONDS,
    key(
      usable(integer(0), (seconds) => seconds <= MAX_AWAY_SECONDS),
      `set it between 0 and ${MAX_AWAY_SECONDS} seconds, or leave it out for ${DEFAULT_AWAY_SECONDS}`,
    ),
  ),
  device: word(DEVICES),
  /** Bytes; absent means that of the default route's device. */
  mtu: ((value, place) => mtu(value ?? 0, place) || undefined) as Reader<number | undefined>,
  /** Packets go past the node's IP stack. */
  hostRouting: or(
    false,
    key(
      usable(anything, (value) => typeof value === 'boolean') as Reader<boolean>,
      'set it to true or false',
    ),
  ),
  ...networkReaders(({ configured, remedy }) => {
    const read = key(configured, remedy);
    return (value, place) => (isEmpty(value) ? undefined : read(value, place));
  }),
};

export type Settings = ReadFields<typeof KEYS>;

const settings = object(KEYS);

/** Reads every key. Throws CniError 7 that names the key, its value and the remedy. */
export function parseSettings(config: JsonObject): Settings {
  return settings(config, '');
}

/**
 * The helper's socket, whatever else is wrong: for DEL, which must not fail over a configuration.
 */
export function socketOrDefault(config: JsonObject): string {
  try {
    return readKey(config, 'socket', KEYS.socket);
  } catch {
    return DEFAULT_SOCKET;
  }
}

const ipam = optional(object({ type: optional(string) }));

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
    throw new CniError(
      ErrorCode.invalidConfig,
      `Cannot use ${key}: it has ${show(entry)}, not {"containerID", "ifname"}`,
      'nothing was removed; this is a defect of the runtime',
    );
  });
}
