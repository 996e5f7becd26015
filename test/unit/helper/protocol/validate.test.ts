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
  t.deepEqual(parseRequest({ version: 1, method: 'attach', params: attach }), {
    method: 'attach',
    params: attach,
  });
});

test('parseRequest drops fields that the protocol does not know', (t) => {
  const { params } = parseRequest({ method: 'detach', params: { containerId: 'a', ifname: 'b', other: 1 } });
  t.deepEqual(params, { containerId: 'a', ifname: 'b' });
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
