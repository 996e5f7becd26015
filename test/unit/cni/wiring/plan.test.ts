import test from 'ava';
import fc from 'fast-check';
import { CniError } from '../../../../cni/types.ts';
import { encodeAddress } from '../../../../helper/wire/ip-address.ts';
import { readCidr, planWiring } from '../../../../cni/wiring/plan.ts';

test('an IPv4 pod', (t) => {
  const plan = planWiring(
    [{ address: '10.1.2.3/16', gateway: '10.1.0.1' }],
    [{ dst: '0.0.0.0/0' }],
  );
  t.deepEqual(plan, {
    ips: [{ address: '10.1.2.3/16', gateway: '10.1.0.1' }],
    podAddresses: [{ address: '10.1.2.3', prefixLength: 16 }],
    podRoutes: [
      { destination: '10.1.0.1/32', table: 254, source: '10.1.2.3' },
      { destination: '10.1.0.0/16', gateway: '10.1.0.1', table: 254, source: '10.1.2.3' },
      { destination: '0.0.0.0/0', gateway: '10.1.0.1', table: 254 },
    ],
    hostAddresses: [{ address: '10.1.0.1', prefixLength: 32 }],
    hostRoutes: [{ destination: '10.1.2.3/32', table: 254 }],
    hasIpv4: true,
    hasIpv6: false,
  });
});

test('a single address without gateway', (t) => {
  const plan = planWiring([{ address: 'FD00:0::5/128' }], [{ dst: '::/0' }]);
  t.deepEqual(plan.podAddresses, [{ address: 'fd00::5', prefixLength: 128 }]);
  t.deepEqual(plan.podRoutes, [
    { destination: 'fe80::1/128', table: 254, source: 'fd00::5' },
    { destination: '::/0', gateway: 'fe80::1', table: 254 },
  ]);
  t.deepEqual(plan.hostAddresses, [{ address: 'fe80::1', prefixLength: 128 }]);
  t.true(plan.hasIpv6);
  t.false(plan.hasIpv4);
});

test('two addresses behind one gateway share what the kernel takes once', (t) => {
  const gateway = '10.1.0.1';
  const plan = planWiring(
    [
      { address: '10.1.0.2/24', gateway },
      { address: '10.1.0.3/24', gateway },
    ],
    [],
  );
  t.is(plan.podRoutes.length, 2);
  t.is(plan.hostAddresses.length, 1);
  t.is(plan.hostRoutes.length, 2);
});

test("IPAM's routes keep all that they say, and win over the computed ones", (t) => {
  const { podRoutes } = planWiring(
    [{ address: '10.1.0.2/24', gateway: '10.1.0.1' }],
    [
      { dst: '10.1.0.0/24', mtu: 1400 },
      { dst: '192.0.2.77/24', gw: '10.1.0.9', advmss: 1300, priority: 7, table: 100, scope: 0 },
      { dst: '198.51.100.0/24', scope: 253 },
      { dst: 'fd00::/8' },
    ],
  );
  t.deepEqual(podRoutes.slice(1), [
    { destination: '10.1.0.0/24', table: 254, gateway: '10.1.0.1', mtu: 1400 },
    {
      destination: '192.0.2.0/24',
      table: 100,
      gateway: '10.1.0.9',
      advmss: 1300,
      priority: 7,
      scope: 0,
    },
    { destination: '198.51.100.0/24', table: 254, scope: 253 },
    { destination: 'fd00::/8', table: 254 },
  ]);
});

const BAD: readonly [what: string, plan: () => unknown, message: RegExp][] = [
  ['no address', () => planWiring([], []), /^IPAM plugin returned missing IP config$/],
  [
    'an address without length',
    () => planWiring([{ address: '10.1.0.2' }], []),
    /^Cannot use address "10\.1\.0\.2"/,
  ],
  [
    'a length beyond the family',
    () => planWiring([{ address: '10.1.0.2/33' }], []),
    /^Cannot use address/,
  ],
  [
    'a gateway of another family',
    () => planWiring([{ address: '10.1.0.2/24', gateway: 'fd00::1' }], []),
    /^Cannot use gateway "fd00::1": it is no IPv4 address$/,
  ],
  [
    'a gateway that is none',
    () => planWiring([{ address: '10.1.0.2/24', gateway: 'gw' }], []),
    /^Cannot use gateway "gw"/,
  ],
  [
    'a route that is none',
    () => planWiring([{ address: '10.1.0.2/24' }], [{ dst: 'default' }]),
    /^Cannot use route "default"/,
  ],
];

for (const [what, plan, message] of BAD) {
  test(`refuses ${what}`, (t) => {
    const error = t.throws(plan, { instanceOf: CniError });
    t.is(error.code, 7);
    t.regex(error.message, message);
  });
}

function isIpv4Mapped(address: string): boolean {
  return encodeAddress(address)
    .subarray(0, 12)
    .equals(Buffer.from('00000000000000000000ffff', 'hex'));
}

test('an IPv4-mapped address and one with a zone are refused', (t) => {
  for (const address of ['::ffff:10.0.0.1', '::ffff:a00:1', 'fe80::1%eth0']) {
    t.throws(() => readCidr('address', `${address}/96`), {
      instanceOf: CniError,
      message: /address/,
    });
  }
});

test('the network of a CIDR is the address with its host bits cleared', (t) => {
  fc.assert(
    fc.property(fc.ipV4(), fc.integer({ min: 0, max: 32 }), (address, length) => {
      const { network } = readCidr('address', `${address}/${length}`);
      const number = (text: string) =>
        text.split('.').reduce((sum, octet) => sum * 256 + Number(octet), 0);
      const size = 2 ** (32 - length);
      t.is(number(network), Math.floor(number(address) / size) * size);
    }),
  );
  fc.assert(
    fc.property(fc.ipV6(), fc.integer({ min: 0, max: 128 }), (address, length) => {
      fc.pre(!isIpv4Mapped(address));
      const { network } = readCidr('address', `${address}/${length}`);
      t.is(readCidr('address', `${network}/${length}`).network, network);
    }),
  );
});

test('a gateway comes before what leads through it, and no route twice', (t) => {
  const ip = fc.record({
    address: fc.tuple(fc.ipV4(), fc.integer({ min: 1, max: 32 })).map(([a, l]) => `${a}/${l}`),
    gateway: fc.ipV4(),
  });
  const route = fc.record({
    dst: fc.tuple(fc.ipV4(), fc.integer({ min: 0, max: 32 })).map(([a, l]) => `${a}/${l}`),
  });
  fc.assert(
    fc.property(
      fc.array(ip, { minLength: 1, maxLength: 4 }),
      fc.array(route, { maxLength: 4 }),
      (ips, routes) => {
        const { podRoutes } = planWiring(ips, routes);
        const seen = new Set<string>();
        for (const { destination, gateway } of podRoutes) {
          if (gateway !== undefined)
            t.true(seen.has(`${gateway}/32`), `${destination} via ${gateway}`);
          t.false(seen.has(destination));
          seen.add(destination);
        }
      },
    ),
  );
});
