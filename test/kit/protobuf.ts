// Protobuf's wire format, as much as the CRI and OTLP take.

const VARINT = 0;
const FIXED64 = 1;
const LENGTH = 2;
const FIXED32 = 5;

/** A field of a message; a string, a nested message, or a number from 0 to 2^31 - 1. */
export function field(number: number, value: string | Buffer | number): Buffer {
  if (typeof value === 'number') return Buffer.concat([varint(number * 8 + VARINT), varint(value)]);
  const bytes = Buffer.from(value);
  return Buffer.concat([varint(number * 8 + LENGTH), varint(bytes.length), bytes]);
}

/** A nested message of these fields. */
export function message(number: number, ...fields: readonly Buffer[]): Buffer {
  return field(number, Buffer.concat(fields));
}

/** A map of strings to strings: a message for each entry. */
export function stringMap(number: number, entries: Readonly<Record<string, string>>): Buffer {
  return Buffer.concat(
    Object.entries(entries).map(([key, value]) => message(number, field(1, key), field(2, value))),
  );
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80);
  return Buffer.from([...bytes, rest]);
}

/** The fields of a message that were read. */
export class Fields {
  readonly #values = new Map<number, (bigint | Buffer)[]>();

  /** Throws RangeError where it ends too early, Error at a wire type that proto3 does not have. */
  constructor(bytes: Buffer) {
    let offset = 0;
    const next = (): bigint => {
      for (let [value, shift] = [0n, 0n]; ; shift += 7n) {
        const byte = bytes.readUInt8(offset);
        offset += 1;
        value |= BigInt(byte & 0x7f) << shift;
        if (byte < 0x80) return value;
      }
    };
    const take = (length: number): Buffer => {
      if (offset + length > bytes.length) throw new RangeError('the message ends within a field');
      offset += length;
      return bytes.subarray(offset - length, offset);
    };
    while (offset < bytes.length) {
      const key = Number(next());
      const value = valueOf(key % 8, next, take);
      const [number, former] = [Math.floor(key / 8), this.#values.get(Math.floor(key / 8)) ?? []];
      this.#values.set(number, [...former, value]);
    }
  }

  /** What is there, as bytes where it has a length or is of fixed size. */
  values(number: number): readonly (bigint | Buffer)[] {
    return this.#values.get(number) ?? [];
  }

  /** A string; empty where the field is absent, as proto3 leaves out what is empty. */
  text(number: number): string {
    const value = this.#values.get(number)?.at(-1);
    return typeof value === 'bigint' ? String(value) : (value?.toString('utf8') ?? '');
  }

  isTrue(number: number): boolean {
    return this.#values.get(number)?.at(-1) === 1n;
  }

  /** Each of a repeated message, or the one that is there. */
  messages(number: number): Fields[] {
    return (this.#values.get(number) ?? []).map(
      (value) => new Fields(typeof value === 'bigint' ? Buffer.alloc(0) : value),
    );
  }

  stringMap(number: number): Map<string, string> {
    return new Map(this.messages(number).map((entry) => [entry.text(1), entry.text(2)]));
  }
}

function valueOf(
  wireType: number,
  next: () => bigint,
  take: (length: number) => Buffer,
): bigint | Buffer {
  if (wireType === VARINT) return next();
  if (wireType === LENGTH) return take(Number(next()));
  if (wireType === FIXED64) return take(8);
  if (wireType === FIXED32) return take(4);
  throw new Error(`Cannot read wire type ${wireType} of protobuf`);
}
