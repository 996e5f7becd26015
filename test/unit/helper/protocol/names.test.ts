// Names that the plugin and the helper must take alike: what one takes of a configuration, the
// other takes in the request and in the record that come of it.

import test from 'ava';
import fc from 'fast-check';
import { parseSettings } from '../../../../cni/config.ts';
import { parseRequest } from '../../../../helper/protocol/requests.ts';

function takes(read: () => unknown): boolean {
  try {
    read();
    return true;
  } catch {
    return false;
  }
}

/** Whether the plugin takes an algorithm of TCP, and whether the helper does. */
function takers(congestionControl: string): [plugin: boolean, helper: boolean] {
  const pod = { containerId: 'c', ifname: 'eth0', network: 'n', hostInterface: 'p', sandbox: '/s' };
  const params = { ...pod, caps: {}, congestionControl };
  return [
    takes(() => parseSettings({ congestionControl })),
    takes(() => parseRequest({ method: 'attach', params })),
  ];
}

/**
 * `.name` of struct tcp_congestion_ops in net/ipv4/tcp_*.c and in the kernel's selftests of BPF
 * (bpf_cubic.c, bpf_dctcp.c, tcp_ca_update.c); and what bpf_obj_name_cpy takes: letters, digits,
 * `_` and `.`, 15 bytes.
 */
const ALGORITHMS = [
  ...['reno', 'cubic', 'bbr', 'bic', 'cdg', 'dctcp', 'dctcp-reno', 'highspeed', 'htcp', 'hybla'],
  ...['illinois', 'lp', 'nv', 'scalable', 'vegas', 'veno', 'westwood', 'yeah'],
  ...['bpf_cubic', 'bpf_dctcp', 'tcp_ca_update', 'cubic.v2', 'acme.cubic_1.2x'],
];

for (const name of ALGORITHMS)
  test(`plugin and helper take the algorithm ${name}`, (t) =>
    t.deepEqual(takers(name), [true, true]));

const NONE = ['bbr cubic', 'bbr\n', 'bbr/../x', 'x'.repeat(16), 'bbr\0', 'größe'];

for (const name of NONE)
  test(`plugin and helper refuse the algorithm ${JSON.stringify(name)}`, (t) =>
    t.deepEqual(takers(name), [false, false]));

test('plugin and helper take the same algorithms', (t) => {
  const ascii = fc.string({ unit: 'binary-ascii', minLength: 1, maxLength: 3 });
  fc.assert(
    fc.property(fc.oneof(ascii, fc.string({ minLength: 1, maxLength: 17 })), (name) => {
      const [plugin, helper] = takers(name);
      t.is(plugin, helper, JSON.stringify(name));
    }),
  );
});
