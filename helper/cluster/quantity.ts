// Quantities as Kubernetes writes them (k8s.io/apimachinery, pkg/api/resource/quantity.go): `10M`,
// `1500k`, `1Gi`, `1e6`. Case counts: `m` is a thousandth, `M` a million. Pure.

/** A text that is no quantity; the message says what is expected. */
export class QuantityError extends Error {
  override readonly name = 'QuantityError';
}

/** Powers of ten. `E` is exa, unless digits follow. */
const DECIMAL: Readonly<Record<string, number>> = {
  ...{ n: -9, u: -6, m: -3, '': 0, k: 3, M: 6, G: 9, T: 12, P: 15, E: 18 },
};

/** Powers of 1024. */
const BINARY: Readonly<Record<string, number>> = { Ki: 1, Mi: 2, Gi: 3, Ti: 4, Pi: 5, Ei: 6 };

const QUANTITY = /^([+-]?)(?=\.?\d)(\d*)(?:\.(\d*))?([A-Za-z]{0,2})$/;
const WITH_EXPONENT = /^([+-]?)(?=\.?\d)(\d*)(?:\.(\d*))?[eE]([+-]?\d+)$/;

/** What is longer is none that anybody means, and would take long to multiply. */
const MAX_LENGTH = 64;
const MAX_EXPONENT = 64;

function powerOfTen(exponent: number): bigint {
  return 10n ** BigInt(exponent);
}

/** Digits times a factor times a power of ten, rounded up to a whole number. */
function roundedUp(digits: string, factor: bigint, exponent: number): bigint {
  const product = BigInt(digits) * factor;
  if (exponent >= 0) return product * powerOfTen(exponent);
  const divisor = powerOfTen(-exponent);
  return (product + divisor - 1n) / divisor;
}

/** Factor and power of ten of a suffix; undefined where there is no such suffix. */
function scaleOf(suffix: string): readonly [factor: bigint, exponent: number] | undefined {
  const [binary, decimal] = [BINARY[suffix], DECIMAL[suffix]];
  if (binary !== undefined) return [1024n ** BigInt(binary), 0];
  return decimal === undefined ? undefined : [1n, decimal];
}

function clamp(exponent: number): number {
  return Math.max(-MAX_EXPONENT - MAX_LENGTH, Math.min(MAX_EXPONENT, exponent));
}

/**
 * The value of a quantity, rounded up to a whole number as `Quantity.Value` does. An exponent
 * beyond 64 counts as 64: no range takes either. Throws QuantityError.
 */
export function parseQuantity(text: string): bigint {
  const fault = new QuantityError('it is no quantity such as 800k, 10M, 2.5G or 1Gi');
  if (text.length > MAX_LENGTH) throw fault;
  const exponential = WITH_EXPONENT.exec(text);
  const [, sign, whole = '', fraction = '', suffix = ''] = exponential ?? QUANTITY.exec(text) ?? [];
  if (sign === undefined) throw fault;
  const scale = exponential === null ? scaleOf(suffix) : ([1n, clamp(Number(suffix))] as const);
  if (scale === undefined) throw fault;
  const [factor, exponent] = scale;
  if (sign !== '-') return roundedUp(whole + fraction, factor, exponent - fraction.length);
  // Towards zero is up.
  const exact = BigInt(whole + fraction) * factor;
  const shift = exponent - fraction.length;
  return -(shift >= 0 ? exact * powerOfTen(shift) : exact / powerOfTen(-shift));
}
