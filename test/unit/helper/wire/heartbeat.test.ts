import test from 'ava';
import fc from 'fast-check';
import {
  formatHeartbeat,
  outlookOf,
  type FoundHeartbeat,
  type Heartbeat,
  type Outlook,
} from '../../../../helper/wire/heartbeat.ts';
import { character } from '../../../kit/any-text.ts';

const BOOT = '6f1c1d6e-52a4-4f0e-9a51-0c1f6b1f2a3d';
const NOW = { bootId: BOOT, bootSeconds: 1000 };
const AWAY_SECONDS = 120;

const written = (more: Partial<Heartbeat>): string =>
  formatHeartbeat({ ...{ release: '1.2.3', bootId: BOOT, bootSeconds: 990 }, ...more });
/** The same with members that no helper writes; undefined takes one away. */
const altered = (more: Readonly<Record<string, unknown>>): string =>
  JSON.stringify({ ...(JSON.parse(written({})) as object), ...more });
const found = (text: string): FoundHeartbeat => ({ kind: 'text', text });
const judge = (text: string): Outlook => outlookOf(found(text), NOW, AWAY_SECONDS);
const none = (why: string): Outlook => ({ state: 'none', why });

const HOPE: Outlook = { state: 'hope' };
const NEVER = none('nothing shows that it has run since this node was started');
const DAMAGED = none('its sign of life is damaged');
const FUTURE = none('its sign of life is of the future');
const silent = (seconds: number): Outlook => none(`it has given no sign of life for ${seconds} s`);

const CASES: readonly [what: string, text: string, expected: Outlook][] = [
  ['just written', written({ bootSeconds: 1000 }), HOPE],
  ['ten seconds ago', written({}), HOPE],
  ['as long ago as it may be', written({ bootSeconds: 880 }), HOPE],
  ['longer ago', written({ bootSeconds: 879.99 }), silent(120)],
  ['right after the boot', written({ bootSeconds: 0 }), silent(1000)],
  ['of the future', written({ bootSeconds: 1000.01 }), FUTURE],
  [
    'a kernel that holds no cap',
    written({ fault: 'no sch_fq' }),
    { state: 'unable', why: 'no sch_fq' },
  ],
  [
    'the same, of a helper that is gone',
    written({ fault: 'no sch_fq', bootSeconds: 1 }),
    silent(999),
  ],
  ['of another boot', written({ bootId: 'b9b6c2f5-0000-4000-8000-000000000000' }), NEVER],
  ['an empty file', '', DAMAGED],
  ['no object', '7', DAMAGED],
  ['null', 'null', DAMAGED],
  ['a list', `[${written({})}]`, DAMAGED],
  ['one after another', written({}) + written({}), DAMAGED],
  ['no format', altered({ format: undefined }), DAMAGED],
  [
    'another format',
    altered({ format: 2 }),
    none("its sign of life is podpaced 1.2.3's, of format 2"),
  ],
  ['no release', altered({ release: undefined }), DAMAGED],
  ['no boot', altered({ bootId: undefined }), DAMAGED],
  ['a time as text', altered({ bootSeconds: '990' }), DAMAGED],
  ['a time before the boot', altered({ bootSeconds: -5 }), DAMAGED],
  ['a time that no number holds', written({}).replace('990', '1e999'), DAMAGED],
  ['a fault that is none', altered({ fault: true }), DAMAGED],
  ['fields of a newer release', altered({ more: {} }), HOPE],
];

for (const [what, text, expected] of CASES) {
  test(`a sign of life: ${what}`, (t) => {
    t.deepEqual(judge(text), expected);
  });
}

test('no file, and something that is no file of the helper', (t) => {
  t.deepEqual(outlookOf({ kind: 'none' }, NOW, AWAY_SECONDS), NEVER);
  const bad = outlookOf({ kind: 'bad', why: 'it is no regular file' }, NOW, AWAY_SECONDS);
  t.deepEqual(bad, none('its sign of life cannot be used: it is no regular file'));
});

const seconds = fc.integer({ min: 0, max: 1e9 }).map((hundredths) => hundredths / 100);

test('a helper may give no sign of life for as long as is configured, in any uptime', (t) => {
  const life = fc.record({ bootSeconds: seconds, age: seconds, awaySeconds: fc.nat(86_400) });
  fc.assert(
    fc.property(life, ({ bootSeconds, age, awaySeconds }) => {
      const now = { bootId: BOOT, bootSeconds: bootSeconds + age };
      const { state } = outlookOf(found(written({ bootSeconds })), now, awaySeconds);
      t.is(state, now.bootSeconds - bootSeconds <= awaySeconds ? 'hope' : 'none');
    }),
  );
});

test('a file that ends early is damaged, wherever it ends', (t) => {
  const text = written({ fault: 'no "sch_fq" \u2028' });
  for (let length = 0; length < text.trimEnd().length; length += 1)
    t.deepEqual(judge(text.slice(0, length)), DAMAGED, text.slice(0, length));
});

test('what is no sign of life of this boot gives no hope', (t) => {
  const usual = JSON.parse(written({})) as Readonly<Record<string, unknown>>;
  const spoilt = fc
    .tuple(fc.constantFrom('format', 'release', 'bootId', 'bootSeconds'), fc.jsonValue())
    .filter(([name, value]) =>
      name === 'bootSeconds' || name === 'release'
        ? typeof value !== typeof usual[name]
        : value !== usual[name],
    )
    .map(([name, value]) => JSON.stringify({ ...usual, [name]: value }));
  fc.assert(
    fc.property(fc.oneof(spoilt, fc.json(), fc.string()), (text) => {
      t.is(judge(text).state, 'none', text);
    }),
  );
});

test('what is written is read again, whatever the fault says', (t) => {
  fc.assert(
    fc.property(fc.string({ unit: character }), seconds, (why, bootSeconds) => {
      const now = { bootId: BOOT, bootSeconds };
      const text = written({ bootSeconds, fault: why });
      t.deepEqual(outlookOf(found(text), now, AWAY_SECONDS), { state: 'unable', why });
    }),
  );
});
