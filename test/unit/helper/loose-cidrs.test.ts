// What is said of exempt CIDRs with bits beyond their prefix.

import test from 'ava';
import { notesOfLooseCidrs } from '../../../helper/loose-cidrs.ts';

test('an exempt CIDR that covers more than its address says is told of, with its range', (t) => {
  t.deepEqual(notesOfLooseCidrs(['10.1.2.3/8', '!2001:db8::1/126']), [
    'exempt "10.1.2.3/8" covers 10.0.0.0 to 10.255.255.255: bits beyond its prefix are disregarded',
    'exempt "!2001:db8::1/126" covers 2001:db8:: to 2001:db8::3: bits beyond its prefix are disregarded',
  ]);
});

test('of networks, addresses alone and IPv4-mapped addresses nothing is said', (t) => {
  const tidy = ['10.0.0.0/8', '!10.1.0.0/16', '2001:db8::/32', '10.1.2.3', '10.1.2.3/32', '::1'];
  t.deepEqual(notesOfLooseCidrs([...tidy, '::ffff:10.1.2.3/104']), []);
});
