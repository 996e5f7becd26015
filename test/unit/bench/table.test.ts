import test from 'ava';
import fc from 'fast-check';
import { formatTable } from '../../bench/table.ts';
import type { Column } from '../../bench/table.ts';

test('words stand left, figures right, under their headings', (t) => {
  const columns: Column[] = [
    { heading: 'cap', align: 'left' },
    { heading: 'Mbit/s', align: 'right' },
  ];
  t.is(
    formatTable(columns, [
      ['10 Mbit/s', '9.56'],
      ['none', '2011.40'],
    ]),
    ['cap         Mbit/s', '─────────  ───────', '10 Mbit/s     9.56', 'none       2011.40'].join(
      '\n',
    ),
  );
});

test('every cell ends where its column ends, whatever the content', (t) => {
  const cell = fc.stringMatching(/^[a-z0-9.]{1,12}$/);
  fc.assert(
    fc.property(fc.array(fc.tuple(cell, cell, cell), { minLength: 1 }), (rows) => {
      const columns = ['a', 'b', 'c'].map((heading): Column => ({ heading, align: 'right' }));
      const lines = formatTable(columns, rows).split('\n');
      t.is(lines.length, rows.length + 2);
      t.is(new Set(lines.map((line) => line.length)).size, 1);
      t.deepEqual(
        lines.slice(2).map((line) => line.trim().split(/ +/)),
        rows,
      );
    }),
  );
});
