import test from 'ava';
import fc from 'fast-check';
import { encodeLine } from '../../../../helper/protocol/frame.ts';
import { fitting } from '../../../../helper/protocol/page.ts';

test('a page fits into one message, and is as long as it can be', (t) => {
  fc.assert(
    fc.property(fc.array(fc.nat(30_000), { minLength: 1, maxLength: 20 }), (lengths) => {
      const items = lengths.map((length) => 'x'.repeat(length));
      const page = fitting(items);
      t.true(page.length > 0);
      t.deepEqual(page, items.slice(0, page.length));
      t.notThrows(() =>
        encodeLine({ version: 1, result: { attachments: page, next: 'x'.repeat(300) } }),
      );
      const next = items[page.length];
      if (next === undefined) return;
      t.throws(() => encodeLine({ attachments: [...page, next, 'x'.repeat(1024)] }), {
        instanceOf: RangeError,
      });
    }),
  );
  t.deepEqual(fitting([]), []);
});
