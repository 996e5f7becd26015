// Netlink attributes: the type-length-value records that follow the fixed header of every message
// (struct nlattr of linux/netlink.h), and messages as tables of what is in them. They are written
// by the netlink package's codec; it has no typed errors for what is read, nor numbers that must
// have the width their kernel header gives them.

import { AttrStream, putString, putU32, putU8 } from 'netlink/dist/structs.js';
import type { StreamData } from 'netlink/dist/structs.js';
import { WireError } from './errors.ts';
import type { Codec, Decoder, Given, Members, Struct, StructValues } from './struct.ts';

export { WireError };

/** struct nlattr: length and type, whose highest bits are flags. */
export const NLATTR_BYTES = 4;
export const NLA_TYPE_MASK = 0x3fff;

/** Throws WireError when `bytes` is shorter than the fixed part of a `what`. */
export function requireLength(what: string, bytes: Buffer, length: number): void {
  if (bytes.length >= length) return;
  throw new WireError(
    `Cannot decode ${what}: ${bytes.length} bytes came, at least ${length} belong to it`,
  );
}

/** Reads the struct that bytes begin with. Throws WireError when they are too few. */
export function decodeStart<M extends Members>(struct: Struct<M>, bytes: Buffer): StructValues<M> {
  requireLength(struct.what, bytes, struct.size);
  return struct.decodeAt(bytes, 0);
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
    for (let at = 0; at < bytes.length;) {
      const length = at + NLATTR_BYTES <= bytes.length ? bytes.readUInt16LE(at) : 0;
      if (length < NLATTR_BYTES || at + length > bytes.length)
        throw new WireError(
          `Cannot decode attributes: ${length} bytes at ${at} of ${bytes.length}`,
        );
      const type = bytes.readUInt16LE(at + 2) & NLA_TYPE_MASK;
      attributes.#values.set(type, bytes.subarray(at + NLATTR_BYTES, at + length));
      at += (length + 3) & ~3;
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

  /** The same in network byte order. */
  be32(type: number): number | undefined {
    return this.#sized(type, 4)?.readUInt32BE();
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

/** What methods of AttributeWriter take, by their names, and what those of Attributes give. */
interface Written {
  readonly u8: number;
  readonly u32: number;
  readonly string: string;
  readonly bytes: Buffer;
}
interface Scalars extends Written {
  readonly u16: number;
  readonly be32: number;
  readonly s32: number;
}

/**
 * How a value stands in its attribute. A table stands for attributes nested in it; what can only be
 * decoded cannot be written.
 */
type Format = keyof Scalars | Decoder<unknown>;
type Formats = Readonly<Record<string, readonly [type: number, format: Format]>>;

type ValueOf<F> = F extends keyof Scalars
  ? Scalars[F]
  : F extends Decoder<infer V>
    ? Exclude<V, undefined>
    : never;

/** Values by their names in a table; what is not there, or decodes to undefined, is absent. */
export type AttributeValues<T extends Formats> = { readonly [K in keyof T]?: ValueOf<T[K][1]> };

type GivenValue<F> = F extends keyof Written
  ? Written[F]
  : F extends AttributeTable<infer T>
    ? GivenAttributes<T>
    : F extends Codec<infer V>
      ? V
      : never;

/** Values to be written; what is undefined is not. */
type GivenAttributes<T extends Formats> = {
  readonly [K in keyof T]?: GivenValue<T[K][1]> | undefined;
};

/** An attribute that says something by being there. */
export const FLAG: Decoder<true> = { decode: () => true };

/** What a message or an attribute may have in it. Attributes of other types are passed over. */
export class AttributeTable<const T extends Formats> implements Decoder<AttributeValues<T>> {
  readonly #formats: readonly (readonly [name: string, type: number, format: Format])[];

  constructor(formats: T) {
    this.#formats = Object.entries(formats).map(([name, [type, format]]) => [name, type, format]);
  }

  /** Throws WireError. */
  decode(bytes: Buffer): AttributeValues<T> {
    const attributes = Attributes.decode(bytes);
    const values: Record<string, unknown> = {};
    for (const [name, type, format] of this.#formats) {
      const payload = attributes.bytes(type);
      if (payload === undefined) continue;
      const value = typeof format === 'string' ? attributes[format](type) : format.decode(payload);
      if (value !== undefined) values[name] = value;
    }
    return values as AttributeValues<T>;
  }

  /** In the order of the table. */
  write(writer: AttributeWriter, values: GivenAttributes<T>): void {
    for (const [name, type, format] of this.#formats) {
      const value: unknown = values[name];
      if (value === undefined) continue;
      if (format instanceof AttributeTable)
        writer.nested(type, () => format.write(writer, value as object));
      else if (typeof format === 'string') writer[format as keyof Written](type, value as never);
      else writer.bytes(type, (format as Codec<unknown>).encode(value));
    }
  }

  encode(values: GivenAttributes<T>): Buffer {
    return encodeAttributes((writer) => this.write(writer, values));
  }
}

/** What a kind of message is made of: its fixed header, and the attributes behind it. */
export class MessageFormat<M extends Members, const T extends Formats> {
  readonly #header: Struct<M>;
  readonly #attributes: AttributeTable<T>;

  constructor(header: Struct<M>, attributes: T) {
    this.#header = header;
    this.#attributes = new AttributeTable(attributes);
  }

  /** Throws WireError. */
  decodeHeader(payload: Buffer): StructValues<M> {
    return decodeStart(this.#header, payload);
  }

  /** Throws WireError. */
  decodeAttributes(payload: Buffer): AttributeValues<T> {
    requireLength(this.#header.what, payload, this.#header.size);
    return this.#attributes.decode(payload.subarray(this.#header.size));
  }

  decode(payload: Buffer): StructValues<M> & AttributeValues<T> {
    return Object.assign(this.decodeHeader(payload), this.decodeAttributes(payload));
  }

  /** What is absent of the header is zero. Throws RangeError. */
  encode(values: Given<StructValues<M>> & GivenAttributes<T>): Buffer {
    return encodePayload(this.#header.encode(values), (writer) =>
      this.#attributes.write(writer, values),
    );
  }
}
