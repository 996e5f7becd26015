// What `patch` makes of a text by a unified diff of one hunk.

/** Throws Error where the hunk does not fit. */
export function patched(before: string, difference: string): string {
  const old = before.split(/(?<=\n)/).filter((line) => line !== '');
  const [, , header = '', ...marked] = difference.split(/(?<=\n)/).filter((line) => line !== '');
  const [, start, count] = /^@@ -(\d+)(?:,(\d+))? \+\d+(?:,\d+)? @@\n$/.exec(header) ?? [];
  const first = Number(start) - (count === '0' ? 0 : 1);
  const after = old.slice(0, first);
  let at = first;
  for (const [index, line] of marked.entries()) {
    if (line.startsWith('\\')) continue;
    const isLast = marked[index + 1]?.startsWith('\\') === true;
    const text = isLast ? line.slice(1, -1) : line.slice(1);
    if (!line.startsWith('+') && old[at++] !== text) throw new Error(`not line ${at}: ${line}`);
    if (!line.startsWith('-')) after.push(text);
  }
  if (at - first !== Number(count ?? 1)) throw new Error(`${header} is of ${at - first} lines`);
  return [...after, ...old.slice(at)].join('');
}
