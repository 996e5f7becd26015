// Adding podpace to a list and taking it out again: nothing else of the text may change.

import test from 'ava';
import fc from 'fast-check';
import {
  addPodpace,
  ListError,
  listOf,
  namesPodpace,
  removePodpace,
  sourceOf,
} from '../../../../helper/network-list/edit.ts';
import { LISTS, SINGLES } from '../../../kit/published-lists.ts';

const SEED = process.env['PODPACE_SEED'];
const RUNS = { numRuns: 500, ...(SEED !== undefined && { seed: Number(SEED) }) };

/** What a runtime makes of a list. */
interface List {
  readonly plugins: readonly Readonly<Record<string, unknown>>[];
  readonly [key: string]: unknown;
}

function parsed(text: string): List {
  return JSON.parse(text) as List;
}

const SPACE = fc.stringMatching(/^[ \t\r\n]{0,3}$/);

/** JSON of a value with any white space where JSON allows it. */
function spaced(value: unknown): fc.Arbitrary<string> {
  if (typeof value !== 'object' || value === null) return fc.constant(JSON.stringify(value));
  const isList = Array.isArray(value);
  const parts = isList
    ? value.map((entry) => fc.tuple(SPACE, spaced(entry), SPACE).map((all) => all.join('')))
    : Object.entries(value).map(([key, entry]) =>
        fc
          .tuple(SPACE, SPACE, SPACE, spaced(entry), SPACE)
          .map(([a, b, c, text, d]) => `${a}${JSON.stringify(key)}${b}:${c}${text}${d}`),
      );
  const [open, close] = isList ? ['[', ']'] : ['{', '}'];
  if (parts.length === 0) return SPACE.map((space) => open + space + close);
  return fc.tuple(...parts).map((all) => open + all.join(',') + close);
}

const NAME = fc.stringMatching(/^[a-z][a-z0-9-]{0,8}$/).filter((name) => name !== 'podpace');

/** An entry of another plugin, with whatever it likes, also text that looks like JSON. */
const OTHER = fc
  .tuple(
    NAME.filter((name) => name !== 'bandwidth'),
    fc.dictionary(fc.oneof(NAME, fc.string()), fc.jsonValue({ maxDepth: 2 }), { maxKeys: 3 }),
    fc.boolean(),
  )
  .map(([type, rest, isFirst]) => (isFirst ? { type, ...rest, type2: 1 } : { ...rest, type }))
  .map((entry) =>
    Object.fromEntries(
      Object.entries(entry).filter(([key]) => key.toLowerCase() !== 'type' || key === 'type'),
    ),
  );

const BANDWIDTH = fc
  .tuple(fc.dictionary(NAME, fc.jsonValue({ maxDepth: 1 }), { maxKeys: 2 }), fc.boolean())
  .map(([rest, isFirst]) => {
    const { type: _type, installed: _mark, ...others } = rest as Record<string, unknown>;
    return isFirst ? { type: 'bandwidth', ...others } : { ...others, type: 'bandwidth' };
  });

/** Valid lists as text, with `bandwidth` somewhere in some. */
const LIST_TEXT = fc
  .tuple(
    fc.array(OTHER, { minLength: 1, maxLength: 3 }),
    fc.option(BANDWIDTH),
    fc.nat(3),
    fc.constantFrom('0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'),
    fc.dictionary(NAME, fc.jsonValue({ maxDepth: 1 }), { maxKeys: 2 }),
  )
  .map(([others, bandwidth, at, cniVersion, rest]) => {
    const plugins = bandwidth === null ? others : others.toSpliced(at, 0, bandwidth);
    const { plugins: _p, ...more } = rest as Record<string, unknown>;
    return { ...more, cniVersion, name: 'net', plugins };
  })
  .chain((list) =>
    fc.oneof(
      spaced(list),
      fc
        .constantFrom(undefined, 1, 2, '\t')
        .map((indent) => JSON.stringify(list, undefined, indent)),
    ),
  )
  // As bytes read as latin1.
  .map((text) => Buffer.from(text, 'utf8').toString('latin1'));

const KEYS = fc.constantFrom({}, { socket: '/run/other/helper.sock' }, { socket: '/run/é"/s' });

test('what was added to any list is taken out again to the byte', (t) => {
  fc.assert(
    fc.property(LIST_TEXT, KEYS, (text, keys) => {
      const added = addPodpace(text, keys);
      t.not(added.did, 'there already');
      t.is(removePodpace(added.text), text);
    }),
    RUNS,
  );
});

test('to add twice is to add once, and a list without podpace has nothing to take out', (t) => {
  fc.assert(
    fc.property(LIST_TEXT, KEYS, (text, keys) => {
      const once = addPodpace(text, keys).text;
      t.deepEqual(addPodpace(once, keys), { text: once, did: 'there already' });
      t.is(removePodpace(text), text);
    }),
    RUNS,
  );
});

test('a runtime sees the same list, with podpace behind it or in the place of bandwidth', (t) => {
  fc.assert(
    fc.property(LIST_TEXT, KEYS, (text, keys) => {
      const [before, after] = [parsed(text), parsed(addPodpace(text, keys).text)];
      const isInstead = before.plugins.some(({ type }) => type === 'bandwidth');
      const mark = { installed: 'added', ...keys };
      const capabilities = { bandwidth: true };
      const wanted = isInstead
        ? before.plugins.map((plugin) =>
            plugin['type'] === 'bandwidth'
              ? {
                  ...{ ...plugin, ...keys, type: 'podpace' },
                  installed: `instead of bandwidth${'socket' in keys ? ', with socket' : ''}`,
                }
              : plugin,
          )
        : [...before.plugins, { type: 'podpace', capabilities, ...mark }];
      // In the file the text is UTF-8.
      const seen = JSON.stringify(after);
      t.deepEqual(JSON.parse(seen), { ...before, plugins: wanted });
    }),
    RUNS,
  );
});

test('another tool may write the list anew, with its keys sorted: only the entry goes', (t) => {
  const sorted = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(sorted);
    if (typeof value !== 'object' || value === null) return value;
    const entries = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1));
    return Object.fromEntries(entries.map(([key, one]) => [key, sorted(one)]));
  };
  fc.assert(
    fc.property(LIST_TEXT, KEYS, (text, keys) => {
      const again = JSON.stringify(sorted(parsed(addPodpace(text, keys).text)), undefined, 2);
      t.deepEqual(parsed(removePodpace(again) ?? ''), sorted(parsed(text)));
    }),
    RUNS,
  );
});

for (const [name, text] of Object.entries(LISTS))
  test(`${name}: added in its style, and taken out to the byte`, (t) => {
    const { text: added } = addPodpace(text, {});
    t.is(removePodpace(added), text);
    t.true(namesPodpace(added));
    t.false(namesPodpace(text));
    // Lines that are new or changed; all the others stand as before.
    const lines = text.split('\n');
    const kept = added.split('\n').filter((line) => lines.includes(line));
    t.true(kept.length >= lines.length - 2, added);
  });

test('the new entry has the indentation of its neighbours', (t) => {
  const { text } = addPodpace(LISTS['10-flannel.conflist'] ?? '', {});
  t.true(
    text.endsWith(`      }
    },
    {
      "type": "podpace",
      "capabilities": {
        "bandwidth": true
      },
      "installed": "added"
    }
  ]
}
`),
    text,
  );
  const compact = addPodpace('{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"a"}]}', {}).text;
  t.is(
    compact,
    '{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"a"},{"type":"podpace","capabilities":{"bandwidth":true},"installed":"added"}]}',
  );
  const instead = addPodpace(LISTS['10-calico.conflist'] ?? '', {}).text;
  t.true(
    instead.endsWith(`    {
      "type": "podpace",
      "installed": "instead of bandwidth",
      "capabilities": {"bandwidth": true}
    }
  ]
}`),
    instead,
  );
});

test('an entry that the operator has written is not taken out', (t) => {
  const text = '{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"a"},{"type":"podpace"}]}';
  t.is(removePodpace(text), text);
  t.is(addPodpace(text, {}).did, 'there already');
});

const REFUSED: Readonly<Record<string, readonly [text: string, reason: RegExp]>> = {
  'no JSON': ['{"plugins": [', /^it is not JSON: /],
  'an empty file': ['', /^it is not JSON: /],
  'a list of lists': ['[]', /^it is no JSON object$/],
  'a single configuration': ['{"type":"a","cniVersion":"1.0.0"}', /has no "plugins"/],
  'no plugins': ['{"plugins":[],"cniVersion":"1.0.0"}', /"plugins" are none/],
  'a plugin without a type': ['{"plugins":[{}],"cniVersion":"1.0.0"}', /undefined as its type/],
  'podpace and bandwidth': [
    '{"plugins":[{"type":"podpace"},{"type":"bandwidth"}],"cniVersion":"1.0.0"}',
    /"bandwidth" beside podpace, so pods would be shaped twice: take "bandwidth" out/,
  ],
  'bandwidth twice': [
    '{"plugins":[{"type":"bandwidth"},{"type":"bandwidth"}],"cniVersion":"1.0.0"}',
    /"bandwidth" twice/,
  ],
  'no version': ['{"plugins":[{"type":"a"}]}', /it is of CNI 0\.1\.0 \(it has no "cniVersion"\)/],
  'an old version': ['{"plugins":[{"type":"a"}],"cniVersion":"0.2.0"}', /of CNI "0\.2\.0", and/],
  'a newer version': ['{"plugins":[{"type":"a"}],"cniVersion":"1.2.0"}', /0\.3\.0 to 1\.1\.0$/],
  'a newer one of several': [
    '{"plugins":[{"type":"a"}],"cniVersion":"1.0.0","cniVersions":["1.0.0","1.10.0"]}',
    /"1\.10\.0"/,
  ],
  'a hundred thousand brackets': [`${'['.repeat(1e5)}${']'.repeat(1e5)}`, /./],
};

for (const [what, [text, reason]] of Object.entries(REFUSED))
  test(`${what}: refused, and says why`, (t) => {
    t.regex(t.throws(() => addPodpace(text, {}), { instanceOf: ListError })?.message ?? '', reason);
  });

for (const [name, text] of Object.entries(SINGLES))
  test(`${name}: a list is made of it, which holds it as it stands`, (t) => {
    const list = listOf(text, name, {});
    const [first, second, ...more] = parsed(list).plugins;
    t.deepEqual(first, JSON.parse(text));
    t.is(second?.['type'], 'podpace');
    t.deepEqual(more, []);
    t.deepEqual(
      [parsed(list)['name'], parsed(list)['cniVersion']],
      [first?.['name'], first?.['cniVersion']],
    );
    t.is(sourceOf(list), name);
    t.is(removePodpace(list), undefined);
  });
