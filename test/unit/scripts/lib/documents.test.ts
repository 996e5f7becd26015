import test from 'ava';
import { faultsOf } from '../../../../scripts/lib/documents.ts';

const SOURCES = {
  files: ['helper/shaping/plan.ts', 'bpf/departure.h', 'scripts/vm', 'test/vm/boot.test.ts'],
  text: 'function planMaps() {} struct { } aggregate_state;',
  others: new Set(['skb_iif']),
};

test('what a document names has to be there', (t) => {
  const document = [
    '`helper/shaping/plan.ts`, `departure.h`, `helper/shaping/`, `test/*/boot.test.ts`,',
    '[a link](bpf/departure.h), `planMaps`, `aggregate_state`, `skb_iif`, `./scripts/vm --cpus 2`',
  ];
  t.deepEqual(faultsOf(document.join('\n'), SOURCES), []);
});

for (const [document, fault] of [
  ['`helper/control/plan.ts`', 'there is no helper/control/plan.ts'],
  ['[a link](test/vm/boot.ts)', 'there is no test/vm/boot.ts'],
  ['```\nscripts/bench\n```', 'there is no scripts/bench'],
  ['`arrival.h`', 'there is no file arrival.h'],
  ['`planExits`', 'planExits is in none of the sources'],
  ['`aggregate_books`', 'aggregate_books is in none of the sources'],
  [`short\n${'x'.repeat(101)}`, 'line 2 is longer than 100'],
] as const) {
  test(`a fault of a document: ${fault}`, (t) => {
    t.deepEqual(faultsOf(document, SOURCES), [fault]);
  });
}
