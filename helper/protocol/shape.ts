// Readers of what comes from outside: requests and answers, records, configurations. A schema is a
// reader made of readers, and types follow from it (`Read<typeof schema>`). Pure.

import { show } from '../wire/show.ts';

/** What is wrong with a value. */
interface Fault {
  /** Where it stands: `caps.egress`, `beside[0].podInterface`. */
  readonly place: string;
  readonly expected: string;
  readonly value: unknown;
}

/** Something that is missing, or another than it must be. */
export class ShapeError extends Error {
  override readonly name = 'ShapeError';
  /** Absent where it is no value by itself. */
  readonly fault: Fault | undefined;

  constructor(message: string, { fault, cause }: { fault?: Fault; cause?: unknown } = {}) {
    super(message, { cause });
    this.fault = fault;
  }
}

/** A place for people; within an entry of a list by the name that it has there. */
function called(place: string): string {
  const end = place.lastIndexOf('].') + 1;
  return end === 0 ? `"${place}"` : `"${place.slice(end + 1)}" of ${place.slice(0, end)}`;
}

export function fail(place: string, expected: string, value: unknown): never {
  const found = value === undefined ? 'nothing' : show(value);
  const message = `${called(place)} must be ${expected}, got ${found}`;
  throw new ShapeError(message, { fault: { place, expected, value } });
}

/** The value with its type, or ShapeError. `undefined` is read where nothing stands. */
export type Reader<T> = (value: unknown, place: string) => T;

/** What a reader returns. */
export type Read<R> = R extends Reader<infer T> ? T : never;

/** A JSON object before anybody looked inside. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** True for `{…}`, false for arrays, null, scalars and numbers kept as text (see cni/json.ts). */
export function isJsonObject(value: unknown): value is JsonObject {
  if (typeof value !== 'object' || value === null) return false;
  return Object.getPrototypeOf(value) === Object.prototype;
}

export const anyObject: Reader<JsonObject> = (value, place) =>
  isJsonObject(value) ? value : fail(place, 'an object', value);

export const string: Reader<string> = (value, place) =>
  typeof value === 'string' ? value : fail(place, 'a string', value);

export const boolean: Reader<boolean> = (value, place) =>
  typeof value === 'boolean' ? value : fail(place, 'true or false', value);

export const text: Reader<string> = (value, place) =>
  typeof value === 'string' && value !== '' ? value : fail(place, 'a non-empty string', value);

/** Whole numbers that a double holds. */
export function integer(least: number, most = Number.MAX_SAFE_INTEGER): Reader<number> {
  const range =
    most === Number.MAX_SAFE_INTEGER ? `of at least ${least}` : `from ${least} to ${most}`;
  return (value, place) => {
    const isIn = Number.isSafeInteger(value) && Number(value) >= least && Number(value) <= most;
    return isIn ? Number(value) : fail(place, `a whole number ${range}`, value);
  };
}

/** One of some words. */
export function oneOf<T extends string>(words: readonly T[]): Reader<T> {
  return (value, place) =>
    words.find((word) => word === value) ?? fail(place, words.join(' or '), value);
}

/** What is read, when it is such. */
export function where<T>(
  read: Reader<T>,
  isSuch: (value: T) => boolean,
  expected: string,
): Reader<T> {
  return (value, place) => {
    const found = read(value, place);
    return isSuch(found) ? found : fail(place, expected, value);
  };
}

/** A text of a form. */
export function matching(pattern: RegExp, expected: string): Reader<string> {
  return where(text, (value) => pattern.test(value), expected);
}

/** What may be absent. */
export function optional<T>(read: Reader<T>): Reader<T | undefined> {
  return (value, place) => (value === undefined ? undefined : read(value, place));
}

/** What may be null. */
export function nullable<T>(read: Reader<T>): Reader<T | null> {
  return (value, place) => (value === null ? null : read(value, place));
}

interface ListLimits {
  readonly least?: number;
  readonly most?: number;
  /** What it lists, in the plural. */
  readonly of?: string;
}

export function list<T>(
  read: Reader<T>,
  { least = 0, most = Infinity, of = 'entries' }: ListLimits = {},
): Reader<readonly T[]> {
  const range = least === 0 ? `at most ${most}` : `${least} to ${most}`;
  const expected = most === Infinity ? 'an array' : `an array of ${range} ${of}`;
  return (value, place) => {
    if (!Array.isArray(value) || value.length < least || value.length > most)
      return fail(place, expected, value);
    return value.map((entry: unknown, index) => read(entry, `${place}[${index}]`));
  };
}

/** The fields of an object, in the order in which they are read. */
export type Shape = Readonly<Record<string, Reader<unknown>>>;

type OptionalKeys<S> = { [K in keyof S]: undefined extends Read<S[K]> ? K : never }[keyof S];

/** Where nothing may be read, nothing need stand. */
type Fields<S> = { readonly [K in Exclude<keyof S, OptionalKeys<S>>]: Read<S[K]> } & {
  readonly [K in OptionalKeys<S>]?: Exclude<Read<S[K]>, undefined>;
};

/** The same type, written as one object. */
type Plain<T> = { [K in keyof T]: T[K] };

export type ReadFields<S extends Shape> = Plain<Fields<S>>;

/** Makes `object` of a way to find the field of a name. */
export function objectBy(fieldOf: (object: JsonObject, name: string) => unknown) {
  return <S extends Shape>(shape: S): Reader<ReadFields<S>> => {
    const fields = Object.entries(shape);
    return (value, place) => {
      const given = anyObject(value, place);
      const own = place === '' ? '' : `${place}.`;
      const entries = fields
        .map(([name, read]) => [name, read(fieldOf(given, name), own + name)] as const)
        .filter(([, found]) => found !== undefined);
      return Object.fromEntries(entries) as ReadFields<S>;
    };
  };
}

/** An object of these fields; others are left out. */
export const object = objectBy((given, name) => given[name]);
