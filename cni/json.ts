// JSON as Go's decoder reads it, where that matters to a drop-in: keys match without regard to
// case, and numbers that a double cannot hold keep their digits.

import { objectBy, ShapeError, type Reader } from '../helper/protocol/shape.ts';
import { show } from '../helper/wire/show.ts';
import { CniError, ErrorCode, type JsonObject } from './types.ts';

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
 * The key of `object` whose value Go would leave in a field named `name`: the last one that is
 * `name` in any case of letters.
 */
function matchingKey(object: JsonObject, name: string): string | undefined {
  const folded = name.toLowerCase();
  return Object.keys(object).findLast((key) => key.toLowerCase() === folded);
}

/** Value of a key, in any case of letters: the last one of several, undefined of none. */
export function field(object: JsonObject, name: string): unknown {
  const key = matchingKey(object, name);
  return key === undefined ? undefined : object[key];
}

/** True when the key is there, in any case of letters and with any value. */
export function hasField(object: JsonObject, name: string): boolean {
  return matchingKey(object, name) !== undefined;
}

/** An object whose fields are found that way; null stands for absence. */
export const object = objectBy((given, name) => field(given, name) ?? undefined);

/**
 * Reads a value; null stands for absence. Throws CniError 7 that names what is wrong, by its path,
 * with the remedy.
 */
export function readAt<T>(value: unknown, path: string, read: Reader<T>, remedy?: string): T {
  try {
    return read(value ?? undefined, path);
  } catch (error) {
    if (!(error instanceof ShapeError)) throw error;
    const { place, expected, value: found } = error.fault ?? { place: path };
    let why = error.message;
    if (expected !== undefined)
      why = found === undefined ? 'it is missing' : `it is ${show(found)}, not ${expected}`;
    throw new CniError(ErrorCode.invalidConfig, `Cannot use ${place}: ${why}`, remedy);
  }
}

/** Reads a key of the configuration. Throws CniError 7. */
export function readKey<T>(config: JsonObject, key: string, read: Reader<T>): T {
  return readAt(field(config, key), key, read);
}
