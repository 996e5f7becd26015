// What the charts are drawn with: elements of SVG that need nothing from outside. Pure.

/** Escapes text for HTML and SVG content and attribute values. */
export function escapeText(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}

/** A coordinate. */
export const at = (value: number): string => value.toFixed(1);

export function line(x1: number, y1: number, x2: number, y2: number, classes: string): string {
  return `<line x1="${at(x1)}" y1="${at(y1)}" x2="${at(x2)}" y2="${at(y2)}" class="${classes}"/>`;
}

/** Text that begins, ends or has its middle at a point. */
export function text(
  x: number,
  y: number,
  anchor: 'start' | 'middle' | 'end',
  content: string,
): string {
  return `<text x="${at(x)}" y="${at(y)}" text-anchor="${anchor}">${escapeText(content)}</text>`;
}

/** The title of a vertical axis, beside its middle. */
export function sideTitle(middle: number, content: string): string {
  return `<text transform="translate(13 ${at(middle)}) rotate(-90)" text-anchor="middle">${escapeText(content)}</text>`;
}

/** A course: `system` gives it its colour and stroke. */
export function polyline(
  points: readonly (readonly [x: number, y: number])[],
  system: string,
): string {
  const places = points.map(([x, y]) => `${at(x)},${at(y)}`);
  return `<polyline points="${places.join(' ')}" class="line ${system}"/>`;
}

/** A whole chart; `description` says what it shows to those who cannot see it. */
export function svg(
  [width, height]: readonly [number, number],
  description: string,
  content: string,
): string {
  return `<svg class="chart" viewBox="0 0 ${width} ${height}" role="img" aria-label="${escapeText(description)}">${content}</svg>`;
}
