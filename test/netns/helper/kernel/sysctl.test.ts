import test from 'ava';
import { KernelError } from '../../../../helper/wire/errors.ts';
import { inNetns } from '../../../../helper/kernel/netns.ts';
import { readSysctl, writeSysctl } from '../../../../helper/kernel/sysctl.ts';
import { makeNetns } from '../../../kit/netns.ts';

test('sysctls below net are those of the namespace', (t) => {
  const { netns, ip } = makeNetns(t);
  const name = 'net/ipv4/conf/a.b/rp_filter';
  ip('link', 'add', 'a.b', 'type', 'veth', 'peer', 'name', 'far');
  t.throws(() => readSysctl(name), { instanceOf: KernelError, message: /ENOENT/ });
  inNetns(netns, () => writeSysctl(name, '2'));
  t.is(
    inNetns(netns, () => readSysctl(name)),
    '2',
  );
});

test('writeSysctl leaves a value alone that is right already', (t) => {
  // Writing to it is an error, whatever the value.
  const name = 'kernel/ostype';
  t.notThrows(() => writeSysctl(name, 'Linux'));
  const error = t.throws(() => writeSysctl(name, 'Minix'), { instanceOf: KernelError });
  t.is(error?.operation, 'set sysctl "kernel/ostype" to "Minix"');
});

for (const name of ['', '/net', 'net//ipv4', '../etc/passwd', 'net/./ipv4', 'net/']) {
  test(`readSysctl refuses the name "${name}"`, (t) => {
    t.is(t.throws(() => readSysctl(name), { instanceOf: KernelError })?.errno, 'EINVAL');
  });
}

test('readSysctl names a parameter that does not exist', (t) => {
  const error = t.throws(() => readSysctl('net/ipv4/no_such'), { instanceOf: KernelError });
  t.is(error?.errno, 'ENOENT');
  t.is(error?.operation, 'read sysctl "net/ipv4/no_such"');
});
