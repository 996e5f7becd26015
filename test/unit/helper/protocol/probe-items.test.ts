import test from 'ava';
import { checkProbeItems } from '../../../../helper/protocol/probe-items.ts';
import { ShapeError } from '../../../../helper/protocol/shape.ts';

const ITEM = {
  name: 'tcx',
  ok: true,
  there: true,
  found: 'works',
  neededFor: 'to x',
  withoutIt: 'y',
};

test('items of probe are taken as README.md has them', (t) => {
  const lacking = { ...ITEM, there: false, remedy: 'z' };
  const { there: _there, ...untried } = ITEM;
  t.notThrows(() =>
    checkProbeItems([ITEM, lacking, { ...lacking, ok: false }, untried, { ...untried, ok: false }]),
  );
  t.notThrows(() => checkProbeItems([{ ...ITEM, ofALaterRelease: 1 }]));
  t.notThrows(() => checkProbeItems([]));
});

const BAD: readonly unknown[] = [
  undefined,
  {},
  [null],
  ...Object.keys(ITEM)
    .filter((key) => key !== 'there')
    .map((key) => [Object.fromEntries(Object.entries(ITEM).filter(([name]) => name !== key))]),
  ...['ok', 'there'].map((key) => [{ ...ITEM, [key]: 'yes' }]),
  [{ ...ITEM, remedy: 1 }],
  [{ ...ITEM, ok: false }],
];
for (const [index, items] of BAD.entries()) {
  test(`what is no list of items is refused, ${index}`, (t) => {
    t.throws(() => checkProbeItems(items), { instanceOf: ShapeError, message: /must be/ });
  });
}
