import test from 'ava';
import fc from 'fast-check';
import { parseRequest, versionOf } from '../../../../helper/protocol/requests.ts';
import { ShapeError } from '../../../../helper/protocol/shape.ts';

const attach = {
  containerId: 'abc',
  ifname: 'eth0',
  network: 'pods',
  hostInterface: 'pod0',
  sandbox: '/run/netns/x',
  caps: { egress: { rateBitsPerSec: 10_000_000, burstBits: 80_000 } },
};

test('parseRequest takes a whole attach request', (t) => {
  t.deepEqual(parseRequest({ version: 2, method: 'attach', params: attach }), {
    method: 'attach',
    params: attach,
  });
});

test('parseRequest drops fields that the protocol does not know', (t) => {
  const { params } = parseRequest({
    method: 'detach',
    params: { containerId: 'a', ifname: 'b', other: 1 },
  });
  t.deepEqual(params, { containerId: 'a', ifname: 'b' });
});

test('parseRequest takes set and counters', (t) => {
  const key = { containerId: 'abc', ifname: 'eth0' };
  const set = {
    ...key,
    direction: 'egress',
    reset: true,
    changes: { rateBitsPerSec: 5000, horizonNs: null },
  };
  t.deepEqual(parseRequest({ method: 'set', params: set }).params, set);
  const counters = { after: 'abc:eth0', only: key, perCpu: true };
  t.deepEqual(parseRequest({ method: 'counters', params: counters }).params, counters);
  t.deepEqual(parseRequest({ method: 'counters', params: {} }).params, {});
});

const setOf = (changes: unknown, direction = 'egress') => ({
  method: 'set',
  params: { containerId: 'abc', ifname: 'eth0', direction, changes },
});

const bad: readonly [string, object, RegExp][] = [
  ['an unknown method', { method: 'reboot', params: {} }, /"method".*"reboot"/],
  ['a method of Object.prototype', { method: 'toString', params: {} }, /"method"/],
  ['no parameters', { method: 'attach' }, /"params".*nothing/],
  [
    'a container id that is a path',
    { method: 'detach', params: { containerId: '../x', ifname: 'b' } },
    /"containerId"/,
  ],
  [
    'an interface name that is a path',
    { method: 'detach', params: { containerId: 'x', ifname: '..' } },
    /"ifname"/,
  ],
  [
    'a long interface name',
    { method: 'detach', params: { containerId: 'x', ifname: 'x'.repeat(16) } },
    /"ifname"/,
  ],
  [
    'a rate of 0',
    { method: 'attach', params: { ...attach, caps: { egress: { rateBitsPerSec: 0 } } } },
    /egress.*0/,
  ],
  [
    'a fractional rate',
    { method: 'attach', params: { ...attach, caps: { egress: { rateBitsPerSec: 1e4 + 0.5 } } } },
    /10000\.5/,
  ],
  [
    'a rate as text',
    { method: 'attach', params: { ...attach, caps: { ingress: { rateBitsPerSec: '1M' } } } },
    /ingress.*1M/,
  ],
  [
    'a rate beyond 2^53',
    { method: 'attach', params: { ...attach, caps: { ingress: { rateBitsPerSec: 2 ** 60 } } } },
    /ingress/,
  ],
  [
    'a negative burst',
    {
      method: 'attach',
      params: { ...attach, caps: { egress: { rateBitsPerSec: 1000, burstBits: -1 } } },
    },
    /burstBits.*-1/,
  ],
  ['a set of no direction', setOf({}, 'both'), /"direction".*"both"/],
  ['a set without changes', setOf(undefined), /"changes".*nothing/],
  ['a set of something else', setOf({ rate: 5000 }), /"changes".*rateBitsPerSec.*"rate"/],
  [
    'a set to a rate below 1 kbit/s',
    setOf({ rateBitsPerSec: 999 }),
    /rateBitsPerSec.*from 1000.*999/,
  ],
  ['a set to a rate above 1 Pbit/s', setOf({ rateBitsPerSec: 1e15 + 1 }), /rateBitsPerSec/],
  ['a set to no number', setOf({ rateBitsPerSec: NaN }), /rateBitsPerSec/],
  ['a set to a negative burst', setOf({ burstBits: -1 }), /burstBits.*-1/],
  ['a set to an endless horizon', setOf({ horizonNs: 2_000_000_001 }), /horizonNs.*to 2000000000/],
  ['a set to a fractional target', setOf({ aqmTargetNs: 0.5 }), /aqmTargetNs.*0\.5/],
  ['a set to an interval of 0', setOf({ aqmIntervalNs: 0 }), /aqmIntervalNs/],
  ['counters per something', { method: 'counters', params: { perCpu: 'yes' } }, /"perCpu".*yes/],
  ['valid that is no list', { method: 'gc', params: { network: 'n', valid: {} } }, /"valid"/],
  [
    'valid with a bad entry',
    { method: 'gc', params: { network: 'n', valid: [{ containerId: 'x' }] } },
    /"ifname"/,
  ],
];

const PAIR = { podInterface: 'v4if0', hostInterface: 'pod1', hostInterfaceIndex: 7 };
const NET1 = { podInterface: 'net1', reason: 'it is of kind macvlan' };

const besides: readonly (readonly [what: string, more: object, pattern: RegExp])[] = [
  ['an empty list of pairs', { beside: [] }, /"beside".*1 to 64/],
  ['65 pairs', { beside: Array.from({ length: 65 }, () => PAIR) }, /"beside"/],
  [
    'a pair without an index',
    { beside: [{ ...PAIR, hostInterfaceIndex: 0 }] },
    /"hostInterfaceIndex"/,
  ],
  [
    'a pair whose end has no name',
    { beside: [{ ...PAIR, podInterface: 'a b' }] },
    /"podInterface"/,
  ],
  [
    'two pairs of one name',
    { beside: [PAIR, { ...PAIR, hostInterfaceIndex: 8 }] },
    /different names/,
  ],
  [
    'a pair with addresses that are none',
    { beside: [{ ...PAIR, hostRouting: { addresses: ['x'] } }] },
    /addresses/,
  ],
  ['a way that is no object', { unheld: ['net1'] }, /"unheld\[0\]"/],
  ['a way without a reason', { unheld: [{ podInterface: 'net1' }] }, /"reason"/],
  ['a way with a long reason', { unheld: [{ ...NET1, reason: 'x'.repeat(201) }] }, /"reason"/],
];

for (const [what, more, pattern] of besides) {
  test(`parseRequest refuses ${what}`, (t) => {
    const message = { method: 'attach', params: { ...attach, ...more } };
    const error = t.throws(() => parseRequest(message), { instanceOf: ShapeError });
    t.regex(error.message, pattern);
  });
}

test('parseRequest takes further interfaces of a pod, of attach and check, and leaves out what it does not know', (t) => {
  const hostRouting = { addresses: ['10.0.0.1'], mac: '02:00:00:00:00:01' };
  const beside = [
    { ...PAIR, hostRouting },
    { ...PAIR, podInterface: 'net2' },
  ];
  for (const method of ['attach', 'check']) {
    const params = {
      ...attach,
      beside: beside.map((pair) => ({ ...pair, more: 1 })),
      unheld: [NET1],
    };
    t.like(parseRequest({ method, params }), { method, params: { beside, unheld: [NET1] } });
  }
});

test('parseRequest takes the names of a pod, and cuts and escapes what cannot be one', (t) => {
  const pod = {
    podNamespace: 'default',
    podName: 'web-0',
    podUid: '7d0a3c5e-1c7f-4f0e-9a53-0f4f4f6f2b11',
  };
  for (const method of ['attach', 'check'])
    t.deepEqual(parseRequest({ method, params: { ...attach, ...pod } }).params, {
      ...attach,
      ...pod,
    });
  const odd = { podNamespace: 'n'.repeat(64), podName: 'a\n\u001b', podUid: 7 };
  t.deepEqual(parseRequest({ method: 'attach', params: { ...attach, ...odd } }).params, {
    ...{ ...attach, podNamespace: `${'n'.repeat(62)}…`, podName: String.raw`a\n\u001b` },
  });
});

const controls: readonly (readonly [string, number])[] = [
  ['NUL', 0],
  ['an escape', 0x1b],
  ['a line feed', 0x0a],
  ['DEL', 0x7f],
  ['C1', 0x9b],
  ['a line separator', 0x2028],
];

for (const [what, codePoint] of controls) {
  test(`parseRequest refuses a sandbox and an algorithm with ${what}`, (t) => {
    for (const field of ['sandbox', 'congestionControl']) {
      const params = { ...attach, [field]: `/run/x${String.fromCodePoint(codePoint)}y` };
      const error = t.throws(() => parseRequest({ method: 'attach', params }), {
        instanceOf: ShapeError,
      });
      t.regex(error.message, new RegExp(`^"${field}"`));
    }
  });
}

/**
 * PATH_MAX and TCP_CA_NAME_MAX count a NUL; a record is a file whose name is at most NAME_MAX
 * bytes.
 */
const limits: readonly (readonly [field: string, longest: string])[] = [
  ['sandbox', `/${'x'.repeat(4094)}`],
  ['congestionControl', 'x'.repeat(15)],
  ['containerId', 'x'.repeat(200)],
  ['hostInterface', 'x'.repeat(15)],
];

for (const [field, longest] of limits) {
  test(`parseRequest takes a ${field} of ${longest.length} characters and refuses a longer one`, (t) => {
    const withValue = (value: string) => ({
      method: 'attach',
      params: { ...attach, [field]: value },
    });
    t.notThrows(() => parseRequest(withValue(longest)));
    const error = t.throws(() => parseRequest(withValue(`${longest}x`)), {
      instanceOf: ShapeError,
    });
    t.true(error.message.length < 250, error.message);
  });
}

/**
 * dev_valid_name() of net/core/dev.c goes by bytes: 0xa0 is a blank to it, also inside a character
 * of UTF-8.
 */
const interfaceNames: readonly (readonly [name: string, isValid: boolean])[] = [
  [`a${String.fromCodePoint(0x1b)}[31m`, true],
  [String.fromCodePoint(0x7f), true],
  [`x${String.fromCodePoint(0x2028)}`, true],
  ['eth0.100', true],
  ['é', true],
  ['à', false],
  ['é'.repeat(7), true],
  ['é'.repeat(8), false],
  [`a${String.fromCodePoint(0)}b`, false],
  ['a b', false],
  ['a\tb', false],
  ['a:b', false],
  ['a/b', false],
  ['.', false],
];

test('an interface name is what the kernel takes', (t) => {
  for (const [ifname, isValid] of interfaceNames) {
    const request = { method: 'detach', params: { containerId: 'x', ifname } };
    if (isValid) t.notThrows(() => parseRequest(request), JSON.stringify(ifname));
    else t.throws(() => parseRequest(request), { instanceOf: ShapeError }, JSON.stringify(ifname));
  }
});

/** Where a message can hold something nested. */
const places: readonly ((value: unknown) => unknown)[] = [
  (value) => value,
  (value) => ({ version: value }),
  (value) => ({ version: 2, method: value, params: {} }),
  (value) => ({ version: 2, method: 'detach', params: value }),
  (value) => ({ version: 2, method: 'detach', params: { containerId: value, ifname: 'eth0' } }),
  (value) => ({ version: 2, method: 'attach', params: { ...attach, caps: { egress: value } } }),
  (value) => ({ version: 2, method: 'attach', params: { ...attach, exempt: [value] } }),
  (value) => ({
    version: 2,
    method: 'attach',
    params: { ...attach, hostRouting: { addresses: [value] } },
  }),
  (value) => ({ version: 2, method: 'gc', params: { network: 'n', valid: [value] } }),
  (value) => ({ version: 2, method: 'gc', params: { network: 'n', valid: [], from: value } }),
  (value) => setOf(value),
  (value) => setOf({ rateBitsPerSec: value }),
  (value) => ({ version: 2, method: 'counters', params: { only: value } }),
];

function nested(depth: number, asObjects: boolean): unknown {
  let value: unknown = 1;
  for (let level = 0; level < depth; level++) value = asObjects ? { '': value } : [value];
  return value;
}

for (const depth of [100, 1000, 10_000, 100_000]) {
  test(`what is nested ${depth} deep is a ShapeError that is short, wherever it stands`, (t) => {
    for (const place of places) {
      for (const asObjects of [false, true]) {
        const parse = (): void => {
          const message = place(nested(depth, asObjects));
          versionOf(message);
          parseRequest(message);
        };
        const error = t.throws(parse, { instanceOf: ShapeError });
        t.notRegex(error.message, /call stack/);
        t.true(error.message.length < 250, error.message);
      }
    }
  });
}

test('no message of an error is long, whatever came', (t) => {
  const long = [
    'x'.repeat(60_000),
    Array.from({ length: 20_000 }, () => 1),
    { ['k'.repeat(60_000)]: 1 },
  ];
  const messages = places.flatMap((place) => long.map(place));
  // Where a page ends is compared and nothing else: any text will do.
  const refused = messages.filter((message) => !JSON.stringify(message).includes('"from":"xxx'));
  for (const message of refused) {
    const error = t.throws(() => {
      versionOf(message);
      parseRequest(message);
    });
    t.true(error.message.length < 250, error.message.slice(0, 300));
  }
});

for (const [what, message, expected] of bad) {
  test(`parseRequest refuses ${what}`, (t) => {
    const error = t.throws(() => parseRequest(message), { instanceOf: ShapeError });
    t.regex(error.message, expected);
  });
}

test('any JSON gives a request or a ShapeError', (t) => {
  fc.assert(
    fc.property(fc.jsonValue(), (message) => {
      try {
        versionOf(message);
        t.truthy(parseRequest(message).method);
      } catch (error) {
        t.true(error instanceof ShapeError);
      }
    }),
  );
});
