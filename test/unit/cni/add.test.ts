// What ADD, DEL, CHECK and STATUS decide before they touch anything: the kernel of these tests
// refuses to be asked.

import test from 'ava';
import type { JsonObject } from '../../../cni/types.ts';
import { startFakeHelper } from '../../kit/fake-helper.ts';
import { callPlugin, type Outcome } from '../../kit/plugin.ts';

const CAPS = { egressRate: 1_000_000, egressBurst: 1_000_000 };
const POD = { name: 'eth0', sandbox: '/run/netns/pp-none' };

function call(command: string, config: JsonObject): Promise<Outcome> {
  return callPlugin({
    env: {
      CNI_COMMAND: command,
      CNI_CONTAINERID: 'c1',
      CNI_NETNS: '/run/netns/pp-none',
      CNI_IFNAME: 'eth0',
      CNI_PATH: '/nonesuch',
    },
    stdin: { cniVersion: '1.1.0', name: 'pods', socket: '/run/pp-none.sock', ...config },
    edges: { loadKernel: () => Promise.reject(new Error('the kernel was asked')) },
  });
}

const REFUSALS: readonly [
  what: string,
  command: string,
  config: JsonObject,
  code: number,
  msg: RegExp,
][] = [
  [
    'ADD with neither ipam nor prevResult',
    'ADD',
    {},
    7,
    /^no plugin name provided: there is neither/,
  ],
  [
    'ADD with both ipam and prevResult',
    'ADD',
    { ipam: { type: 'host-local' }, prevResult: {} },
    7,
    /^Cannot use ipam "host-local" in a chain/,
  ],
  [
    'ADD with caps, whatever prevResult lists: the kernel is asked',
    'ADD',
    { ...CAPS, prevResult: {} },
    999,
    /^the kernel was asked$/,
  ],
  [
    "CHECK of a main plugin with a prevResult without the pod's interface",
    'CHECK',
    {
      ...CAPS,
      ipam: { type: 'x' },
      prevResult: { interfaces: [{ name: 'eth0' }, { ...POD, name: 'net1' }] },
    },
    7,
    /^Cannot find interface "eth0" of the pod in prevResult: it lists eth0 \(node\), net1$/,
  ],
  [
    'ADD with a prevResult that is none',
    'ADD',
    { prevResult: 'x' },
    7,
    /^could not parse prevResult/,
  ],
  [
    'ADD with caps that are none',
    'ADD',
    { egressRate: 'x', prevResult: {} },
    7,
    /^Cannot use egressRate/,
  ],
  ['CHECK without prevResult', 'CHECK', CAPS, 7, /^Required prevResult missing$/],
  ['STATUS without a helper', 'STATUS', {}, 50, /^Cannot reach the helper at \/run\/pp-none\.sock/],
  [
    'DEL with an IPAM plugin, which needs the kernel',
    'DEL',
    { ipam: { type: 'x' } },
    999,
    /^the kernel was asked$/,
  ],
];

for (const [what, command, config, code, msg] of REFUSALS) {
  test(`refuses ${what}`, async (t) => {
    const { status, stdout, answer } = await call(command, config);
    t.is(status, 1);
    t.is(answer?.code, code, stdout);
    t.regex(answer?.msg ?? '', msg);
  });
}

test('a chain without caps asks nobody', async (t) => {
  const prevResult = { interfaces: [POD], own: { key: 1 } };
  for (const caps of [{}, { egressRate: 0, egressBurst: 0 }]) {
    const added = await call('ADD', { ...caps, prevResult });
    t.is(added.status, 0, added.stdout);
    t.deepEqual(added.answer, { cniVersion: '1.1.0', ...prevResult } as typeof added.answer);
    const checked = await call('CHECK', { ...caps, prevResult });
    t.deepEqual([checked.status, checked.stdout], [0, '']);
  }
});

test('DEL of a chain asks only the helper, and never fails over it', async (t) => {
  const helper = await startFakeHelper(t);
  const asked = await call('DEL', { socket: helper.socketPath });
  t.deepEqual([asked.status, asked.stdout, asked.stderr], [0, '', '']);
  t.deepEqual(helper.requests, [
    { version: 3, method: 'detach', params: { containerId: 'c1', ifname: 'eth0' } },
  ]);
  const quiet = await call('DEL', {});
  t.deepEqual([quiet.status, quiet.stderr], [0, '']);
  const noted = await call('DEL', { ...CAPS, prevResult: 7, ipam: 'none' });
  t.is(noted.status, 0);
  t.regex(
    noted.stderr,
    /Cannot reach the helper .*\(DEL goes on\)\n.*Cannot use ipam: .*DEL goes on without IPAM/,
  );
});
