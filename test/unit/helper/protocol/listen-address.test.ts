import test from 'ava';
import {
  listenAddress,
  listenAddressOrOff,
  parseListenAddress,
} from '../../../../helper/protocol/listen-address.ts';
import { ShapeError } from '../../../../helper/protocol/shape.ts';

test('an address of either family with a port', (t) => {
  t.deepEqual(parseListenAddress('127.0.0.1:9843'), { host: '127.0.0.1', port: 9843 });
  t.deepEqual(parseListenAddress('[::1]:1'), { host: '::1', port: 1 });
  t.deepEqual(parseListenAddress('0.0.0.0:65535'), { host: '0.0.0.0', port: 65_535 });
});

for (const text of [
  ...['', '9843', ':9843', '127.0.0.1', '127.0.0.1:', '127.0.0.1:0', '127.0.0.1:65536'],
  ...['127.0.0.1:1e3', '127.0.0.1:-1', '127.0.0.1: 1', ' 127.0.0.1:1', '127.0.0.1:1\n'],
  ...['::1:80', '[1.2.3]:80', '[::1]80', '[]:80', '1.2.3:80', 'localhost:80', '[fe80::1%eth0]:1'],
]) {
  test(`${JSON.stringify(text)} is none`, (t) => {
    t.is(parseListenAddress(text), undefined);
    t.throws(() => listenAddress(text, 'healthAddress'), { instanceOf: ShapeError });
  });
}

for (const [hostIp, host] of [
  ['10.0.0.7', '10.0.0.7'],
  ['fd00::7', 'fd00::7'],
  ['2001:db8:0:1:2:3:4:5', '2001:db8:0:1:2:3:4:5'],
] as const)
  test(`a manifest's [$(HOST_IP)] stands for ${hostIp}`, (t) => {
    const text = '[$(HOST_IP)]:9844'.replace('$(HOST_IP)', hostIp);
    t.deepEqual(parseListenAddress(text), { host, port: 9844 });
  });

test('what is refused is named, with what to write', (t) => {
  const error = t.throws(() => listenAddress('fd00::7:9844', 'metricsAddress'));
  t.regex(error.message, /"metricsAddress" must be .*\[::1\]:9843, got "fd00::7:9844"/);
});

test('off is taken only where nobody need listen', (t) => {
  t.is(listenAddressOrOff('off', 'metricsAddress'), 'off');
  t.is(listenAddressOrOff('[::1]:1', 'metricsAddress'), '[::1]:1');
  t.throws(() => listenAddress('off', 'healthAddress'), { instanceOf: ShapeError });
  for (const text of ['', 'OFF', 'on', 'localhost:1'])
    t.throws(() => listenAddressOrOff(text, 'metricsAddress'), { message: /, or off, got / });
});
