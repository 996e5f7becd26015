// The style that the pages of the lab and the benches share, and their tables: one file each, that
// needs nothing beside it.

import { COLOURS } from './charts.ts';
import { escapeText } from './svg.ts';
import type { Column } from './table.ts';

const STYLE = `
${COLOURS}:root { color-scheme: light dark; --missed: #b3261e; }
@media (prefers-color-scheme: dark) {
  :root { --missed: #ff8a80; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 3rem; max-width: 84rem; background: var(--page); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .25rem; }
h2 { font-size: 1.125rem; margin: 2.5rem 0 .25rem; }
p { max-width: 52rem; margin: .5rem 0; }
.soft, footer { color: var(--soft); }
.panels { display: grid; gap: 1.5rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); margin: .5rem 0 1rem; }
figure { margin: 0; }
figcaption { font-weight: 600; margin-bottom: .25rem; }
.legend { display: flex; flex-wrap: wrap; gap: .25rem 1.5rem; margin: .75rem 0; padding: 0; list-style: none; }
.legend svg { width: 2.5rem; height: .75rem; display: inline-block; vertical-align: middle; margin-right: .5rem; }
figure svg { display: block; width: 100%; height: auto; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; white-space: nowrap; }
th, td { padding: .25rem 1rem .25rem 0; text-align: left; border-bottom: 1px solid var(--faint); }
th { font-weight: 600; color: var(--soft); }
.figure { text-align: right; padding-left: 1rem; }
tr.own { font-weight: 600; }
`;

/** A page with a style of its own beside what all share. */
export function htmlPage(
  { title, style }: { readonly title: string; readonly style: string },
  body: string,
): string {
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeText(title)}</title>
<style>${STYLE}${style}</style>
${body}
</html>
`;
}

/** A table; the rows of podpace stand out. */
export function htmlTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
): string {
  const cell = (tag: 'td' | 'th') => (content: string, index: number) =>
    `<${tag}${columns[index]?.align === 'right' ? ' class="figure"' : ''}>${escapeText(content)}</${tag}>`;
  const head = columns.map(({ heading }) => heading).map(cell('th'));
  const body = rows.map(
    (cells) =>
      `<tr${cells.includes('podpace') ? ' class="own"' : ''}>${cells.map(cell('td')).join('')}</tr>`,
  );
  return `<div class="scroll"><table><thead><tr>${head.join('')}</tr></thead><tbody>${body.join('')}</tbody></table></div>`;
}
