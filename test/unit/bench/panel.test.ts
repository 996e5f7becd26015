import test from 'ava';
import fc from 'fast-check';
import { drawPanel, logAxis } from '../../bench/panel.ts';
import type { Panel } from '../../bench/panel.ts';
import { escapeText } from '../../bench/svg.ts';

const rate = fc.double({ min: 0, max: 100_000, noNaN: true });

function panelOf(ratesMbit: readonly number[]): Panel {
  return {
    description: 'Pod capped at 10 Mbit/s',
    capMbit: 10,
    lines: [{ style: 'podpace', label: 'podpace', labelPlace: 'below', ratesMbit }],
    intervalMs: 100,
    axis: logAxis([10], ratesMbit),
  };
}

/** Vertical positions of the points of the first line. */
function heights(svg: string): number[] {
  const points = /points="([^"]*)"/.exec(svg)?.[1] ?? '';
  return points.split(' ').map((point) => Number(point.split(',')[1]));
}

test('the axis ends at powers of ten that hold caps and rates', (t) => {
  fc.assert(
    fc.property(fc.array(rate), (rates) => {
      const { least, most } = logAxis([10, 100], rates);
      t.true(Number.isInteger(Math.log10(least)) && Number.isInteger(Math.log10(most)));
      t.true(least < 10 && most >= Math.max(100, ...rates));
    }),
  );
});

test('a higher rate is never drawn lower, and every point is inside the panel', (t) => {
  fc.assert(
    fc.property(fc.array(rate, { minLength: 1, maxLength: 60 }), (unsorted) => {
      const rates = unsorted.toSorted((a, b) => a - b);
      const drawn = heights(drawPanel(panelOf(rates)));
      t.is(drawn.length, rates.length);
      drawn.forEach((y, index) =>
        t.true(y <= (drawn[index - 1] ?? Infinity) && y >= 0 && y <= 290),
      );
    }),
  );
});

test('silence stands on the foot of the axis', (t) => {
  const [silent, loud] = heights(drawPanel(panelOf([0, 10])));
  t.true(Number.isFinite(silent));
  t.true((silent ?? 0) > (loud ?? 0));
});

test('axes have titles with units; lines and the cap are labelled', (t) => {
  const svg = drawPanel(panelOf([10, 10, 10]));
  for (const label of [
    'rate on the wire, Mbit/s',
    'seconds since the first data frame',
    '>podpace<',
    '>cap: 10 Mbit/s<',
  ])
    t.true(svg.includes(label), label);
});

test('text cannot become markup', (t) => {
  fc.assert(
    fc.property(fc.string(), (content) => {
      t.notRegex(escapeText(content), /[<>"]/);
    }),
  );
  t.is(escapeText('a < b & "c"'), 'a &lt; b &amp; &quot;c&quot;');
});

test('labels keep clear of the lines that they stand beside', (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ min: 8, max: 2000, noNaN: true }), { minLength: 3, maxLength: 60 }),
      (rates) => {
        const svg = drawPanel(panelOf(rates));
        const covered = heights(svg).slice(0, Math.ceil(rates.length * 0.45));
        const label = Number(/y="([\d.]+)" class="label podpace"/.exec(svg)?.[1]);
        // 13 px is the height of the letters.
        t.true(label - 13 >= Math.max(...covered));
      },
    ),
  );
});
