// How podpaced is told what to do: defaults, a JSON file, flags; the later wins. Pure.

import {
  MAX_HORIZON_NS,
  MAX_INTERVAL_NS,
  MIN_HORIZON_NS,
  MIN_INTERVAL_NS,
} from './protocol/ranges.ts';
import { DEFAULT_SOCKET, RUN_DIRECTORY } from './protocol/state-files.ts';
import { FOREIGN_QDISC, type ForeignQdisc } from './shaping/holder-qdiscs.ts';
import { MAX_TUN_OVERHEAD_BYTES, TUN_OVERHEAD_BYTES } from './shaping/tunnel-layers.ts';
import { NODE_TRAFFIC, type NodeTraffic } from './shaping/policing.ts';
import {
  booleanOf,
  exemptOf,
  fail,
  oneOf,
  ShapeError,
  type Fields,
  type Reader,
} from './protocol/validate.ts';
import { isInterfaceName } from './wire/interface-name.ts';
import { contradictionIn, DEFAULTS, type NodeDefaults } from './shaping/rates.ts';

export interface HelperConfig {
  readonly socket: string;
  readonly stateDir: string;
  readonly pinDir: string;
  /**
   * Mount bpffs above the pin directory where there is none. Never in a container: it would end
   * with that.
   */
  readonly mountBpffs: boolean;
  /** Accept a bpffs that is not the node's. */
  readonly privateBpffs: boolean;
  /** Names of uplinks; `auto` stands for every device on which pods' traffic can leave. */
  readonly uplink: readonly string[];
  /** What to do where somebody configured a qdisc on the way of a cap. */
  readonly foreignQdisc: ForeignQdisc;
  /** Whether what pods send to the node itself belongs to their caps. */
  readonly nodeTraffic: NodeTraffic;
  /**
   * Charged for each packet that a process of the node reads from a tun or tap: nobody else knows
   * what it sends.
   */
  readonly tunOverheadBytes: number;
  /** Addresses to and from which no cap counts. */
  readonly exempt: readonly string[];
  /** Longest wait of a packet. */
  readonly horizonMs: number;
  /** Queueing time that the AQM tolerates; 0, written also as `off`, turns it off. */
  readonly aqmTargetMs: number;
  /** How long it may stay above the target before the AQM acts. */
  readonly aqmIntervalMs: number;
  /** Pause between two repairs of what somebody else changed. */
  readonly reconcileSeconds: number;
}

const NS_PER_MS = 1_000_000;

export const DEFAULT_CONFIG: HelperConfig = {
  socket: DEFAULT_SOCKET,
  stateDir: RUN_DIRECTORY,
  pinDir: '/sys/fs/bpf/podpace',
  mountBpffs: false,
  privateBpffs: false,
  uplink: ['auto'],
  foreignQdisc: 'respect',
  nodeTraffic: 'cap',
  tunOverheadBytes: TUN_OVERHEAD_BYTES,
  exempt: [],
  horizonMs: DEFAULTS.horizonNs / NS_PER_MS,
  aqmTargetMs: DEFAULTS.aqmTargetNs / NS_PER_MS,
  aqmIntervalMs: DEFAULTS.aqmIntervalNs / NS_PER_MS,
  reconcileSeconds: 10,
};

/** A setting that cannot be used; the message names it, its value and what is allowed. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

function absolutePathOf(fields: Fields, name: string): string {
  const value = fields[name];
  if (typeof value === 'string' && value.startsWith('/')) return value;
  fail(name, 'an absolute path', value);
}

/** Flags are text. */
function numberIn(least: number, most: number): Reader<number> {
  return (fields, name) => {
    const value = fields[name];
    const number = typeof value === 'string' && value.trim() !== '' ? Number(value) : value;
    if (typeof number === 'number' && number >= least && number <= most) return number;
    fail(name, `a number from ${least} to ${most}`, value);
  };
}

function wholeNumberIn(least: number, most: number): Reader<number> {
  const read = numberIn(least, most);
  return (fields, name) => {
    const number = read(fields, name);
    return Number.isInteger(number) ? number : fail(name, 'a whole number', fields[name]);
  };
}

/** One may stand for a list of one. */
function listOf(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [value];
}

function namesOf(fields: Fields, name: string): string[] {
  const list = listOf(fields[name]);
  if (
    list.length > 0 &&
    list.every((entry) => typeof entry === 'string' && isInterfaceName(entry))
  ) {
    return list as string[];
  }
  fail(name, 'interface names or "auto"', fields[name]);
}

const aqmTargetOf = numberIn(0, MAX_HORIZON_NS / NS_PER_MS);

const READERS: { readonly [K in keyof HelperConfig]: Reader<HelperConfig[K]> } = {
  socket: absolutePathOf,
  stateDir: absolutePathOf,
  pinDir: absolutePathOf,
  mountBpffs: booleanOf,
  privateBpffs: booleanOf,
  uplink: namesOf,
  foreignQdisc: oneOf(FOREIGN_QDISC),
  nodeTraffic: oneOf(NODE_TRAFFIC),
  tunOverheadBytes: wholeNumberIn(0, MAX_TUN_OVERHEAD_BYTES),
  exempt: (fields, name) => exemptOf({ [name]: listOf(fields[name]) }, name),
  horizonMs: numberIn(MIN_HORIZON_NS / NS_PER_MS, MAX_HORIZON_NS / NS_PER_MS),
  aqmTargetMs: (fields, name) => (fields[name] === 'off' ? 0 : aqmTargetOf(fields, name)),
  aqmIntervalMs: numberIn(MIN_INTERVAL_NS / NS_PER_MS, MAX_INTERVAL_NS / NS_PER_MS),
  reconcileSeconds: numberIn(1, 3600),
};

/**
 * Settings from a file's JSON or from flags, checked. Throws ConfigError for an unknown key or a
 * bad value.
 */
export function readSettings(settings: Fields): Partial<HelperConfig> {
  try {
    return knownSettings(settings);
  } catch (error) {
    throw error instanceof ShapeError ? new ConfigError(error.message) : error;
  }
}

function knownSettings(settings: Fields): Partial<HelperConfig> {
  const known: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(settings)) {
    if (value === undefined) continue;
    if (!Object.hasOwn(READERS, key)) {
      throw new ConfigError(
        `Unknown setting "${key}": the settings are ${Object.keys(READERS).join(', ')}`,
      );
    }
    known[key] = READERS[key as keyof HelperConfig](settings, key);
  }
  return known;
}

/**
 * The content of a configuration file. Throws ConfigError when it is no JSON object or has a bad
 * setting.
 */
export function parseConfigFile(text: string): Partial<HelperConfig> {
  let value: unknown;
  try {
    value = JSON.parse(text) as unknown;
  } catch (error) {
    throw new ConfigError(`Not JSON: ${(error as Error).message}`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new ConfigError('The configuration must be a JSON object');
  }
  return readSettings(value as Record<string, unknown>);
}

/** How caps are paced on a node of this configuration, in whole nanoseconds. */
export function nodeDefaultsOf({
  horizonMs,
  aqmTargetMs,
  aqmIntervalMs,
}: HelperConfig): NodeDefaults {
  return {
    horizonNs: Math.round(horizonMs * NS_PER_MS),
    aqmTargetNs: Math.round(aqmTargetMs * NS_PER_MS),
    aqmIntervalNs: Math.round(aqmIntervalMs * NS_PER_MS),
  };
}

/**
 * The whole configuration; later settings win. Throws ConfigError when settings contradict each
 * other.
 */
export function mergeConfig(...settings: readonly Partial<HelperConfig>[]): HelperConfig {
  const config: HelperConfig = Object.assign({}, DEFAULT_CONFIG, ...settings) as HelperConfig;
  const contradiction = contradictionIn(nodeDefaultsOf(config));
  if (contradiction === undefined) return config;
  throw new ConfigError(
    `Cannot use horizonMs ${config.horizonMs}, aqmTargetMs ${config.aqmTargetMs} and aqmIntervalMs ` +
      `${config.aqmIntervalMs} together: ${contradiction}`,
  );
}
