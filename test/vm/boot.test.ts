// What ./scripts/vm promises to a command that runs in it. Tests of this tier run inside the VM.

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { arch, hostname, release } from 'node:os';
import test from 'ava';
import { projectRoot } from '../../scripts/lib/paths.ts';

const LINK_KINDS: readonly (readonly string[])[] = [
  ['pp-veth', 'type', 'veth', 'peer', 'name', 'pp-peer'],
  ['pp-ifb', 'type', 'ifb'],
  ['pp-bridge', 'type', 'bridge'],
  ['pp-bond', 'type', 'bond'],
  ['pp-vxlan', 'type', 'vxlan', 'id', '5', 'dstport', '4789'],
  ['pp-geneve', 'type', 'geneve', 'id', '5', 'remote', '192.0.2.1'],
  ['pp-wireguard', 'type', 'wireguard'],
  ['pp-macvlan', 'link', 'pp-veth', 'type', 'macvlan'],
  ['pp-vlan', 'link', 'pp-veth', 'type', 'vlan', 'id', '5'],
];
const QDISCS: readonly (readonly string[])[] = [
  ['root', 'fq'],
  ['root', 'tbf', 'rate', '1mbit', 'burst', '10k', 'latency', '10ms'],
  ['root', 'netem', 'delay', '1ms'],
  ['clsact'],
];

/** Runs the shell command in a network namespace that ends with it. */
function inOwnNamespace(commands: readonly (readonly string[])[]): void {
  const script = commands.map((words) => words.join(' ')).join(' && ');
  execFileSync('unshare', ['--net', 'sh', '-c', script], { stdio: ['ignore', 'ignore', 'pipe'] });
}

function mountsAt(point: string): string[] {
  const lines = readFileSync('/proc/self/mounts', 'utf8').split('\n');
  return lines
    .map((line) => line.split(' '))
    .flatMap(([, at, kind]) => (at === point && kind ? [kind] : []));
}

test('a Debian kernel runs under the name of the VM', (t) => {
  t.regex(release(), /^(6\.1|6\.12|[7-9]\.\d+)\..*-cloud-/);
  t.is(hostname(), 'podpace-vm');
});

for (const words of LINK_KINDS) {
  test(`a link of type ${words[words.indexOf('type') + 1]} can be made, its module loaded by the kernel`, (t) => {
    const lower = words.includes('link') ? [['ip', 'link', 'add', ...(LINK_KINDS[0] ?? [])]] : [];
    t.notThrows(() => inOwnNamespace([...lower, ['ip', 'link', 'add', ...words]]));
  });
}

for (const words of QDISCS) {
  test(`the qdisc ${words.join(' ')} can be put on a device`, (t) => {
    t.notThrows(() => inOwnNamespace([['tc', 'qdisc', 'add', 'dev', 'lo', ...words]]));
  });
}

test('bbr and br_netfilter are there', (t) => {
  t.notThrows(() => inOwnNamespace([['sysctl', '-w', 'net.ipv4.tcp_congestion_control=bbr']]));
  t.notThrows(() => execFileSync('modprobe', ['br_netfilter']));
});

test("the tree is the machine's, the root file system an overlay, the rest of its own", (t) => {
  t.deepEqual(mountsAt(projectRoot), ['virtiofs']);
  t.deepEqual(mountsAt('/').at(-1), 'overlay');
  t.deepEqual(mountsAt('/sys/fs/bpf'), ['bpf']);
  t.deepEqual(mountsAt('/sys/fs/cgroup'), ['cgroup2']);
  t.deepEqual(
    ['/run', '/tmp', '/dev/shm'].map((point) => mountsAt(point)[0]),
    ['tmpfs', 'tmpfs', 'tmpfs'],
  );
});

test('the loopback device is up', (t) => {
  t.regex(
    execFileSync('ip', ['-brief', 'link', 'show', 'dev', 'lo'], { encoding: 'utf8' }),
    /UNKNOWN|UP/,
  );
});

test('the clock is one that is quick to read', (t) => {
  const clock = readFileSync(
    '/sys/devices/system/clocksource/clocksource0/current_clocksource',
    'utf8',
  ).trim();
  t.true(['tsc', 'kvm-clock', 'arch_sys_counter'].includes(clock), `${clock} on ${arch()}`);
});
