import test from 'ava';
import { addressOf, bandwidthArguments, hostInterfaceOf } from '../../bed/plugins.ts';

test('caps are spelled as containerd spells them, with the burst that it passes', (t) => {
  t.is(
    bandwidthArguments({ egressMbit: 10 }),
    '{"bandwidth":{"IngressRate":0,"IngressBurst":0,"EgressRate":10000000,"EgressBurst":4294967295}}',
  );
});

test('a burst can be set', (t) => {
  t.regex(
    bandwidthArguments({ egressMbit: 1, burstBits: 1_000_000 }),
    /"EgressRate":1000000,"EgressBurst":1000000}/,
  );
});

test('a pod without a cap has no bandwidth argument', (t) => {
  t.is(bandwidthArguments({ egressMbit: undefined }), '{}');
});

test("the pod's IPv4 address is found beside others", (t) => {
  const ips = [{ address: 'fd00::5/64' }, { address: '10.88.0.5/24', gateway: '10.88.0.1' }];
  t.is(addressOf(JSON.stringify({ cniVersion: '1.0.0', ips })), '10.88.0.5');
});

test('a result without an IPv4 address is told with the result', (t) => {
  t.throws(() => addressOf('{"ips":[{"address":"fd00::5/64"}]}'), { message: /fd00::5/ });
  t.throws(() => addressOf('{}'), { message: /Cannot find the pod's IPv4 address/ });
});

test('the host interface is the one outside of any sandbox', (t) => {
  const interfaces = [{ name: 'eth0', sandbox: '/run/netns/a' }, { name: 'veth7' }];
  t.is(hostInterfaceOf(JSON.stringify({ interfaces })), 'veth7');
  t.is(hostInterfaceOf(JSON.stringify({ interfaces: interfaces.toReversed() })), 'veth7');
  t.throws(() => hostInterfaceOf('{"interfaces":[]}'), {
    message: /Cannot find the host interface/,
  });
});
