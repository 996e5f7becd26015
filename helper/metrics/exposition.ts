// Text that Prometheus scrapes, in its classic format and as OpenMetrics. Pure.
//
// Sources: "Exposition formats" of Prometheus (text format 0.0.4) and the OpenMetrics specification
// 1.0.0, sections "Text format" and "Counter", "Histogram".

/** `histogram` has buckets and a count, and no sum: the datapath counts none. */
export type FamilyType = 'counter' | 'gauge' | 'histogram';

/** What a family of metrics is called and means: a contract with those who scrape. */
export interface Family {
  /** Without `_total`, which its type adds. */
  readonly name: string;
  readonly type: FamilyType;
  /** The suffix of the name, where it has one. */
  readonly unit?: 'seconds' | 'bytes';
  readonly help: string;
}

/** One series, as `seriesOf` writes its labels. */
export interface Sample {
  readonly series: string;
  /** Behind the name: `_bucket`, `_count`. */
  readonly suffix?: string;
  readonly value: number;
}

export type Format = 'text' | 'openmetrics';

export const CONTENT_TYPES: Readonly<Record<Format, string>> = {
  text: 'text/plain; version=0.0.4; charset=utf-8',
  openmetrics: 'application/openmetrics-text; version=1.0.0; charset=utf-8',
};

/**
 * The format that a scraper accepts, by its header: OpenMetrics where it names that with a weight
 * that is not below the other's (RFC 9110, section 12.5.1).
 */
export function formatFor(accept: string): Format {
  const weights = { openmetrics: 0, text: 0 };
  for (const item of accept.toLowerCase().split(',')) {
    const [range = '', ...parameters] = item.split(';').map((part) => part.trim());
    const q = parameters.find((parameter) => parameter.startsWith('q='))?.slice(2);
    const weight = q === undefined ? 1 : Number(q);
    const format = range === 'application/openmetrics-text' ? 'openmetrics' : 'text';
    if (weight >= 0) weights[format] = Math.max(weights[format], weight);
  }
  return weights.openmetrics > 0 && weights.openmetrics >= weights.text ? 'openmetrics' : 'text';
}

/** A label's value: both formats escape the same three characters. */
export function escapeLabel(value: string): string {
  return /[\\"\n]/.test(value)
    ? value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
    : value;
}

/** Labels as they stand between the braces; one whose value is undefined is left out. */
export function seriesOf(labels: Readonly<Record<string, string | undefined>>): string {
  return Object.entries(labels)
    .filter((label): label is [string, string] => label[1] !== undefined)
    .map(([name, value]) => `${name}="${escapeLabel(value)}"`)
    .join(',');
}

const UNESCAPED: Readonly<Record<string, string>> = { n: '\n' };

/** Labels as `seriesOf` has written them, in their order. */
export function labelsOf(series: string): [name: string, value: string][] {
  return [...series.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, name = '', text = '']) => [
    name,
    text.replaceAll(/\\(.)/g, (_, escaped: string) => UNESCAPED[escaped] ?? escaped),
  ]);
}

function valueText(value: number): string {
  if (Number.isNaN(value)) return 'NaN';
  if (Number.isFinite(value)) return String(value);
  return value > 0 ? '+Inf' : '-Inf';
}

/** The lines before a family's samples. */
export function headOf({ name, type, unit, help }: Family, format: Format): string {
  const named = type === 'counter' && format === 'text' ? `${name}_total` : name;
  const text = help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
  const unitLine = unit !== undefined && format === 'openmetrics' ? `# UNIT ${name} ${unit}\n` : '';
  return `# HELP ${named} ${text}\n# TYPE ${named} ${type}\n${unitLine}`;
}

/** The line of one series. */
export function lineOf({ name, type }: Family, { series, suffix = '', value }: Sample): string {
  const whole = type === 'counter' ? `${name}_total` : `${name}${suffix}`;
  const labels = series === '' ? '' : `{${series}}`;
  return `${whole}${labels} ${valueText(value)}\n`;
}

/** What a page ends with. */
export function endOf(format: Format): string {
  return format === 'openmetrics' ? '# EOF\n' : '';
}
