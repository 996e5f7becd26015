// SHA-256 (FIPS 180-4). Node's own is in a module that takes 8 ms to load, a twentieth of an ADD.

const BLOCK_BYTES = 64;
const WORDS = 64;

/** The first 64 primes. */
const PRIMES: readonly number[] = (() => {
  const primes: number[] = [];
  for (let number = 2; primes.length < WORDS; number += 1)
    if (primes.every((prime) => number % prime !== 0)) primes.push(number);
  return primes;
})();

/** The first 32 bits behind the point (4.2.2, 5.3.3): a double has sixteen more. */
function fraction(root: number): number {
  return Math.trunc((root % 1) * 2 ** 32);
}

const CONSTANTS = Uint32Array.from(PRIMES, (prime) => fraction(Math.cbrt(prime)));
const INITIAL = Uint32Array.from(PRIMES.slice(0, 8), (prime) => fraction(Math.sqrt(prime)));

function rotate(word: number, bits: number): number {
  return (word >>> bits) | (word << (32 - bits));
}

/** The message, a one bit, zeros, and its length in bits at the end of a block (5.1.1). */
function padded(message: Buffer): Buffer {
  const blocks = Math.ceil((message.length + 9) / BLOCK_BYTES);
  const bytes = Buffer.alloc(blocks * BLOCK_BYTES);
  message.copy(bytes);
  bytes[message.length] = 0x80;
  bytes.writeBigUInt64BE(BigInt(message.length) * 8n, bytes.length - 8);
  return bytes;
}

/** The words of a block and those that are made of them (6.2.2, step 1). */
function schedule(block: Buffer): Uint32Array {
  const w = new Uint32Array(WORDS);
  const at = (index: number): number => w[index] ?? 0;
  for (let t = 0; t < 16; t += 1) w[t] = block.readUInt32BE(t * 4);
  for (let t = 16; t < WORDS; t += 1) {
    const [early, late] = [at(t - 15), at(t - 2)];
    const sigma0 = rotate(early, 7) ^ rotate(early, 18) ^ (early >>> 3);
    const sigma1 = rotate(late, 17) ^ rotate(late, 19) ^ (late >>> 10);
    w[t] = sigma1 + at(t - 7) + sigma0 + at(t - 16);
  }
  return w;
}

/** The hash after one more block (6.2.2, steps 2 to 4). */
function compressed(hash: Uint32Array, block: Buffer): Uint32Array {
  const w = schedule(block);
  let [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0] = hash;
  for (let t = 0; t < WORDS; t += 1) {
    const sum1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
    const choice = (e & f) ^ (~e & g);
    const first = (h + sum1 + choice + (CONSTANTS[t] ?? 0) + (w[t] ?? 0)) | 0;
    const sum0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
    const majority = (a & b) ^ (a & c) ^ (b & c);
    [h, g, f, e, d, c, b, a] = [g, f, e, (d + first) | 0, c, b, a, (first + sum0 + majority) | 0];
  }
  return Uint32Array.from([a, b, c, d, e, f, g, h], (word, index) => word + (hash[index] ?? 0));
}

/** Of a text in UTF-8, as 64 hexadecimal digits. */
export function sha256(text: string): string {
  const bytes = padded(Buffer.from(text));
  let hash: Uint32Array = INITIAL;
  for (let at = 0; at < bytes.length; at += BLOCK_BYTES)
    hash = compressed(hash, bytes.subarray(at, at + BLOCK_BYTES));
  return [...hash].map((word) => word.toString(16).padStart(8, '0')).join('');
}
