import test from 'ava';
import {
  encodePodAddress,
  encodePodAddressKey,
  encodeRoutedPod,
  interfaceOfPodAddress,
  POD_ADDRESS_KEY_SIZE,
  POD_ADDRESS_SIZE,
  ROUTED_POD_SIZE,
} from '../../../../helper/wire/routing.ts';

test('a pod may send from one address of each family, in any order', (t) => {
  const both = encodeRoutedPod(['2001:db8::7', '10.1.2.3']);
  t.is(both.toString('hex'), '0a01020320010db8000000000000000000000007');
  t.deepEqual(encodeRoutedPod(['10.1.2.3', '2001:db8::7', '10.1.2.4']), both);
  t.deepEqual(encodeRoutedPod([]), Buffer.alloc(ROUTED_POD_SIZE));
  t.throws(() => encodeRoutedPod(['10.1.2']));
});

test('IPv4 addresses are keys in their IPv6 form', (t) => {
  t.is(encodePodAddressKey('10.1.2.3').toString('hex'), '00000000000000000000ffff0a010203');
  t.is(encodePodAddressKey('2001:db8::7').toString('hex'), '20010db8000000000000000000000007');
  t.is(encodePodAddressKey('::').length, POD_ADDRESS_KEY_SIZE);
});

test('where packets to an address go', (t) => {
  const value = encodePodAddress({
    ...{ ifindex: 7, isShaped: true },
    macs: ['02:00:00:00:00:01', '02:00:00:00:00:02'],
  });
  t.is(value.toString('hex'), '0700000001000000020000000001020000000002');
  t.is(interfaceOfPodAddress(value), 7);
  const netkit = encodePodAddress({ ifindex: 258, isShaped: false });
  t.is(netkit.length, POD_ADDRESS_SIZE);
  t.is(netkit.toString('hex'), '0201000000000000000000000000000000000000');
});
