// Netlink attributes: the type-length-value records that follow the fixed header of every message
// (struct nlattr of linux/netlink.h). The codec is the netlink package's; this file adds what it
// lacks: typed errors, and numbers that must have the width their kernel header gives them.

import { AttrStream, parseAttributes, putString, putU32, putU8 } from 'netlink/dist/structs.js';
import type { StreamData } from 'netlink/dist/structs.js';
import { WireError } from './errors.ts';

export { WireError };

/** Throws WireError when `bytes` is shorter than the fixed part of a `what`. */
export function requireLength(what: string, bytes: Buffer, length: number): void {
  if (bytes.length >= length) return;
  throw new WireError(
    `Cannot decode ${what}: ${bytes.length} bytes came, at least ${length} belong to it`,
  );
}

/**
 * The attributes of one message or of one nested attribute, by type. Of a repeated type the last
 * one counts.
 */
export class Attributes {
  readonly #values = new Map<number, Buffer>();

  /** Takes attributes apart. Throws WireError when a length points outside of `bytes`. */
  static decode(bytes: Buffer): Attributes {
    const attributes = new Attributes();
    try {
      parseAttributes(bytes, ({ type, data }) => attributes.#values.set(type, data));
    } catch (error) {
      throw new WireError(`Cannot decode attributes: ${(error as Error).message}`);
    }
    return attributes;
  }

  /** The payload as it is, or undefined when there is no attribute of this type. */
  bytes(type: number): Buffer | undefined {
    return this.#values.get(type);
  }

  /** The types that there are. */
  types(): Iterable<number> {
    return this.#values.keys();
  }

  /** All payloads, of a list whose types are but numbers. */
  all(): readonly Buffer[] {
    return [...this.#values.values()];
  }

  /** An unsigned number of 8 bits. */
  u8(type: number): number | undefined {
    return this.#sized(type, 1)?.readUInt8();
  }

  /** An unsigned number of 16 bits. */
  u16(type: number): number | undefined {
    return this.#sized(type, 2)?.readUInt16LE();
  }

  /**
   * An unsigned number of 32 bits, in the machine's byte order: little-endian on both supported
   * ones.
   */
  u32(type: number): number | undefined {
    return this.#sized(type, 4)?.readUInt32LE();
  }

  /** A signed number of 32 bits. */
  s32(type: number): number | undefined {
    return this.#sized(type, 4)?.readInt32LE();
  }

  /** Text up to the first NUL; the kernel ends most strings with one, but not all. */
  string(type: number): string | undefined {
    const value = this.#values.get(type);
    if (value === undefined) return undefined;
    const end = value.indexOf(0);
    return value.toString('utf8', 0, end < 0 ? value.length : end);
  }

  /** The attributes inside this one. */
  nested(type: number): Attributes | undefined {
    const value = this.#values.get(type);
    return value === undefined ? undefined : Attributes.decode(value);
  }

  #sized(type: number, length: number): Buffer | undefined {
    const value = this.#values.get(type);
    if (value === undefined || value.length === length) return value;
    throw new WireError(
      `Cannot decode attribute ${type}: ${value.length} bytes came, ${length} belong to it`,
    );
  }
}

/** Appends attributes; a number or string that is undefined is left out. */
export class AttributeWriter {
  readonly #stream: AttrStream;

  constructor(stream: AttrStream) {
    this.#stream = stream;
  }

  bytes(type: number, value: Uint8Array | undefined): void {
    this.#push(type, value);
  }

  u8(type: number, value: number | undefined): void {
    this.#push(type, value === undefined ? undefined : putU8(value));
  }

  u32(type: number, value: number | undefined): void {
    this.#push(type, value === undefined ? undefined : putU32(value));
  }

  /**
   * Text with its NUL. Throws RangeError when the text holds a NUL itself, for the kernel would cut
   * it there.
   */
  string(type: number, value: string | undefined): void {
    if (value?.includes('\0') === true) {
      throw new RangeError(`Cannot encode ${JSON.stringify(value)}: it holds a NUL`);
    }
    this.#push(type, value === undefined ? undefined : putString(value));
  }

  nested(type: number, write: (attributes: AttributeWriter) => void): void {
    this.#push(type, () => write(this));
  }

  #push(type: number, value: StreamData | undefined): void {
    if (value !== undefined) this.#stream.push(type, value);
  }
}

/**
 * A message's payload: its fixed header, whose length is a multiple of four, then its attributes.
 */
export function encodePayload(
  header: Buffer,
  write: (attributes: AttributeWriter) => void,
): Buffer {
  const stream = new AttrStream();
  stream.emit(header);
  write(new AttributeWriter(stream));
  return Buffer.concat(stream.bufs);
}

/** Attributes alone, as they stand in a nested attribute such as TCA_OPTIONS. */
export function encodeAttributes(write: (attributes: AttributeWriter) => void): Buffer {
  return encodePayload(Buffer.alloc(0), write);
}
