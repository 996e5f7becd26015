// How an error shows a value that came from outside. Pure.

const MAX_LENGTH = 80;

/**
 * The value without what lies deeper than `depth`: each level is a bracket at least, so that nobody
 * sees it anyway.
 */
function pruned(value: unknown, depth: number): unknown {
  // Numbers that cni/json.ts keeps as text have no prototype.
  if (typeof value !== 'object' || value === null || Object.getPrototypeOf(value) === null)
    return value;
  if (depth === 0) return null;
  if (Array.isArray(value))
    return value.slice(0, MAX_LENGTH).map((entry) => pruned(entry, depth - 1));
  const entries = Object.entries(value).slice(0, MAX_LENGTH);
  return Object.fromEntries(entries.map(([key, entry]) => [key, pruned(entry, depth - 1)]));
}

/** As JSON, cut at 80 characters; never fails, however deep, wide or long the value is. */
export function show(value: unknown): string {
  const text = JSON.stringify(pruned(value, MAX_LENGTH)) ?? String(value);
  return text.length <= MAX_LENGTH ? text : `${text.slice(0, MAX_LENGTH - 3)}...`;
}
