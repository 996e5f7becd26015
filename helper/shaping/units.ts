// Rates, sizes and durations as people write and read them. Prefixes are decimal: k is 1000.

/** A number with a unit that cannot be understood; the message names it and what is allowed. */
export class UnitError extends Error {
  override readonly name = 'UnitError';
}

const PREFIXES: Readonly<Record<string, number>> = { k: 1e3, m: 1e6, g: 1e9, t: 1e12, p: 1e15 };

/** The exact product when it is a whole number: 0.1 * 1e6 in floating point may be none. */
function scaled(digits: string, factor: number): number | undefined {
  const product = Number(digits) * factor;
  const rounded = Math.round(product);
  return Math.abs(product - rounded) <= rounded * Number.EPSILON ? rounded : undefined;
}

/**
 * Bits in a text like `800`, `100k`, `1.5M`, `10Mbit`; upper and lower case alike. Throws
 * UnitError.
 */
function parseBits(text: string, suffix: RegExp, what: string): number {
  const [, digits, prefix] =
    /^(\d+(?:\.\d+)?)([kmgtp]?)$/i.exec(text.trim().replace(suffix, '')) ?? [];
  const bits =
    digits === undefined ? undefined : scaled(digits, PREFIXES[(prefix ?? '').toLowerCase()] ?? 1);
  if (bits !== undefined && Number.isSafeInteger(bits)) return bits;
  throw new UnitError(`Cannot read the ${what} ${JSON.stringify(text)}`);
}

/** Bits per second in a text like `10M`, `2.5Gbit` or `1000bit/s`. Throws UnitError. */
export function parseRate(text: string): number {
  try {
    return parseBits(text, /bit(?:\/s)?$/i, 'rate');
  } catch (error) {
    throw new UnitError(
      `${(error as Error).message}: write bits per second, such as 800k, 10M or 2.5G`,
    );
  }
}

/** Bits in a text like `100k` or `8Mbit`. Throws UnitError. */
export function parseBurst(text: string): number {
  try {
    return parseBits(text, /bit$/i, 'burst');
  } catch (error) {
    throw new UnitError(`${(error as Error).message}: write bits, such as 100k or 8M`);
  }
}

const DURATION_UNITS: Readonly<Record<string, number>> = { ns: 1, us: 1e3, ms: 1e6, s: 1e9 };

/**
 * Nanoseconds in a text like `50ms`, `500us` or `1.5s`; the unit must be there. Throws UnitError.
 */
export function parseDuration(text: string): number {
  const [, digits, unit] = /^(\d+(?:\.\d+)?)\s*(ns|us|ms|s)$/.exec(text.trim()) ?? [];
  const durationNs =
    digits === undefined ? undefined : scaled(digits, DURATION_UNITS[unit ?? ''] ?? 0);
  if (durationNs !== undefined && Number.isSafeInteger(durationNs)) return durationNs;
  throw new UnitError(
    `Cannot read the duration ${JSON.stringify(text)}: write it with its unit, such as 500us, 50ms or 1s`,
  );
}

function inLargestUnit(value: number, units: readonly string[]): string {
  let rest = value;
  let unit = 0;
  while (rest >= 1000 && unit < units.length - 1) {
    rest /= 1000;
    unit += 1;
  }
  return `${Number(rest.toFixed(3))} ${units[unit]}`;
}

/** A rate for people: the largest unit, three digits after the point. */
export function formatRate(bitsPerSec: number): string {
  return inLargestUnit(bitsPerSec, ['bit/s', 'kbit/s', 'Mbit/s', 'Gbit/s', 'Tbit/s', 'Pbit/s']);
}

/** A duration for people, as formatRate does. */
export function formatDuration(durationNs: number): string {
  return inLargestUnit(durationNs, ['ns', 'us', 'ms', 's']);
}

/** A number of bytes for people, as formatRate does. */
export function formatBytes(bytes: number): string {
  return inLargestUnit(bytes, ['B', 'kB', 'MB', 'GB', 'TB', 'PB']);
}
