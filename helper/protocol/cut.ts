// What is too long for a message is cut, never refused. Pure.
//
// - A list of sentences or names keeps its first and ends in `and N more`.
// - Of any other list the first are kept, and the object that holds it says how many are left out:
//   beside `removed` stands `moreRemoved`. The same goes for objects that are keyed by number.
// - A long text keeps its beginning and ends in `… (N more characters)`.
//
// Lists of attachments come in pages instead (page.ts): nothing of those is lost, only an item too
// large for any page is cut in itself.

/** More sentences than these are no use to anybody who reads them. */
const MAX_SENTENCES = 50;
const MAX_SENTENCE_LENGTH = 500;

/** A text of at most so many characters, and how many more it had. */
export function cutText(text: string, length: number): string {
  const rest = text.length - length;
  return rest > 0 ? `${text.slice(0, length)}… (${rest} more characters)` : text;
}

/** The first sentences of a list that may be of any length, each of a length that can be read. */
export function shorten(sentences: readonly string[], max = MAX_SENTENCES): string[] {
  const rest = sentences.length - max;
  const shown = sentences.slice(0, max).map((sentence) => cutText(sentence, MAX_SENTENCE_LENGTH));
  return rest > 0 ? [...shown, `and ${rest} more`] : shown;
}

type JsonObject = Readonly<Record<string, unknown>>;

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isNumbered(value: unknown): value is JsonObject {
  return isObject(value) && Object.keys(value).every((key) => /^\d+$/.test(key));
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((entry) => typeof entry === 'string');
}

/** How long lists and texts may be. */
interface Limits {
  readonly entries: number;
  readonly characters: number;
}

/** A list that was cut before says how many it had. */
/** A text of at most so many characters, and how many more it had. */
export function cutTexts(texts: readonly string[], { entries, characters }: Limits): string[] {
  const [, before] = /^and (\d+) more$/.exec(texts.at(-1) ?? '') ?? [];
  const own = before === undefined ? texts : texts.slice(0, -1);
  const rest = Math.max(0, own.length - entries) + Number(before ?? 0);
  const shown = own.slice(0, entries).map((text) => cutText(text, characters));
  return rest > 0 ? [...shown, `and ${rest} more`] : shown;
}

/**
 * The first entries of a list or of an object keyed by number, each cut in itself, and how many are
 * left out.
 */
function cutEntries(
  value: unknown,
  limits: Limits,
): { readonly kept: unknown; readonly leftOut: number } {
  if (isTexts(value)) return { kept: cutTexts(value, limits), leftOut: 0 };
  if (Array.isArray(value)) {
    const kept = value.slice(0, limits.entries).map((entry) => cut(entry, limits));
    return { kept, leftOut: value.length - kept.length };
  }
  if (isNumbered(value)) {
    const all = Object.entries(value);
    const kept = all.slice(0, limits.entries).map(([key, entry]) => [key, cut(entry, limits)]);
    return { kept: Object.fromEntries(kept), leftOut: all.length - kept.length };
  }
  return { kept: cut(value, limits), leftOut: 0 };
}

function cut(value: unknown, limits: Limits): unknown {
  if (typeof value === 'string') return cutText(value, limits.characters);
  if (Array.isArray(value)) return cutEntries(value, limits).kept;
  if (!isObject(value)) return value;
  const result: Record<string, unknown> = {};
  const counts: Record<string, number> = {};
  for (const [name, entry] of Object.entries(value)) {
    const { kept, leftOut } = cutEntries(entry, limits);
    result[name] = kept;
    const counter = `more${name.charAt(0).toUpperCase()}${name.slice(1)}`;
    if (leftOut > 0) counts[counter] = leftOut + Number(value[counter] ?? 0);
  }
  return { ...result, ...counts };
}

/**
 * The value with as long lists and texts as fit into so many bytes of JSON; itself when it fits as
 * it is.
 */
export function cutToFit<T>(value: T, maxBytes: number): T {
  let result: unknown = value;
  for (let entries = 4096; entries >= 1; entries /= 2) {
    if (Buffer.byteLength(JSON.stringify(result)) <= maxBytes) break;
    result = cut(value, { entries, characters: entries * 16 });
  }
  return result as T;
}
