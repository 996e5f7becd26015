// Structs of C by the names of their members: each stands where the compiler puts it, in their
// order, numbers at multiples of their own size, and in the machine's byte order, which is
// little-endian where podpace runs. Pure.

/** A number of so many bits, or an array of so many bytes. */
type MemberType = 'u8' | 'u16' | 'u32' | 's32' | 'u64' | number;

export type Members = Readonly<Record<string, MemberType>>;

type MemberValue<T> = T extends number ? Buffer : T extends 'u64' ? bigint : number;

export type StructValues<M extends Members> = { readonly [K in keyof M]: MemberValue<M[K]> };

/** What may be given of something to encode: what is undefined counts as absent. */
export type Given<T> = { readonly [K in keyof T]?: T[K] | undefined };

/** What bytes mean. */
export interface Decoder<T> {
  decode(bytes: Buffer): T;
}

/** How values of one kind stand in bytes. */
export interface Codec<T> extends Decoder<T> {
  /** Throws RangeError for what cannot stand there. */
  encode(value: T): Buffer;
}

/** All values have this many bytes. */
export type Sized<C> = C & { readonly size: number };
export type SizedCodec<T> = Sized<Codec<T>>;

const SIZES = { u8: 1, u16: 2, u32: 4, s32: 4, u64: 8 } as const;

/** Throws RangeError for a number that is none of these. */
export function requireRange(what: string, value: number, min: number, max: number): void {
  if (Number.isSafeInteger(value) && value >= min && value <= max) return;
  throw new RangeError(`Cannot encode ${what} ${value}: expected an integer from ${min} to ${max}`);
}

function read(bytes: Buffer, type: MemberType, at: number): Buffer | bigint | number {
  switch (type) {
    case 'u8':
      return bytes.readUInt8(at);
    case 'u16':
      return bytes.readUInt16LE(at);
    case 'u32':
      return bytes.readUInt32LE(at);
    case 's32':
      return bytes.readInt32LE(at);
    case 'u64':
      return bytes.readBigUInt64LE(at);
    default:
      return bytes.subarray(at, at + type);
  }
}

interface Place {
  readonly name: string;
  readonly type: MemberType;
  readonly at: number;
}

function write(bytes: Buffer, { name, type, at }: Place, value: Buffer | bigint | number): void {
  if (typeof value === 'bigint') bytes.writeBigUInt64LE(value, at);
  else if (typeof value !== 'number') value.copy(bytes, at, 0, type as number);
  else if (type === 's32') {
    requireRange(name, value, -(2 ** 31), 2 ** 31 - 1);
    bytes.writeInt32LE(value, at);
  } else {
    const sizeBytes = SIZES[type as 'u8' | 'u16' | 'u32'];
    requireRange(name, value, 0, 2 ** (8 * sizeBytes) - 1);
    bytes.writeUIntLE(value, at, sizeBytes);
  }
}

export class Struct<const M extends Members> implements SizedCodec<StructValues<M>> {
  readonly what: string;
  readonly size: number;
  /** Where each member stands, in bytes. */
  readonly offsets: { readonly [K in keyof M]: number };
  readonly #places: readonly Place[];

  constructor(what: string, members: M) {
    this.what = what;
    let end = 0;
    let alignment = 1;
    this.#places = Object.entries(members).map(([name, type]) => {
      const [size, multiple] = typeof type === 'number' ? [type, 1] : [SIZES[type], SIZES[type]];
      const at = Math.ceil(end / multiple) * multiple;
      end = at + size;
      alignment = Math.max(alignment, multiple);
      return { name, type, at };
    });
    this.size = Math.ceil(end / alignment) * alignment;
    const offsets = Object.fromEntries(this.#places.map(({ name, at }) => [name, at]));
    this.offsets = offsets as { readonly [K in keyof M]: number };
  }

  /** What is absent is zero. */
  encode(values: Given<StructValues<M>>): Buffer {
    const bytes = Buffer.alloc(this.size);
    for (const place of this.#places) {
      const value = values[place.name];
      if (value !== undefined) write(bytes, place, value);
    }
    return bytes;
  }

  /** Reads the struct at an offset. Throws RangeError where it does not end within the bytes. */
  decodeAt(bytes: Buffer, offset: number): StructValues<M> {
    if (offset + this.size > bytes.length)
      throw new RangeError(`${this.what} at ${offset} lies outside of ${bytes.length} bytes`);
    const values: Record<string, Buffer | bigint | number> = {};
    for (const { name, type, at } of this.#places) values[name] = read(bytes, type, offset + at);
    return values as StructValues<M>;
  }

  /** Reads as many of them as stand whole in the bytes, one behind the other. */
  decodeAll(bytes: Buffer): StructValues<M>[] {
    return Array.from({ length: Math.floor(bytes.length / this.size) }, (_, index) =>
      this.decodeAt(bytes, index * this.size),
    );
  }

  /** Reads bytes that are the struct and nothing else. Throws RangeError. */
  decode(bytes: Buffer): StructValues<M> {
    if (bytes.length === this.size) return this.decodeAt(bytes, 0);
    throw new RangeError(
      `Cannot decode ${this.what}: ${bytes.length} bytes, expected ${this.size}`,
    );
  }
}

/** A key or a value that is but a number. */
export const U32: SizedCodec<number> = {
  size: SIZES.u32,
  encode(value) {
    const bytes = Buffer.alloc(SIZES.u32);
    bytes.writeUInt32LE(value);
    return bytes;
  },
  decode: (bytes) => bytes.readUInt32LE(),
};

/** Values that are taken as the bytes that they are. */
export function bytesOf(size: number): SizedCodec<Buffer> {
  return { size, encode: (value) => value, decode: (bytes) => Buffer.from(bytes) };
}
