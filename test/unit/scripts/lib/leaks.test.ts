import test from 'ava';
import { findLeaks } from '../../../../scripts/lib/leaks.ts';

test('what is new is a leak, what was there or has gone is none', (t) => {
  const before = new Set(['link lo', 'namespace /run/netns/old']);
  t.deepEqual(findLeaks(before, new Set(['link lo', 'link vlan7'])), ['link vlan7']);
});

test('the devices that come with a module of tunnels are no leaks, tunnels are', (t) => {
  const after = new Set([
    'link tunl0',
    'link gre0',
    'link gretap0',
    'link erspan0',
    'link ip6tnl0',
    'link tunl1',
  ]);
  t.deepEqual(findLeaks(new Set(), after), ['link tunl1']);
});
