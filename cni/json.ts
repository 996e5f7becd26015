// JSON as Go's decoder reads it, where that matters to a drop-in: keys match without regard to
// case, and numbers that a double cannot hold keep their digits.

import { show } from '../helper/wire/show.ts';
import { CniError, ErrorCode, isJsonObject, type JsonObject } from './types.ts';

export { show };

/**
 * A JSON number kept as its text, because a double would change it. JSON.stringify prints the text.
 */
export interface RawNumber {
  readonly rawJSON: string;
}

/** The parts of JSON that lib.es2024 does not declare yet (V8 11.4 and later have them). */
interface SourceTextJson {
  parse(
    text: string,
    reviver: (this: unknown, key: string, value: unknown, context: { source?: string }) => unknown,
  ): unknown;
  rawJSON(text: string): RawNumber;
}

const json = JSON as unknown as SourceTextJson;

/** True for a number that parseJson kept as text. */
export function isRawNumber(value: unknown): value is RawNumber {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === null;
}

/**
 * Deeper than any configuration, and shallow enough for everything that walks a value by recursion.
 */
const MAX_DEPTH = 1000;

function isTooDeep(text: string): boolean {
  let depth = 0;
  let isInString = false;
  for (let index = 0; index < text.length; index += 1) {
    const character = text.charAt(index);
    if (character === '"') isInString = !isInString;
    else if (isInString) index += character === '\\' ? 1 : 0;
    else if (character === '[' || character === '{') depth += 1;
    else if (character === ']' || character === '}') depth -= 1;
    if (depth > MAX_DEPTH) return true;
  }
  return false;
}

/**
 * Parses JSON; integers beyond 2^53 and numbers beyond the range of a double become RawNumber, so
 * that printing the value again loses nothing. Throws SyntaxError, also for what is nested more
 * than 1000 deep.
 */
export function parseJson(text: string): unknown {
  if (isTooDeep(text)) throw new SyntaxError(`it is nested more than ${MAX_DEPTH} deep`);
  return json.parse(text, (_key, value, { source }) => {
    if (typeof value !== 'number' || source === undefined) return value;
    const isExact =
      Number.isFinite(value) && (!Number.isInteger(value) || Number.isSafeInteger(value));
    return isExact ? value : json.rawJSON(source);
  });
}

/**
 * The keys of `object` that Go would decode into a field named `name`: the exact one, else any that
 * differs in case only.
 */
function matchingKey(object: JsonObject, name: string): string | undefined {
  if (Object.hasOwn(object, name)) return name;
  const folded = name.toLowerCase();
  return Object.keys(object).findLast((key) => key.toLowerCase() === folded);
}

/** Value of a key: the exact key, else the last that differs in case only, else undefined. */
export function field(object: JsonObject, name: string): unknown {
  const key = matchingKey(object, name);
  return key === undefined ? undefined : object[key];
}

/** True when the key is there, in any case of letters and with any value. */
export function hasField(object: JsonObject, name: string): boolean {
  return matchingKey(object, name) !== undefined;
}

function wrongType(path: string, wanted: string, value: unknown): CniError {
  return new CniError(
    ErrorCode.invalidConfig,
    `Cannot use ${path}: it is ${show(value)}, not ${wanted}`,
  );
}

/** A string, or undefined when absent or null. Throws CniError 7 that names `path`. */
export function optionalString(object: JsonObject, name: string, path: string): string | undefined {
  const value = field(object, name);
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'string') throw wrongType(path, 'a string', value);
  return value;
}

/**
 * An integer of at least 0 (2^53 - 1 at most), or undefined when absent or null. Throws CniError 7.
 */
export function optionalCount(object: JsonObject, name: string, path: string): number | undefined {
  const value = field(object, name);
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0) {
    throw wrongType(path, 'a whole number of at least 0', value);
  }
  return value;
}

/** A JSON object, or undefined when absent or null. Throws CniError 7. */
export function optionalObject(
  object: JsonObject,
  name: string,
  path: string,
): JsonObject | undefined {
  const value = field(object, name);
  if (value === undefined || value === null) return undefined;
  if (!isJsonObject(value)) throw wrongType(path, 'an object', value);
  return value;
}

/** An array, or undefined when absent or null. Throws CniError 7. */
export function optionalArray(
  object: JsonObject,
  name: string,
  path: string,
): readonly unknown[] | undefined {
  const value = field(object, name);
  if (value === undefined || value === null) return undefined;
  if (!Array.isArray(value)) throw wrongType(path, 'an array', value);
  return value as readonly unknown[];
}

/** An object inside an array. Throws CniError 7. */
export function elementObject(value: unknown, path: string): JsonObject {
  if (!isJsonObject(value)) throw wrongType(path, 'an object', value);
  return value;
}
