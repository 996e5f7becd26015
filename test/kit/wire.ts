// Bytes in tests, and what every decoder promises of them.

import type { ExecutionContext } from 'ava';
import fc from 'fast-check';
import { WireError } from '../../helper/wire/attributes.ts';
import { anyBytes, nearlyMessages } from './arbitraries.ts';

/**
 * Feeds a decoder any bytes, and bytes that look like its messages; fails on an error of another
 * class.
 */
export function decodesAnything(
  t: ExecutionContext,
  decode: (bytes: Buffer) => unknown,
  headerBytes: number,
): void {
  fc.assert(
    fc.property(fc.oneof(anyBytes, nearlyMessages(headerBytes)), (bytes) => {
      try {
        decode(bytes);
      } catch (error) {
        if (!(error instanceof WireError)) throw error;
      }
    }),
    { numRuns: 2000 },
  );
  t.pass();
}

/** Bytes written in hex, with spaces where the reader wants them. */
export function hex(digits: string): Buffer {
  return Buffer.from(digits.replaceAll(/\s/g, ''), 'hex');
}
