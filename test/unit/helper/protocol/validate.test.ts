import test from 'ava';
import fc from 'fast-check';
import { parseRequest, ShapeError, versionOf } from '../../../../helper/protocol/validate.ts';

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
  const { params } = parseRequest({ method: 'detach', params: { containerId: 'a', ifname: 'b', other: 1 } });
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
    { method: 'attach', params: { ...attach, caps: { egress: { rateBitsPerSec: 1000, burstBits: -1 } } } },
    /burstBits.*-1/,
  ],
  ['a set of no direction', setOf({}, 'both'), /"direction".*"both"/],
  ['a set without changes', setOf(undefined), /"changes".*nothing/],
  ['a set of something else', setOf({ rate: 5000 }), /"changes".*rateBitsPerSec.*"rate"/],
  ['a set to a rate below 1 kbit/s', setOf({ rateBitsPerSec: 999 }), /rateBitsPerSec.*from 1000.*999/],
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
