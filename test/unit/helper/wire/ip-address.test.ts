import { isIP } from 'node:net';
import test from 'ava';
import fc from 'fast-check';
import IPCIDR from 'ip-cidr';
import { WireError } from '../../../../helper/wire/attributes.ts';
import {
  AF_INET,
  AF_INET6,
  addressFamily,
  decodeAddress,
  decodeMac,
  encodeAddress,
  encodeMac,
  isIpv4Mapped,
  networkOf,
  parseCidr,
} from '../../../../helper/wire/ip-address.ts';
import { mac } from '../../../kit/arbitraries.ts';

function isAddress(value: string): boolean {
  try {
    encodeAddress(value);
    return true;
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}

test('encodeAddress takes what Node takes for an address, zones apart', (t) => {
  const pieces = [
    '',
    '0',
    '1',
    '::',
    ':',
    'ffff',
    'FfFf',
    '12345',
    '.',
    '1.2.3.4',
    '256.1.1.1',
    'g',
    '01.2.3.4',
    '/',
  ];
  const nearly = fc.array(fc.constantFrom(...pieces), { maxLength: 10 });
  fc.assert(
    fc.property(
      fc.oneof(
        nearly.map((x) => x.join(':')),
        nearly.map((x) => x.join('')),
        fc.ipV6(),
        fc.ipV4(),
      ),
      (value) => {
        t.is(isAddress(value), isIP(value) !== 0, value);
      },
    ),
    { numRuns: 5000 },
  );
  t.false(isAddress('fe80::1%eth0'));
});

test('encodeAddress reverses decodeAddress', (t) => {
  const groups = fc.array(fc.oneof(fc.constant([0, 0]), fc.tuple(fc.nat(255), fc.nat(255))), {
    minLength: 8,
    maxLength: 8,
  });
  const bytes = fc.oneof(
    groups.map((pairs) => pairs.flat()),
    fc.array(fc.nat(255), { minLength: 4, maxLength: 4 }),
  );
  fc.assert(
    fc.property(bytes, (octets) => {
      const value = decodeAddress(Buffer.from(octets));
      t.is(isIP(value), octets.length === 4 ? 4 : 6);
      t.deepEqual(encodeAddress(value), Buffer.from(octets));
    }),
  );
});

for (const [value, canonical] of [
  ['0:0:0:0:0:0:0:0', '::'],
  ['0:0:0:0:0:0:0:1', '::1'],
  ['2001:DB8:0:0:0:0:2:1', '2001:db8::2:1'],
  ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
  ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
  ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
  ['1:0:0:0:0:0:0:0', '1::'],
  ['::ffff:c0a8:1', '::ffff:192.168.0.1'],
  ['64:ff9b::1.2.3.4', '64:ff9b::102:304'],
] as const) {
  test(`decodeAddress writes ${value} as RFC 5952 asks`, (t) => {
    t.is(decodeAddress(encodeAddress(value)), canonical);
  });
}

test('addressFamily tells the families apart', (t) => {
  t.is(addressFamily('10.0.0.1'), AF_INET);
  t.is(addressFamily('::1'), AF_INET6);
  t.throws(() => addressFamily('10.0.0.0/8'), { instanceOf: RangeError, message: /"10.0.0.0\/8"/ });
});

test('decodeAddress refuses other lengths', (t) => {
  t.throws(() => decodeAddress(Buffer.alloc(5)), { instanceOf: WireError });
});

test('encodeMac reverses decodeMac', (t) => {
  fc.assert(fc.property(mac, (value) => t.is(decodeMac(encodeMac(value)), value)));
});

for (const value of [
  '',
  '02:00:00:00:00',
  '02:00:00:00:00:0g',
  '02-00-00-00-00-01',
  '02:00:00:00:00:01\n',
]) {
  test(`encodeMac refuses ${JSON.stringify(value)}`, (t) => {
    t.throws(() => encodeMac(value), { instanceOf: RangeError });
  });
}

test('a CIDR and its network are what ip-cidr makes of it, and IPv4-mapped ones are IPv6', (t) => {
  const text = fc
    .tuple(fc.oneof(fc.ipV4(), fc.ipV6()), fc.nat(140))
    .map(([address, length]) => `${address}/${length}`);
  fc.assert(
    fc.property(text, (cidr) => {
      const found = parseCidr(cidr);
      if (found === undefined) t.false(IPCIDR.isValidCIDR(cidr), cidr);
      if (found === undefined || isIpv4Mapped(found.bytes)) return;
      // In its canonical text: of IPv6 with a dotted end it refuses some, or takes the end alone.
      const other = new IPCIDR(`${decodeAddress(found.bytes)}/${found.prefixLength}`);
      t.is(found.prefixLength, other.address.subnetMask);
      t.is(decodeAddress(found.bytes), other.address.correctForm());
      t.is(decodeAddress(networkOf(found)), other.addressStart.correctForm());
    }),
    { numRuns: 1000 },
  );
  const mapped = parseCidr('::ffff:10.1.2.3/104');
  t.true(mapped !== undefined && isIpv4Mapped(mapped.bytes));
  t.is(decodeAddress(networkOf(mapped!)), '::ffff:10.0.0.0');
  for (const none of ['10.0.0.0', '10.0.0.0/', '10.0.0.0/8/8', '10.0.0.0/+8', 'fe80::1%eth0/64'])
    t.is(parseCidr(none), undefined, none);
});
