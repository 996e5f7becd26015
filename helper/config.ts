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
import { checkExemptions } from './wire/exemption.ts';
import { isInterfaceName } from './wire/interface-name.ts';
import { show } from './wire/show.ts';
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

function absolutePath(name: string, value: unknown): string {
  if (typeof value === 'string' && value.startsWith('/')) return value;
  throw new ConfigError(`"${name}" must be an absolute path, got ${show(value)}`);
}

function boolean(name: string, value: unknown): boolean {
  if (typeof value === 'boolean') return value;
  throw new ConfigError(`"${name}" must be true or false, got ${show(value)}`);
}

function numberIn(name: string, value: unknown, least: number, most: number): number {
  const number = typeof value === 'string' && value.trim() !== '' ? Number(value) : value;
  if (typeof number === 'number' && number >= least && number <= most) return number;
  throw new ConfigError(`"${name}" must be a number from ${least} to ${most}, got ${show(value)}`);
}

function wholeNumberIn(name: string, value: unknown, least: number, most: number): number {
  const number = numberIn(name, value, least, most);
  if (Number.isInteger(number)) return number;
  throw new ConfigError(`"${name}" must be a whole number, got ${show(value)}`);
}

function names(name: string, value: unknown): string[] {
  const list: unknown[] = Array.isArray(value) ? value : [value];
  if (
    list.length > 0 &&
    list.every((entry) => typeof entry === 'string' && isInterfaceName(entry))
  ) {
    return list as string[];
  }
  throw new ConfigError(`"${name}" must be interface names or "auto", got ${show(value)}`);
}

function cidrs(name: string, value: unknown): string[] {
  const list: unknown[] = Array.isArray(value) ? value : [value];
  try {
    return checkExemptions(list);
  } catch (error) {
    throw new ConfigError(`"${name}" must be CIDRs: ${(error as Error).message}`);
  }
}

const READERS: { readonly [K in keyof HelperConfig]: (value: unknown) => HelperConfig[K] } = {
  socket: (value) => absolutePath('socket', value),
  stateDir: (value) => absolutePath('stateDir', value),
  pinDir: (value) => absolutePath('pinDir', value),
  mountBpffs: (value) => boolean('mountBpffs', value),
  privateBpffs: (value) => boolean('privateBpffs', value),
  uplink: (value) => names('uplink', value),
  foreignQdisc: (value) => {
    const policy = FOREIGN_QDISC.find((name) => name === value);
    if (policy !== undefined) return policy;
    throw new ConfigError(
      `"foreignQdisc" must be ${FOREIGN_QDISC.join(' or ')}, got ${show(value)}`,
    );
  },
  nodeTraffic: (value) => {
    const found = NODE_TRAFFIC.find((name) => name === value);
    if (found !== undefined) return found;
    throw new ConfigError(`"nodeTraffic" must be ${NODE_TRAFFIC.join(' or ')}, got ${show(value)}`);
  },
  tunOverheadBytes: (value) => wholeNumberIn('tunOverheadBytes', value, 0, MAX_TUN_OVERHEAD_BYTES),
  exempt: (value) => cidrs('exempt', value),
  horizonMs: (value) =>
    numberIn('horizonMs', value, MIN_HORIZON_NS / NS_PER_MS, MAX_HORIZON_NS / NS_PER_MS),
  aqmTargetMs: (value) =>
    value === 'off' ? 0 : numberIn('aqmTargetMs', value, 0, MAX_HORIZON_NS / NS_PER_MS),
  aqmIntervalMs: (value) =>
    numberIn('aqmIntervalMs', value, MIN_INTERVAL_NS / NS_PER_MS, MAX_INTERVAL_NS / NS_PER_MS),
  reconcileSeconds: (value) => numberIn('reconcileSeconds', value, 1, 3600),
};

/**
 * Settings from a file's JSON or from flags, checked. Throws ConfigError for an unknown key or a
 * bad value.
 */
export function readSettings(settings: Readonly<Record<string, unknown>>): Partial<HelperConfig> {
  const known: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(settings)) {
    if (value === undefined) continue;
    if (!Object.hasOwn(READERS, key)) {
      throw new ConfigError(
        `Unknown setting "${key}": the settings are ${Object.keys(READERS).join(', ')}`,
      );
    }
    known[key] = READERS[key as keyof HelperConfig](value);
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
