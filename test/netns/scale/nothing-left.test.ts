// DEL of the built plugin where something is left of the attachment, and where nothing is: then no
// addon is loaded and the helper is not asked. VERSION and STATUS load none either.

import { spawnSync } from 'node:child_process';
import path from 'node:path';
import test from 'ava';
import type { JsonObject } from '../../../cni/types.ts';

const PODPACE = path.resolve(import.meta.dirname, '../../../dist/podpace');

interface Ending {
  readonly status: number | null;
  readonly stderr: string;
  /** Devices of the node, without lo. */
  readonly devices: readonly string[];
  /** Under /run/podpace. */
  readonly addons: readonly string[];
  /** What the IPAM plugin was asked for. */
  readonly ipam: string;
}

/**
 * A node whose /sys, /run and /var/lib are its own, with a mark of records; there `$0` is called.
 */
const ON_NODE = `
  mount -t tmpfs none /run && mount -t tmpfs none /var/lib && mkdir -p /run/podpace /run/bin
  echo '{"layout":2,"release":"0.1.0"}' >/run/podpace/layout.json
  printf '#!/bin/sh\\necho "$CNI_COMMAND" >>/run/ipam\\n' >/run/bin/ipam && chmod 0755 /run/bin/ipam
  eval "$SET_UP"
  cat | "$0"; status=$?
  echo "devices $(ls /proc/self/net/dev_snmp6 | grep -v '^lo$' | xargs)"
  echo "addons $(cd /run/podpace && find . /var/lib/cni -name '*.node*' 2>/dev/null | xargs)"
  echo "ipam $(cat /run/ipam 2>/dev/null)"
  exit $status
`;

const OWN_SYS = 'mount -t sysfs none /sys';
const CONFIG = { cniVersion: '1.1.0', name: 'pods', type: 'podpace', egressRate: 1_000_000 };

function call(command: string, more: JsonObject, setUp = OWN_SYS): Ending {
  const env = {
    ...{ PATH: '/usr/sbin:/usr/bin:/sbin:/bin', SET_UP: setUp },
    ...{ CNI_COMMAND: command, CNI_CONTAINERID: 'c1', CNI_IFNAME: 'eth0', CNI_PATH: '/run/bin' },
  };
  const { status, stdout, stderr } = spawnSync(
    'unshare',
    ['--mount', '--net', 'sh', '-c', ON_NODE, PODPACE],
    { input: JSON.stringify({ ...CONFIG, ...more }), encoding: 'utf8', env },
  );
  const words = (what: string): string[] => {
    const line = stdout.split('\n').find((candidate) => candidate.startsWith(`${what} `)) ?? '';
    return line.split(' ').slice(1).filter(Boolean);
  };
  return {
    ...{ status, stderr, devices: words('devices'), addons: words('addons') },
    ipam: [...words('ipam'), ...(/(?<=^CNI_COMMAND=).*$/m.exec(stdout) ?? [])].join(' '),
  };
}

function device(name: string, alias: string): string {
  const set = alias === '' ? '' : ` && ip link set ${name} alias ${alias}`;
  return `ip link add ${name} type veth peer name peer${set}`;
}

const MAIN = { ipam: { type: 'ipam' } };
/** One that takes the place of podpace: no script, and not new. It prints what it is given. */
const PROGRAM = 'ln -sf /usr/bin/env /run/bin/ipam';
const NOTHING = { status: 0, stderr: '', devices: [], addons: [], ipam: '' };

test('DEL with nothing left asks nobody but IPAM', (t) => {
  // A helper that is asked, and does not listen, is told of: there is a cap.
  t.deepEqual(call('DEL', {}), NOTHING);
  t.deepEqual(call('DEL', MAIN, `${OWN_SYS}; ${PROGRAM}`), { ...NOTHING, ipam: 'DEL' });
  const { addons, ...script } = call('DEL', MAIN);
  t.deepEqual({ ...script, addons: [] }, { ...NOTHING, ipam: 'DEL' });
  // It runs in a process of its own.
  t.deepEqual(addons, ['./addons/koffi.node']);
});

test('DEL with a script for IPAM leaves no addon where nothing else of podpace is', (t) => {
  const setUp = `${OWN_SYS}; rm /run/podpace/layout.json`;
  t.deepEqual(call('DEL', { ...MAIN, egressRate: undefined }, setUp).addons, []);
});

test("DEL leaves other attachments' devices, and anybody's, without an addon", (t) => {
  const others = `${OWN_SYS}; ${device('pod0123456789ab', 'podpace:pods/c2/eth0')}; ip link add other0 type veth peer name other1`;
  const { devices, ...ending } = call('DEL', MAIN, `${others}; ${PROGRAM}`);
  t.deepEqual({ ...ending, devices: [] }, { ...NOTHING, ipam: 'DEL' });
  t.deepEqual(devices.toSorted(), ['other0', 'other1', 'peer', 'pod0123456789ab']);
});

test('DEL with a record or a wish asks the helper', (t) => {
  for (const directory of ['attachments', 'wishes']) {
    const left = `mkdir -p -m 0700 /run/podpace/${directory}; echo {} >'/run/podpace/${directory}/c1:eth0.json'`;
    const { status, stderr } = call('DEL', {}, left);
    t.is(status, 0);
    t.regex(stderr, /Cannot reach the helper .*\(DEL goes on\)/, directory);
  }
});

const PAIRS: readonly [what: string, setUp: string][] = [
  ['by its name', `${OWN_SYS}; ${device('podd3e9fb4242a2', '')}`],
  ['by its alias, when it was renamed', `${OWN_SYS}; ${device('other', 'podpace:pods/c1/eth0')}`],
  ['where /sys is of another network namespace', device('podd3e9fb4242a2', 'podpace:pods/c1/eth0')],
];

for (const [what, setUp] of PAIRS) {
  test(`DEL removes the pair: ${what}`, (t) => {
    const { status, devices, ipam, stderr } = call('DEL', MAIN, setUp);
    t.is(status, 0, stderr);
    t.deepEqual(devices, []);
    t.is(ipam, 'DEL');
  });
}

test('VERSION and STATUS load no addon', (t) => {
  for (const command of ['VERSION', 'STATUS']) t.deepEqual(call(command, {}).addons, [], command);
});
