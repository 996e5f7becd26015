// How podpaced is told what to do: defaults, a JSON file, flags; the later wins. Pure.

import { LOG_FORMATS, LOG_LEVELS, type LogFormat, type LogLevel } from './log-lines.ts';
import { NAMESPACE_PATTERN } from './protocol/cap-sources.ts';
import {
  CAP_RANGES,
  MAX_HORIZON_NS,
  MAX_INTERVAL_NS,
  MIN_HORIZON_NS,
  MIN_INTERVAL_NS,
} from './protocol/ranges.ts';
import { listenAddress, listenAddressOrOff } from './protocol/listen-address.ts';
import { DEFAULT_SOCKET, RUN_DIRECTORY } from './protocol/state-files.ts';
import { FOREIGN_QDISC, type ForeignQdisc } from './shaping/holder-qdiscs.ts';
import { MAX_TUN_OVERHEAD_BYTES, TUN_OVERHEAD_BYTES } from './shaping/tunnel-layers.ts';
import { NODE_TRAFFIC, type NodeTraffic } from './shaping/policing.ts';
import { exempt } from './protocol/network-keys.ts';
import {
  anyObject,
  boolean,
  fail,
  isJsonObject,
  matching,
  object,
  oneOf,
  optional,
  ShapeError,
  where,
  type JsonObject,
  type ReadFields,
  type Reader,
  type Shape,
} from './protocol/shape.ts';
import type { CapRule } from './shaping/cap-rules.ts';
import { parseRate } from './shaping/units.ts';
import { isInterfaceName } from './wire/interface-name.ts';
import { contradictionIn, DEFAULTS, type NodeDefaults } from './shaping/rates.ts';

/** A setting that cannot be used; the message names it, its value and what is allowed. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

const NS_PER_MS = 1_000_000;

const absolutePath: Reader<string> = (value, place) =>
  typeof value === 'string' && value.startsWith('/')
    ? value
    : fail(place, 'an absolute path', value);

/** Flags are text. */
function numberIn(least: number, most: number): Reader<number> {
  return (value, place) => {
    const number = typeof value === 'string' && value.trim() !== '' ? Number(value) : value;
    const isIn = typeof number === 'number' && number >= least && number <= most;
    return isIn ? number : fail(place, `a number from ${least} to ${most}`, value);
  };
}

/** One may stand for a list of one. */
function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [value];
}

const interfaceNames: Reader<readonly string[]> = (value, place) => {
  const names = listOf(value).filter((name) => typeof name === 'string' && isInterfaceName(name));
  return names.length > 0 && names.length === listOf(value).length
    ? (names as string[])
    : fail(place, 'interface names or "auto"', value);
};

const rateText: Reader<number> = (value, place) => {
  const [least, most] = CAP_RANGES.rateBitsPerSec;
  const expected = 'a rate from 1k to 1P such as 800k, 10M or 2.5G';
  let rate = Number.NaN;
  try {
    rate = typeof value === 'string' ? parseRate(value) : rate;
  } catch {
    // It is said below what it should be.
  }
  return rate >= least && rate <= most ? rate : fail(place, expected, value);
};

/** An object of these fields and no others: a default that is misspelt would hold for nobody. */
function onlyOf<S extends Shape>(shape: S): Reader<ReadFields<S>> {
  const read = object(shape);
  return (value, place) => {
    const unknown = Object.keys(anyObject(value, place)).find((key) => !Object.hasOwn(shape, key));
    if (unknown !== undefined) fail(place, `of ${Object.keys(shape).join(', ')}`, unknown);
    return read(value, place);
  };
}

const capLimits = where(
  onlyOf({ default: optional(rateText), most: optional(rateText) }),
  ({ default: standard = 0, most = Infinity }) => standard <= most,
  'a default that is not above most',
);
const capRule = onlyOf({
  namespace: matching(NAMESPACE_PATTERN, 'a pattern of namespaces such as team-*'),
  egress: optional(capLimits),
  ingress: optional(capLimits),
});

/** As a flag, each is a JSON text. */
const capRules: Reader<readonly CapRule[]> = (value, place) =>
  listOf(value).map((rule, index) => {
    const at = `${place}[${index}]`;
    if (typeof rule !== 'string') return capRule(rule, at);
    try {
      return capRule(JSON.parse(rule), at);
    } catch (error) {
      throw error instanceof ShapeError
        ? error
        : new ShapeError(`"${at}" must be JSON, got ${rule}`);
    }
  });

const aqmTargetMs = numberIn(0, MAX_HORIZON_NS / NS_PER_MS);

const httpUrl: Reader<string> = (value, place) => {
  const isHttp = typeof value === 'string' && /^https?:\/\//.test(value) && URL.canParse(value);
  return isHttp ? value : fail(place, 'a URL of http or https', value);
};

interface Setting<T> {
  readonly standard: T;
  readonly read: Reader<T>;
  /** What its flag takes; nothing where it is a switch. */
  readonly takes?: string;
  /** All that it takes, where these are few. */
  readonly choices?: readonly string[];
  /** What --help says of it. */
  readonly help: string;
}

function setting<T>(
  standard: NoInfer<T>,
  read: Reader<T>,
  more: Omit<Setting<T>, 'standard' | 'read'>,
): Setting<T> {
  return { standard, read, ...more };
}

/** Each is a key of the file, and a flag: `horizonMs` is `--horizon-ms`. */
const SETTINGS = {
  socket: setting(DEFAULT_SOCKET, absolutePath, {
    ...{ takes: '<path>', help: 'unix socket of the helper' },
  }),
  stateDir: setting(RUN_DIRECTORY, absolutePath, {
    ...{ takes: '<path>', help: 'where records are kept' },
  }),
  pinDir: setting('/sys/fs/bpf/podpace', absolutePath, {
    ...{ takes: '<path>', help: 'where BPF objects are pinned' },
  }),
  /** Never in a container: it would end with that. */
  mountBpffs: setting(false, boolean, {
    help: 'mount bpffs above the pin directory where there is none; not in a container',
  }),
  privateBpffs: setting(false, boolean, {
    help: "accept a bpffs that is not the node's: caps end with this mount namespace",
  }),
  /** `auto` stands for every device on which pods' traffic can leave. */
  uplink: setting(['auto'], interfaceNames, {
    ...{ takes: '<name>', help: 'device on which traffic leaves the node; repeatable' },
  }),
  foreignQdisc: setting<ForeignQdisc>('respect', oneOf(FOREIGN_QDISC), {
    ...{ takes: '<policy>', choices: FOREIGN_QDISC },
    help: 'where somebody configured a qdisc: respect it, without a cap there, or replace it',
  }),
  nodeTraffic: setting<NodeTraffic>('cap', oneOf(NODE_TRAFFIC), {
    ...{ takes: '<policy>', choices: NODE_TRAFFIC },
    help: 'what pods send to the node itself: cap it, or leave it free',
  }),
  /** Nobody else knows what such a process sends. */
  tunOverheadBytes: setting(
    TUN_OVERHEAD_BYTES,
    where(numberIn(0, MAX_TUN_OVERHEAD_BYTES), Number.isInteger, 'a whole number'),
    {
      takes: '<number>',
      help: 'what is charged for each packet that a process reads from a tun or tap',
    },
  ),
  exempt: setting([], (value, place) => exempt(listOf(value), place), {
    takes: '<cidr>',
    help: 'addresses to and from which no cap counts, with ! in front an exception; repeatable',
  }),
  horizonMs: setting(
    DEFAULTS.horizonNs / NS_PER_MS,
    numberIn(MIN_HORIZON_NS / NS_PER_MS, MAX_HORIZON_NS / NS_PER_MS),
    { takes: '<number>', help: 'longest wait of a packet' },
  ),
  /** 0, written also as `off`, turns the AQM off. */
  aqmTargetMs: setting(
    DEFAULTS.aqmTargetNs / NS_PER_MS,
    (value, place) => (value === 'off' ? 0 : aqmTargetMs(value, place)),
    { takes: '<number>', help: 'queueing time that the AQM tolerates, or off' },
  ),
  aqmIntervalMs: setting(
    DEFAULTS.aqmIntervalNs / NS_PER_MS,
    numberIn(MIN_INTERVAL_NS / NS_PER_MS, MAX_INTERVAL_NS / NS_PER_MS),
    { takes: '<number>', help: 'how long it may last before the AQM acts' },
  ),
  /** The first whose pattern fits holds. */
  capRules: setting([], capRules, {
    takes: '<json>',
    help: 'defaults and ceilings of a namespace pattern, first fit wins; repeatable',
  }),
  kubernetes: setting(false, boolean, {
    help: 'follow the bandwidth annotations of running pods, and tell of caps by events',
  }),
  /** Empty: by what the kubelet puts into a pod. */
  kubeconfig: setting('', absolutePath, {
    ...{ takes: '<file>', help: 'how to reach the API server, for --kubernetes outside of a pod' },
  }),
  /** Empty: NODE_NAME of the environment. */
  nodeName: setting('', matching(/^[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?$/, 'the name of a node'), {
    takes: '<name>',
    help: 'name of this node in the cluster (default: NODE_NAME)',
  }),
  /** Empty: in none. */
  cniConfDir: setting('', absolutePath, {
    takes: '<dir>',
    help: 'keep podpace in the network list that the runtime takes of this directory',
  }),
  /** Empty: nowhere. */
  healthAddress: setting('', listenAddress, {
    takes: '<ip:port>',
    help: 'answer probes by HTTP there: /livez, /readyz',
  }),
  /** Where only the node's own processes reach it, since it names pods. */
  metricsAddress: setting('127.0.0.1:9844', listenAddressOrOff, {
    takes: '<ip:port>',
    help: 'serve metrics for Prometheus there, at /metrics, or off',
  }),
  /** Both or none. */
  metricsCertificate: setting('', absolutePath, {
    ...{ takes: '<file>', help: 'certificate (PEM) to serve metrics with by TLS' },
  }),
  metricsKey: setting('', absolutePath, {
    ...{ takes: '<file>', help: 'its private key (PEM)' },
  }),
  /** Empty: by OpenTelemetry's variables of the environment; without them nowhere. */
  otlpEndpoint: setting('', httpUrl, {
    ...{ takes: '<url>', help: 'push metrics there by OTLP, such as http://[::1]:4318/v1/metrics' },
  }),
  otlpSeconds: setting(60, numberIn(1, 3600), {
    ...{ takes: '<number>', help: 'pause between two pushes' },
  }),
  logLevel: setting<LogLevel>('info', oneOf(LOG_LEVELS), {
    ...{ takes: '<level>', choices: LOG_LEVELS },
    ...{ help: 'what is logged: error, warn or info, and what is graver' },
  }),
  logFormat: setting<LogFormat>('text', oneOf(LOG_FORMATS), {
    ...{ takes: '<format>', choices: LOG_FORMATS },
    ...{ help: 'lines of the log: text or json' },
  }),
  reconcileSeconds: setting(10, numberIn(1, 3600), {
    ...{ takes: '<number>', help: 'pause between repairs' },
  }),
};

export type HelperConfig = {
  readonly [K in keyof typeof SETTINGS]: (typeof SETTINGS)[K]['standard'];
};

function bySetting<T>(valueOf: (one: Setting<unknown>) => T): { [K in keyof HelperConfig]: T } {
  const values = Object.entries(SETTINGS).map(([key, one]) => [key, valueOf(one)]);
  return Object.fromEntries(values) as { [K in keyof HelperConfig]: T };
}

export const DEFAULT_CONFIG = bySetting(({ standard }) => standard) as HelperConfig;

/** The flags of the settings, as commander has them. */
export const FLAGS = Object.entries(SETTINGS).map(([key, { standard, takes, choices, help }]) => {
  const name = `--${key.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
  const first = typeof standard === 'object' ? standard[0] : standard;
  const shown = typeof first === 'object' ? '' : String(first ?? '');
  return {
    flag: takes === undefined ? name : `${name} ${takes}`,
    help: takes === undefined || shown === '' ? help : `${help} (default: ${shown})`,
    isRepeatable: Array.isArray(standard),
    ...(choices !== undefined && { choices }),
  };
});

const readKnown = object(bySetting(({ read }) => optional(read)));

/**
 * Settings from a file's JSON or from flags, checked. Throws ConfigError for an unknown key or a
 * bad value.
 */
export function readSettings(settings: JsonObject): Partial<HelperConfig> {
  for (const key of Object.keys(settings)) {
    if (Object.hasOwn(SETTINGS, key) || settings[key] === undefined) continue;
    throw new ConfigError(
      `Unknown setting "${key}": the settings are ${Object.keys(SETTINGS).join(', ')}`,
    );
  }
  try {
    return readKnown(settings, '') as Partial<HelperConfig>;
  } catch (error) {
    throw error instanceof ShapeError ? new ConfigError(error.message) : error;
  }
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
  if (!isJsonObject(value)) throw new ConfigError('The configuration must be a JSON object');
  return readSettings(value);
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
  if ((config.metricsCertificate === '') !== (config.metricsKey === ''))
    throw new ConfigError('"metricsCertificate" and "metricsKey" go together: set both or none');
  const contradiction = contradictionIn(nodeDefaultsOf(config));
  if (contradiction === undefined) return config;
  throw new ConfigError(
    `Cannot use horizonMs ${config.horizonMs}, aqmTargetMs ${config.aqmTargetMs} and aqmIntervalMs ` +
      `${config.aqmIntervalMs} together: ${contradiction}`,
  );
}
