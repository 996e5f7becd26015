import test from 'ava';
import fc from 'fast-check';
import { hasCaps, parseCaps } from '../../../cni/caps.ts';
import { parseJson } from '../../../cni/json.ts';
import { CniError, type JsonObject } from '../../../cni/types.ts';

const CONTAINERD_BURST = 4294967295;
const CRIO_BURST = 34359738359;
const DOCKERSHIM_BURST = 2147483647;

function parse(text: string): ReturnType<typeof parseCaps> {
  return parseCaps(parseJson(text) as JsonObject);
}

test('what containerd sends', (t) => {
  const caps = parse(
    `{"runtimeConfig":{"bandwidth":{"IngressRate":10000000,"IngressBurst":${CONTAINERD_BURST},"EgressRate":0,"EgressBurst":0},
      "portMappings":[],"dns":{"Servers":[],"Searches":[],"Options":[]}}}`,
  );
  t.deepEqual(caps, { ingress: { rateBitsPerSec: 10_000_000, burstBits: CONTAINERD_BURST } });
});

test('what CRI-O and dockershim send', (t) => {
  const caps = parse(
    `{"runtimeConfig":{"bandwidth":{"ingressRate":1000000,"ingressBurst":${CRIO_BURST},"egressRate":2000000,"egressBurst":${DOCKERSHIM_BURST}}}}`,
  );
  t.deepEqual(caps, {
    ingress: { rateBitsPerSec: 1_000_000, burstBits: CRIO_BURST },
    egress: { rateBitsPerSec: 2_000_000, burstBits: DOCKERSHIM_BURST },
  });
});

test('nothing to enforce', (t) => {
  const none = [
    '{}',
    '{"runtimeConfig":{}}',
    '{"runtimeConfig":null}',
    '{"runtimeConfig":{"bandwidth":null}}',
    '{"runtimeConfig":{"bandwidth":{}}}',
    '{"runtimeConfig":{"bandwidth":{"ingressRate":0,"egressRate":null}}}',
    '{"ingressRate":0,"ingressBurst":0,"egressRate":0,"egressBurst":0}',
  ];
  for (const text of none) {
    t.deepEqual(parse(text), {}, text);
    t.false(hasCaps(parse(text)));
  }
});

test('any case of letters at every level', (t) => {
  const inAnyCase = (word: string) =>
    fc
      .array(fc.boolean(), { minLength: word.length, maxLength: word.length })
      .map((upper) =>
        Array.from(word, (c, i) => (upper[i] ? c.toUpperCase() : c.toLowerCase())).join(''),
      );
  fc.assert(
    fc.property(
      inAnyCase('runtimeConfig'),
      inAnyCase('bandwidth'),
      inAnyCase('egressRate'),
      inAnyCase('egressBurst'),
      (runtimeConfig, bandwidth, rate, burst) => {
        const expected = { egress: { rateBitsPerSec: 5000, burstBits: 8 } };
        t.deepEqual(
          parseCaps({ [runtimeConfig]: { [bandwidth]: { [rate]: 5000, [burst]: 8 } } }),
          expected,
        );
        t.deepEqual(parseCaps({ [rate]: 5000, [burst]: 8 }), expected);
      },
    ),
  );
});

// As with Go's decoder (encoding/json), and so with the plugin that podpace replaces.
test('of a key that comes twice the last one counts, in any case of letters', (t) => {
  const rate = (text: string) => parse(text).egress?.rateBitsPerSec;
  t.is(rate('{"egressRate":5000,"EGRESSRATE":6000,"egressBurst":8}'), 6000);
  t.is(rate('{"EGRESSRATE":5000,"egressRate":6000,"egressBurst":8}'), 6000);
  t.is(rate('{"EgressRate":5000,"EGRESSRATE":6000,"egressBurst":8}'), 6000);
  t.is(rate('{"egressRate":5000,"egressRate":6000,"egressBurst":8}'), 6000);
});

test('the top level wins entirely, even with a zero', (t) => {
  const runtimeConfig = { bandwidth: { egressRate: 9000, egressBurst: 9000 } };
  t.deepEqual(parseCaps({ ingressRate: 0, runtimeConfig }), {});
  t.deepEqual(parseCaps({ EGRESSBURST: 0, runtimeConfig }), {});
  t.deepEqual(parseCaps({ ingressRate: 8000, ingressBurst: 80, runtimeConfig }), {
    ingress: { rateBitsPerSec: 8000, burstBits: 80 },
  });
});

test('rates and bursts up to the limits', (t) => {
  for (const rate of [1000, 1e15]) {
    t.is(parseCaps({ egressRate: rate, egressBurst: CRIO_BURST }).egress?.rateBitsPerSec, rate);
  }
});

test('a rate needs no burst, at the top level and in runtimeConfig', (t) => {
  for (const burst of ['', ',"egressBurst":0', ',"egressBurst":null']) {
    const expected = { egress: { rateBitsPerSec: 8000 } };
    t.deepEqual(parse(`{"egressRate":8000${burst}}`), expected);
    t.deepEqual(parse(`{"runtimeConfig":{"bandwidth":{"egressRate":8000${burst}}}}`), expected);
  }
  t.deepEqual(parse('{"ingressRate":8000,"egressRate":9000,"egressBurst":80}'), {
    ingress: { rateBitsPerSec: 8000 },
    egress: { rateBitsPerSec: 9000, burstBits: 80 },
  });
});

test('a rate without a burst is held to the same range', (t) => {
  for (const rate of [
    '1',
    '999',
    '1000000000000001',
    '9007199254740993',
    '-1',
    '8000.5',
    '"8000"',
  ]) {
    t.is(t.throws(() => parse(`{"egressRate":${rate}}`), { instanceOf: CniError }).code, 7);
  }
});

const BAD: readonly [json: string, message: RegExp][] = [
  [
    '{"ingressBurst":80}',
    /^if burst is set, rate must also be set: ingressRate is 0 and ingressBurst is 80$/,
  ],
  ['{"egressBurst":80,"egressRate":0}', /^if burst is set, rate must also be set: egressRate is 0/],
  [
    '{"egressRate":8000,"egressBurst":34359738360}',
    /^burst cannot be more than 4GB: .*egressBurst is 34359738360$/,
  ],
  [
    '{"egressRate":8000,"egressBurst":99999999999999999999}',
    /^burst cannot be more than 4GB: .*is 99999999999999999999$/,
  ],
  ['{"egressRate":999,"egressBurst":80}', /^Cannot cap at 999 bit\/s/],
  ['{"egressRate":1000000000000001,"egressBurst":80}', /^Cannot cap at 1000000000000001 bit\/s/],
  ['{"egressRate":9007199254740993,"egressBurst":80}', /^Cannot cap at 9007199254740993 bit\/s/],
  ['{"egressRate":1e400,"egressBurst":80}', /^Cannot cap at 1e400 bit\/s/],
  [
    '{"egressRate":-1,"egressBurst":80}',
    /^Cannot use egressRate: it is -1, not a whole number of bits$/,
  ],
  [
    '{"egressRate":-99999999999999999999,"egressBurst":80}',
    /^Cannot use egressRate: it is -99999999999999999999,/,
  ],
  ['{"egressRate":8000.5,"egressBurst":80}', /^Cannot use egressRate: it is 8000\.5,/],
  ['{"egressRate":"8000","egressBurst":80}', /^Cannot use egressRate: it is "8000",/],
  ['{"egressRate":true,"egressBurst":80}', /^Cannot use egressRate: it is true,/],
  ['{"egressRate":[1],"egressBurst":80}', /^Cannot use egressRate: it is \[1\],/],
  ['{"egressRate":{},"egressBurst":80}', /^Cannot use egressRate: it is \{\},/],
  ['{"egressRate":8000,"egressBurst":"8"}', /^Cannot use egressBurst: it is "8",/],
  ['{"runtimeConfig":7}', /^Cannot use runtimeConfig: it is 7, not an object$/],
  [
    '{"runtimeConfig":{"bandwidth":"1M"}}',
    /^Cannot use runtimeConfig\.bandwidth: it is "1M", not an object$/,
  ],
  [
    '{"runtimeConfig":{"bandwidth":{"IngressRate":"1M"}}}',
    /^Cannot use runtimeConfig\.bandwidth\.ingressRate: it is "1M", not a whole number of bits$/,
  ],
];

for (const [json, message] of BAD) {
  test(`refuses ${json}`, (t) => {
    const error = t.throws(() => parse(json), { instanceOf: CniError });
    t.is(error.code, 7);
    t.regex(error.message, message);
    if (!json.includes('runtimeConfig":7') && !json.includes('"1M"}}')) t.truthy(error.details);
  });
}

test('every accepted rate is in range and every accepted burst below the limit', (t) => {
  const number = fc.oneof(
    fc.integer(),
    fc.maxSafeNat(),
    fc.double(),
    fc.constantFrom(0, 999, 1000, 1e15, CRIO_BURST),
  );
  fc.assert(
    fc.property(number, number, (egressRate, egressBurst) => {
      try {
        const { egress } = parseCaps({ egressRate, egressBurst });
        if (egress === undefined) return egressRate === 0 && egressBurst === 0;
        return (
          egress.rateBitsPerSec === egressRate &&
          (egress.burstBits ?? 0) === egressBurst &&
          egressRate >= 1000 &&
          egressRate <= 1e15 &&
          egressBurst >= 0 &&
          egressBurst <= CRIO_BURST
        );
      } catch (error) {
        return error instanceof CniError && error.code === 7;
      }
    }),
  );
  t.pass();
});
