// Caps as runtimes pass them. Two places, four keys, any case of letters; the meaning of zeros and
// the first words of the errors are those of the reference bandwidth plugin, which podpace
// replaces. Where it is better not to do as that does, the table in test/kit/cni-deviations.ts says
// so.

import type { Cap, Caps } from '../helper/protocol/messages.ts';
import type { CapSource } from '../helper/protocol/cap-sources.ts';
import { CAP_RANGES } from '../helper/protocol/ranges.ts';
import { anyObject, optional } from '../helper/protocol/shape.ts';
import { field, hasField, isRawNumber, object, readKey, show } from './json.ts';
import { CniError, ErrorCode, type JsonObject } from './types.ts';

/** The reference plugin keeps bytes of burst in 32 bits and refuses a burst that fills them. */
const BURST_LIMIT_BITS = (2 ** 32 - 1) * 8;

const KEYS = ['ingressRate', 'ingressBurst', 'egressRate', 'egressBurst'] as const;
type Key = (typeof KEYS)[number];

/** Where the caps stand: at the top level, or in what the runtime added. */
interface Source {
  readonly object: JsonObject;
  /** Put before a key in errors. */
  readonly prefix: string;
}

function invalid(message: string, remedy: string): CniError {
  return new CniError(ErrorCode.invalidConfig, message, remedy);
}

const runtimeConfig = optional(object({ bandwidth: optional(anyObject) }));

/** The top level wins entirely as soon as any of the four keys is there, even with a zero. */
function capsSource(config: JsonObject): Source | undefined {
  if (capSourceOf(config) === 'conflist') return { object: config, prefix: '' };
  const bandwidth = readKey(config, 'runtimeConfig', runtimeConfig)?.bandwidth;
  return bandwidth && { object: bandwidth, prefix: 'runtimeConfig.bandwidth.' };
}

/**
 * The number of bits under a key; an absent or null one is 0. Beyond 2^53 it is Infinity: every
 * limit refuses it.
 */
function bits(source: Source, key: Key): number {
  const value = field(source.object, key);
  if (value === undefined || value === null) return 0;
  const isNegative =
    typeof value === 'number' ? value < 0 : isRawNumber(value) && show(value).startsWith('-');
  if (isRawNumber(value) && !isNegative) return Infinity;
  if (typeof value === 'number' && Number.isInteger(value) && !isNegative) return value;
  throw invalid(
    `Cannot use ${source.prefix}${key}: it is ${show(value)}, not a whole number of bits`,
    `write ${key} as a JSON number without sign, fraction or quotes`,
  );
}

function parseDirection(source: Source, direction: 'ingress' | 'egress'): Cap | undefined {
  const [rateKey, burstKey] = [`${direction}Rate`, `${direction}Burst`] as const;
  const rateBitsPerSec = bits(source, rateKey);
  const burstBits = bits(source, burstKey);
  const values =
    `${source.prefix}${rateKey} is ${show(field(source.object, rateKey) ?? 0)} and ` +
    `${source.prefix}${burstKey} is ${show(field(source.object, burstKey) ?? 0)}`;
  if (rateBitsPerSec === 0 && burstBits === 0) return undefined;
  if (rateBitsPerSec === 0) {
    throw invalid(
      `if burst is set, rate must also be set: ${values}`,
      `set ${rateKey}, in bits per second, or leave ${burstKey} out`,
    );
  }
  if (burstBits >= BURST_LIMIT_BITS) {
    throw invalid(
      `burst cannot be more than 4GB: ${values}`,
      `set ${burstKey}, in bits, below ${BURST_LIMIT_BITS}`,
    );
  }
  const [least, most] = CAP_RANGES.rateBitsPerSec;
  if (rateBitsPerSec < least || rateBitsPerSec > most) {
    throw invalid(
      `Cannot cap at ${show(field(source.object, rateKey))} bit/s: ${values}`,
      `set ${rateKey} between ${least} and ${most} bits per second`,
    );
  }
  return burstBits === 0 ? { rateBitsPerSec } : { rateBitsPerSec, burstBits };
}

/**
 * The caps of a network configuration: empty when there are none. Zeros mean no cap in that
 * direction, as containerd sends them, and a rate needs no burst. Bursts are passed on as they are,
 * placeholders of the runtimes included: the helper clamps them. Throws CniError 7 that names the
 * key, its value and the remedy.
 */
export function parseCaps(config: JsonObject): Caps {
  const source = capsSource(config);
  if (source === undefined) return {};
  const ingress = parseDirection(source, 'ingress');
  const egress = parseDirection(source, 'egress');
  return { ...(egress && { egress }), ...(ingress && { ingress }) };
}

/** Who asks for the caps of a configuration, or for none. */
export function capSourceOf(config: JsonObject): CapSource {
  return KEYS.some((key) => hasField(config, key)) ? 'conflist' : 'annotation';
}

/** True when there is something to enforce. */
export function hasCaps(caps: Caps): boolean {
  return caps.egress !== undefined || caps.ingress !== undefined;
}
