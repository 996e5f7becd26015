import test from 'ava';
import fc from 'fast-check';
import { validateInterfaceName } from '../../../../cni/skel.ts';
import { aliasPrefix, hostInterfaceAlias } from '../../../../cni/wiring/alias.ts';
import { hostInterfaceName } from '../../../../cni/wiring/names.ts';

const name = fc.stringMatching(/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,299}$/);
const attachment = fc.record({
  network: name,
  containerId: name,
  ifname: fc.stringMatching(/^[^/:\s.]{1,15}$/u),
});

test('a host interface has a name that the kernel takes, and its own', (t) => {
  fc.assert(
    fc.property(attachment, attachment, (one, other) => {
      t.notThrows(() => validateInterfaceName(hostInterfaceName(one)));
      t.is(hostInterfaceName(one), hostInterfaceName({ ...one }));
      const isSame = JSON.stringify(Object.values(one)) === JSON.stringify(Object.values(other));
      t.is(hostInterfaceName(one) === hostInterfaceName(other), isSame);
    }),
  );
});

test('names do not change between releases, or DEL would not find what ADD made', (t) => {
  t.is(
    hostInterfaceName({ network: 'pods', containerId: 'c1', ifname: 'eth0' }),
    'podd3e9fb4242a2',
  );
});

test('an alias fits the kernel and begins with its network', (t) => {
  fc.assert(
    fc.property(attachment, (one) => {
      const alias = hostInterfaceAlias(one);
      t.true(Buffer.byteLength(alias) <= 255);
      t.false(alias.includes('\uFFFD'));
      t.true(alias.startsWith(aliasPrefix(one.network)));
    }),
  );
  t.is(
    hostInterfaceAlias({ network: 'pods', containerId: 'c1', ifname: 'eth0' }),
    'podpace:pods/c1/eth0',
  );
});
