// The difference between two versions of a file, as diff -u prints it. Pure.

const CONTEXT_LINES = 3;
const NO_NEWLINE = '\\ No newline at end of file';

/** Lines without their ends; the last is marked when it has none. */
function linesOf(text: string | undefined): string[] {
  if (text === undefined || text === '') return [];
  const lines = text.split('\n');
  if (lines.at(-1) === '') return lines.slice(0, -1);
  return [...lines.slice(0, -1), `${lines.at(-1)}\n${NO_NEWLINE}`];
}

function range(start: number, count: number): string {
  // An empty range is named by the line before it.
  const first = count === 0 ? start : start + 1;
  return count === 1 ? `${first}` : `${first},${count}`;
}

/**
 * One hunk from the first line that differs to the last. Undefined stands for a file that is not
 * there. Empty where nothing differs.
 */
export function unifiedDiff(
  name: string,
  before: string | undefined,
  after: string | undefined,
): string {
  if (before === after) return '';
  const [old, now] = [linesOf(before), linesOf(after)];
  const shorter = Math.min(old.length, now.length);
  let same = 0;
  while (same < shorter && old[same] === now[same]) same += 1;
  let sameAtEnd = 0;
  while (sameAtEnd < shorter - same && old.at(-1 - sameAtEnd) === now.at(-1 - sameAtEnd))
    sameAtEnd += 1;
  const start = Math.max(0, same - CONTEXT_LINES);
  const trailing = Math.min(CONTEXT_LINES, sameAtEnd);
  const removed = old.slice(same, old.length - sameAtEnd);
  const added = now.slice(same, now.length - sameAtEnd);
  const leading = old.slice(start, same);
  const closing = old.slice(old.length - sameAtEnd, old.length - sameAtEnd + trailing);
  const context = leading.length + closing.length;
  const counts = [removed, added].map((lines) => range(start, context + lines.length));
  const lines = [
    `--- ${before === undefined ? '/dev/null' : name}`,
    `+++ ${after === undefined ? '/dev/null' : name}`,
    `@@ -${counts[0]} +${counts[1]} @@`,
    ...leading.map((line) => ` ${line}`),
    ...removed.map((line) => `-${line}`),
    ...added.map((line) => `+${line}`),
    ...closing.map((line) => ` ${line}`),
  ];
  return `${lines.join('\n')}\n`;
}
