import test from 'ava';
import fc from 'fast-check';
import { decadesOf, legend, rateChart } from '../../bench/charts.ts';
import { escapeText } from '../../bench/svg.ts';

const rate = fc.double({ min: 0, max: 100_000, noNaN: true });

function chartOf(values: readonly number[]): string {
  const options = { capMbit: 10, decades: decadesOf([10], values) };
  return rateChart('Pod capped at 10 Mbit/s', [{ system: 'podpace', values }], options);
}

/** Places of the points of the first line. */
function placesIn(svg: string): { readonly x: number; readonly y: number }[] {
  const points = /points="([^"]*)"/.exec(svg)?.[1] ?? '';
  return points.split(' ').map((point) => {
    const [x = NaN, y = NaN] = point.split(',').map(Number);
    return { x, y };
  });
}

function heights(svg: string): number[] {
  return placesIn(svg).map(({ y }) => y);
}

test('the axis ends at powers of ten that hold caps and rates', (t) => {
  fc.assert(
    fc.property(fc.array(rate), (rates) => {
      const { first, last } = decadesOf([10, 100], rates);
      t.true(Number.isInteger(first) && Number.isInteger(last));
      t.true(10 ** first < 10 && 10 ** last >= Math.max(100, ...rates));
    }),
  );
});

test('a higher rate is never drawn lower, and every point is inside the chart', (t) => {
  fc.assert(
    fc.property(fc.array(rate, { minLength: 1, maxLength: 60 }), (unsorted) => {
      const rates = unsorted.toSorted((a, b) => a - b);
      const drawn = heights(chartOf(rates));
      t.is(drawn.length, rates.length);
      drawn.forEach((y, index) =>
        t.true(y <= (drawn[index - 1] ?? Infinity) && y >= 0 && y <= 280),
      );
    }),
  );
});

test('silence stands on the foot of the axis', (t) => {
  const [silent, loud] = heights(chartOf([0, 10]));
  t.true(Number.isFinite(silent));
  t.true((silent ?? 0) > (loud ?? 0));
});

test('axes have titles with units; the cap is labelled, and the legend names lines', (t) => {
  const svg = chartOf([10, 10, 10]);
  for (const label of ['rate on the wire, Mbit/s', 'seconds since the first data frame', '>cap<'])
    t.true(svg.includes(label), label);
  const keys = legend(new Set(['podpace', 'tbf']));
  for (const name of ['>podpace<', '>CNI bandwidth plugin (tbf)<'])
    t.true(keys.includes(name), name);
});

test('text cannot become markup', (t) => {
  fc.assert(
    fc.property(fc.string(), (content) => {
      t.notRegex(escapeText(content), /[<>"]/);
    }),
  );
  t.is(escapeText('a < b & "c"'), 'a &lt; b &amp; &quot;c&quot;');
});

test('the label of a cap keeps clear of all lines, at its height', (t) => {
  fc.assert(
    fc.property(fc.array(rate, { minLength: 1, maxLength: 60 }), (rates) => {
      const svg = chartOf(rates);
      const [, x, y] = /<text x="([\d.]+)" y="([\d.]+)" [^>]*>cap</.exec(svg) ?? [];
      const [, lineY] = /y1="([\d.]+)" [^>]*class="cap"/.exec(svg) ?? [];
      t.true(placesIn(svg).every((place) => place.x < Number(x)));
      // Its letters' middle is at the line.
      t.true(Math.abs(Number(y) - 4 - Number(lineY)) < 0.11);
    }),
  );
});
