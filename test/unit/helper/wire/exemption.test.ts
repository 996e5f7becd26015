import test from 'ava';
import fc from 'fast-check';
import {
  checkExemptions,
  encodeExemption,
  encodeExemptionKey,
  parseExemption,
} from '../../../../helper/wire/exemption.ts';
import { decodeAddress } from '../../../../helper/wire/ip-address.ts';

function shown(text: string): string {
  const { address, prefixLength, isExempt } = parseExemption(text);
  return `${isExempt ? '' : '!'}${decodeAddress(address)}/${prefixLength}`;
}

test('CIDRs and addresses of both families are read, bits beyond the prefix left out', (t) => {
  t.is(shown('2001:db8::5/32'), '2001:db8::/32');
  t.is(shown('2001:db8::5'), '2001:db8::5/128');
  t.is(shown('::/0'), '::/0');
  t.is(parseExemption('10.1.2.3/9').address.toString('hex'), '00000000000000000000ffff0a000000');
  t.is(parseExemption('10.255.2.3/9').address.toString('hex'), '00000000000000000000ffff0a800000');
  t.is(parseExemption('10.0.0.0/8').prefixLength, 104);
  t.is(parseExemption('10.0.0.1').prefixLength, 128);
  t.is(parseExemption('0.0.0.0/0').prefixLength, 96);
  t.false(parseExemption('!10.0.0.0/8').isExempt);
});

test('a prefix of an IPv4 network has the bits of its length and no others', (t) => {
  fc.assert(
    fc.property(fc.ipV4(), fc.nat(32), (address, length) => {
      const bits = BigInt(
        `0x${parseExemption(`${address}/${length}`).address.subarray(12).toString('hex')}`,
      );
      const whole = BigInt(`0x${parseExemption(address).address.subarray(12).toString('hex')}`);
      t.is(bits, (whole >> BigInt(32 - length)) << BigInt(32 - length));
    }),
  );
});

test('what is no CIDR is refused by name', (t) => {
  const bad = [
    '',
    '!',
    '10.0.0.0/33',
    '10.0.0/8',
    '10.0.0.0/',
    '10.0.0.0/8/8',
    '::/129',
    'example.com',
    '10.0.0.0/-1',
  ];
  for (const text of [...bad, '10.0.0.0/1e1', '!!10.0.0.0/8', ' 10.0.0.0/8'])
    t.throws(
      () => parseExemption(text),
      { instanceOf: RangeError, message: /is no CIDR, such as/ },
      text,
    );
});

test('key and value are the structs of bpf/podpace.bpf.c', (t) => {
  const exemption = parseExemption('10.0.0.0/8');
  t.is(
    encodeExemptionKey(0x1234, exemption).toString('hex'),
    '880000003412000000000000000000000000ffff0a000000',
  );
  t.is(encodeExemption(exemption).toString('hex'), '8800000001000000');
  t.is(encodeExemption({ ...exemption, isExempt: false }).toString('hex'), '8800000000000000');
});

test('a list may overlap, and say a thing twice, but not contradict itself', (t) => {
  const list = ['10.0.0.0/8', '!10.1.0.0/16', '10.1.2.0/24', '::/0', '10.0.0.0/8'];
  t.deepEqual(checkExemptions(list), list);
  t.throws(() => checkExemptions([...list, '!10.255.0.0/8']), {
    instanceOf: RangeError,
    message: 'entry 5: "!10.255.0.0/8" contradicts entry 4, "10.0.0.0/8"',
  });
  t.throws(() => checkExemptions([...list, '10.0.0.0/33']), {
    message: /^entry 5: "10.0.0.0\/33" is no CIDR, such as/,
  });
  t.throws(() => checkExemptions([...list, 7]), { message: 'entry 5: 7 is no CIDR' });
});
