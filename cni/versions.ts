// Order of spec versions.

/** The three numbers of `major.minor.patch`, or undefined when the text is no version. */
export function parseVersion(text: string): readonly [number, number, number] | undefined {
  const match = /^(\d{1,9})(?:\.(\d{1,9}))?(?:\.(\d{1,9}))?$/.exec(text);
  if (match === null) return undefined;
  return [Number(match[1]), Number(match[2] ?? 0), Number(match[3] ?? 0)];
}

/** True when `version` is `floor` or newer. Both must be versions. */
export function atLeast(version: string, floor: string): boolean {
  const [left, right] = [parseVersion(version), parseVersion(floor)];
  if (left === undefined || right === undefined)
    throw new RangeError(`Not versions: ${version}, ${floor}`);
  for (const index of [0, 1, 2] as const) {
    if (left[index] !== right[index]) return left[index] > right[index];
  }
  return true;
}
