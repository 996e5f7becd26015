import test from 'ava';
import { ipamType, parseSettings, socketOrDefault } from '../../../cni/config.ts';
import { DEFAULT_SOCKET } from '../../../helper/protocol/state-files.ts';
import { CniError, type JsonObject } from '../../../cni/types.ts';

test('what holds when nothing is said', (t) => {
  const settings = {
    ...{ socket: DEFAULT_SOCKET, onUnenforceable: 'fail', helperAwaySeconds: 120 },
    device: 'veth',
  };
  t.deepEqual(parseSettings({}), { ...settings, hostRouting: false } as ReturnType<
    typeof parseSettings
  >);
  t.deepEqual(
    parseSettings({ device: 'veth', mtu: 0, hostRouting: false, congestionControl: null }),
    parseSettings({ Device: 'veth', onUnenforceable: 'fail', MTU: null, socket: null }),
  );
});

test('what is said', (t) => {
  const settings = {
    ...{
      socket: '/a',
      onUnenforceable: 'allow',
      helperAwaySeconds: 0,
      device: 'netkit',
      mtu: 9000,
    },
    ...{ hostRouting: true, congestionControl: 'bbr' },
  };
  t.deepEqual(parseSettings(settings), settings as ReturnType<typeof parseSettings>);
});

const BAD: readonly [config: JsonObject, code: number, message: RegExp][] = [
  [{ device: 'ipvlan' }, 7, /^Cannot use device: it is "ipvlan"$/],
  [{ device: 7 }, 7, /^Cannot use device: it is 7, not a string$/],
  [{ exempt: '10.0.0.0/8' }, 7, /^Cannot use exempt: it is "10.0.0.0\/8", not a list$/],
  [{ exempt: ['10.0.0.0/33'] }, 7, /^Cannot use exempt: entry 0: "10.0.0.0\/33" is no CIDR/],
  [{ exempt: [8] }, 7, /^Cannot use exempt: entry 0: 8 is no CIDR$/],
  [
    { exempt: Array(1001).fill('::/0') },
    7,
    /^Cannot use exempt: it has 1001 entries, more than 1000$/,
  ],
  [{ HostRouting: 'bpf' }, 7, /^Cannot use hostRouting: it is "bpf"$/],
  [{ hostRouting: 1 }, 7, /^Cannot use hostRouting: it is 1$/],
  [{ congestionControl: true }, 7, /^Cannot use congestionControl: it is true, not a string$/],
  [{ congestionControl: '../bbr' }, 7, /^Cannot use congestionControl: it is "..\/bbr"$/],
  [{ congestionControl: 'a'.repeat(16) }, 7, /^Cannot use congestionControl: it is "a{16}"$/],
  [{ onUnenforceable: 'ignore' }, 7, /^Cannot use onUnenforceable: it is "ignore"$/],
  [{ helperAwaySeconds: 86_401 }, 7, /^Cannot use helperAwaySeconds: it is 86401$/],
  [{ HelperAwaySeconds: '2m' }, 7, /^Cannot use helperAwaySeconds: it is "2m", not a whole number/],
  [{ socket: 'helper.sock' }, 7, /^Cannot use socket: it is "helper\.sock"$/],
  [{ socket: `/${'x'.repeat(107)}` }, 7, /^Cannot use socket/],
  [{ socket: '/a\0b' }, 7, /^Cannot use socket/],
  [{ socket: {} }, 7, /^Cannot use socket: it is \{\}, not a string$/],
  [{ mtu: 575 }, 7, /^Cannot use mtu: it is 575$/],
  [{ mtu: 65536 }, 7, /^Cannot use mtu: it is 65536$/],
  [{ mtu: -1 }, 7, /^Cannot use mtu: it is -1, not a whole number/],
  [{ mtu: 1500.5 }, 7, /^Cannot use mtu: it is 1500\.5, not a whole number/],
  [{ mtu: '1500' }, 7, /^Cannot use mtu: it is "1500", not a whole number/],
];

for (const [config, code, message] of BAD) {
  test(`refuses ${JSON.stringify(config).slice(0, 60)}`, (t) => {
    const error = t.throws(() => parseSettings(config), { instanceOf: CniError });
    t.is(error.code, code);
    t.regex(error.message, message);
  });
}

test('exempt addresses are taken as they are written', (t) => {
  const exempt = ['10.0.0.0/8', '!10.1.0.0/16', '2001:db8::1'];
  t.deepEqual(parseSettings({ exempt }).exempt, exempt);
  t.is(parseSettings({ exempt: [] }).exempt, undefined);
});

test('DEL gets a socket whatever is said', (t) => {
  t.is(socketOrDefault({ socket: 7 }), DEFAULT_SOCKET);
  t.is(socketOrDefault({ socket: 'relative' }), DEFAULT_SOCKET);
  t.is(socketOrDefault({ socket: '/a' }), '/a');
});

test('an ipam without type is none', (t) => {
  for (const config of [{}, { ipam: null }, { ipam: {} }, { ipam: { type: '' } }])
    t.is(ipamType(config), undefined);
  t.is(ipamType({ IPAM: { Type: 'host-local' } }), 'host-local');
  t.throws(() => ipamType({ ipam: 'host-local' }), {
    message: /^Cannot use ipam: it is "host-local", not an object$/,
  });
  t.throws(() => ipamType({ ipam: { type: 1 } }), {
    message: /^Cannot use ipam\.type: it is 1, not a string$/,
  });
});
