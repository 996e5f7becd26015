// Rules of a plugin that stands behind another: its configuration, caps, and what a list of
// attachments that live is. Of prevResult see prev-result-rules.ts.

import type { JsonObject } from '../../cni/types.ts';
import { ip } from './cni-node.ts';
import { HOST, previous } from './cni-place.ts';
import {
  frame,
  nothing,
  prints,
  refusal,
  withPod,
  type Call,
  type Place,
  type Rule,
  type Verdict,
} from './cni-rule.ts';

const SPEC = 'CNI 1.1.0, SPEC.md';
const ADD = `${SPEC}, "ADD"`;
const GC = `${SPEC}, "GC"`;
const STATUS = `${SPEC}, "STATUS"`;
const GO = 'Go, encoding/json: keys match in any case of letters, and the last one counts';
const CONVENTIONS = 'CNI, CONVENTIONS.md, "bandwidth"';
const BANDWIDTH = 'containernetworking/plugins 1.9.1, plugins/meta/bandwidth/main.go';
const CONTAINERD = 'containerd 2.1.9, as seen on its plugins’ stdin';

const PREVIOUS = previous();
const handedOn = prints(PREVIOUS);

const keys = [
  frame('keys that no plugin knows', SPEC, {
    config: { 'vendor.example/key': { a: [1, null] }, args: { cni: { labels: [] } }, dns: {} },
    verdict: handedOn,
  }),
  frame('capabilities left in the configuration', CONTAINERD, {
    config: { capabilities: { bandwidth: true, portMappings: true } },
    verdict: handedOn,
  }),
  frame('runtimeConfig of capabilities of others', CONTAINERD, {
    config: {
      runtimeConfig: {
        portMappings: [{ HostPort: 8080, ContainerPort: 80, Protocol: 'tcp', HostIP: '' }],
        dns: { Servers: [], Searches: [], Options: [] },
        'io.kubernetes.cri.pod-annotations': null,
      },
    },
    verdict: handedOn,
  }),
  frame('keys of another case of letters', GO, {
    stdin: JSON.stringify({ Name: 'pods', CNIVERSION: '1.0.0', PrevResult: PREVIOUS }),
    verdict: handedOn,
  }),
  ...[
    ['the same case', `{"name":"a b","name":"pods",`, handedOn],
    [
      'another case last',
      `{"name":"pods","NAME":"a b",`,
      refusal(7, /^invalid characters found in network name/),
    ],
    ['another case first', `{"NAME":"a b","name":"pods",`, handedOn],
  ].map(([what, start, verdict]) =>
    frame(`a key twice, ${what as string}`, GO, {
      stdin: `${start as string}"cniVersion":"1.0.0","prevResult":${JSON.stringify(PREVIOUS)}}`,
      verdict: verdict as Verdict,
    }),
  ),
  frame('prevResult twice, in another case of letters', GO, {
    stdin: `{"name":"pods","cniVersion":"1.0.0","prevResult":{"cniVersion":"7.7"},"PrevResult":${JSON.stringify(PREVIOUS)}}`,
    verdict: handedOn,
  }),
  frame('keys that the plugin does not use, of a wrong type', SPEC, {
    config: { capabilities: 7, dns: 7, type: 7 },
    verdict: handedOn,
  }),
  ...['IgnoreUnknown=1;FOO=bar', 'FOO=bar', 'FOO', 'A=1;A=2'].map((args) =>
    frame(`CNI_ARGS=${args}`, BANDWIDTH, { env: { CNI_ARGS: args }, verdict: handedOn }),
  ),
];

const RATE = 10_000_000;
const MIB = 8_388_608;
const BOTH = { ingressRate: RATE, ingressBurst: MIB, egressRate: 2 * RATE, egressBurst: MIB };
const EGRESS = { egressRate: RATE, egressBurst: MIB };
const INGRESS = { ingressRate: RATE, ingressBurst: MIB };
/** What runtimes send for a burst that nobody asked for. */
const CONTAINERD_BURST = 4_294_967_295;
const CRIO_BURST = 34_359_738_359;

function inCapitals(object: JsonObject): JsonObject {
  return Object.fromEntries(
    Object.entries(object).map(([key, value]) => [
      `${key[0]?.toUpperCase()}${key.slice(1)}`,
      value,
    ]),
  );
}

/** The result as the plugin before has left it. */
const unchanged = ({ sandbox }: Place): Verdict => prints(previous(sandbox));

const capped = (title: string, source: string, config: JsonObject, caps: Call['caps']): Rule =>
  withPod('chained', title, source, {
    config,
    verdict: unchanged,
    asks: ['attach'],
    caps: caps ?? {},
  });

const into = { ingress: RATE };

/** Where caps stand, in which letters, and which of two counts. */
const places = [
  capped('caps of the configuration, both ways', CONVENTIONS, BOTH, {
    ingress: RATE,
    egress: 2 * RATE,
  }),
  capped(
    'caps as containerd writes them',
    CONTAINERD,
    {
      capabilities: { bandwidth: true },
      runtimeConfig: {
        bandwidth: {
          ...{ IngressRate: RATE, IngressBurst: CONTAINERD_BURST },
          ...{ EgressRate: 0, EgressBurst: 0 },
        },
      },
    },
    into,
  ),
  capped(
    'caps as CRI-O writes them',
    'CRI-O, internal/config/cnimgr',
    { runtimeConfig: { bandwidth: { ingressRate: RATE, ingressBurst: CRIO_BURST } } },
    into,
  ),
  capped(
    'the key bandWidth',
    `${BANDWIDTH}: its tests`,
    { runtimeConfig: { bandWidth: INGRESS } },
    into,
  ),
  capped('caps of the configuration in capitals', GO, inCapitals(INGRESS), into),
  capped(
    'a rate twice, in capitals last',
    GO,
    { ingressRate: 3 * RATE, ingressBurst: MIB, INGRESSRATE: RATE },
    into,
  ),
  capped('a rate twice, in capitals first', GO, { INGRESSRATE: 3 * RATE, ...INGRESS }, into),
  frame('a zero in the configuration, before the cap of the runtime', BANDWIDTH, {
    config: { ingressRate: 0, runtimeConfig: { bandwidth: INGRESS } },
    verdict: handedOn,
    asks: [],
  }),
  ...[
    null,
    {},
    { bandwidth: null },
    { bandwidth: {} },
    { bandwidth: { ingressRate: 0, ingressBurst: 0 } },
  ].map((runtimeConfig) =>
    frame(`no cap in runtimeConfig ${JSON.stringify(runtimeConfig)}`, BANDWIDTH, {
      config: { runtimeConfig },
      verdict: handedOn,
      asks: [],
    }),
  ),
];

const NOT_A_NUMBER = refusal(
  7,
  /^Cannot use (runtimeConfig\.bandwidth\.)?\w+: it is .*, not a whole number of bits$/,
);

const values = [
  ...[-1, 8000.5, '8000', true].map((ingressRate) =>
    frame(`the rate ${JSON.stringify(ingressRate)}`, CONVENTIONS, {
      config: { ingressRate, ingressBurst: 80 },
      verdict: NOT_A_NUMBER,
      asks: [],
    }),
  ),
  ...[7, [], { bandwidth: 7 }].map((runtimeConfig) =>
    frame(`the runtimeConfig ${JSON.stringify(runtimeConfig)}`, SPEC, {
      config: { runtimeConfig },
      verdict: refusal(7, /^Cannot use runtimeConfig/),
      asks: [],
    }),
  ),
  frame('a burst without a rate', BANDWIDTH, {
    config: { egressBurst: MIB },
    verdict: refusal(7, /^if burst is set, rate must also be set: /),
    asks: [],
  }),
  frame('a burst above 4 GB', BANDWIDTH, {
    config: { egressRate: RATE, egressBurst: 34_359_738_360 },
    verdict: refusal(7, /^burst cannot be more than 4GB: /),
    asks: [],
  }),
  frame('a rate of 8 bit/s', 'Kubernetes, pkg/util/bandwidth: 1k to 1P', {
    config: { ingressRate: 8, ingressBurst: 8 },
    verdict: refusal(7, /^Cannot cap at 8 bit\/s/),
    asks: [],
  }),
  capped('a rate without a burst', CONVENTIONS, { ingressRate: RATE }, into),
  capped('a rate with a burst of 0', CONVENTIONS, { ingressRate: RATE, ingressBurst: 0 }, into),
  capped(
    'a rate without a burst, from the runtime',
    CONVENTIONS,
    { runtimeConfig: { bandwidth: { IngressRate: RATE } } },
    into,
  ),
  ...[
    ['a rate without a burst', { egressRate: RATE }],
    ['a rate that is none', { egressRate: 'fast' }],
    ['a burst above 4 GB', { egressRate: RATE, egressBurst: 34_359_738_360 }],
    ['a runtimeConfig that is none', { runtimeConfig: 7 }],
    ['an ipam that is none', { ipam: { type: 7 } }],
  ].map(([what, config]) =>
    frame(`DEL with ${what as string}`, `${SPEC}, "DEL"`, {
      command: 'DEL',
      config: config as JsonObject,
      verdict:
        what === 'an ipam that is none'
          ? {
              stderr:
                /^podpace: \S+\/eth0: Cannot use ipam\.type: .* \(DEL goes on without IPAM\)\n$/,
            }
          : nothing,
      asks: ['detach'],
    }),
  ),
];

const remove =
  (...words: string[]) =>
  ({ node }: Place) =>
    void ip(node, ...words);

const lives = [
  withPod(
    'chained',
    'ADD, CHECK and DEL, twice',
    `${SPEC}, "DEL" and "CHECK"`,
    { config: EGRESS, verdict: unchanged, asks: ['attach'], caps: { egress: RATE } },
    {
      command: 'CHECK',
      config: ({ result }) => ({ ...EGRESS, prevResult: result }),
      verdict: nothing,
      asks: ['check'],
    },
    {
      command: 'DEL',
      config: ({ result }) => ({ ...EGRESS, prevResult: result }),
      verdict: nothing,
      asks: ['detach'],
    },
    { command: 'DEL', config: EGRESS, verdict: nothing },
    {
      command: 'DEL',
      config: { ...EGRESS, prevResult: undefined },
      env: { CNI_NETNS: '' },
      verdict: nothing,
    },
  ),
  withPod('chained', 'CHECK with a rate without a burst', `${SPEC}, "CHECK"`, {
    command: 'CHECK',
    config: { egressRate: RATE },
    verdict: nothing,
    asks: ['check'],
  }),
  withPod(
    'chained',
    'DEL with the interface gone',
    `${SPEC}, "DEL"`,
    { config: INGRESS, verdict: unchanged },
    {
      command: 'DEL',
      before: remove('link', 'delete', HOST),
      config: INGRESS,
      verdict: nothing,
      asks: ['detach'],
    },
  ),
  withPod('chained', 'a prevResult without interfaces (Weave Net)', ADD, {
    config: { ...INGRESS, prevResult: { ips: [{ address: '10.32.0.1/12' }] } },
    verdict: prints({ cniVersion: '1.0.0', ips: [{ address: '10.32.0.1/12' }] }),
    asks: ['attach'],
  }),
  withPod('chained', 'a prevResult with a host interface that is not there', ADD, {
    config: ({ sandbox }) => ({
      ...INGRESS,
      prevResult: { interfaces: [{ name: 'host8' }, { name: 'eth0', sandbox }] },
    }),
    verdict: ({ sandbox }) =>
      prints({
        cniVersion: '1.0.0',
        interfaces: [{ name: 'host8' }, { name: 'eth0', sandbox }],
      }),
    asks: ['attach'],
  }),
  ...['ADD', 'CHECK'].map((command) =>
    withPod('chained', `${command} with the pod's interface not there`, `${SPEC}, "${command}"`, {
      command,
      config: INGRESS,
      env: { CNI_IFNAME: 'eth1' },
      verdict: refusal(103, /^Cannot find interface "eth1": it is not in /),
      asks: [],
    }),
  ),
  ...['ADD', 'CHECK'].map((command) =>
    frame(`${command} of a cap with the sandbox not there`, `${SPEC}, "Error"`, {
      command,
      config: INGRESS,
      verdict: refusal(4, /^failed to open netns "\/run\/netns\/pp-none": /),
      asks: [],
    }),
  ),
];

const VALID = 'cni.dev/valid-attachments';
const AT_110 = { cniVersion: '1.1.0', prevResult: undefined };
const MALFORMED = refusal(7, /^Cannot use cni\.dev\/valid-attachments: it has /);

const collect = (
  title: string,
  list: JsonObject,
  verdict: Verdict,
  asks: Call['asks'] = [],
): Rule =>
  frame(title, GC, {
    command: 'GC',
    env: { CNI_CONTAINERID: undefined, CNI_NETNS: '', CNI_IFNAME: '' },
    config: { ...AT_110, ...list },
    verdict,
    asks,
  });

const one = { containerID: 'c1', ifname: 'eth0' };

const collections = [
  collect('GC without a list', {}, nothing),
  collect('GC with a null for a list', { [VALID]: null }, nothing),
  collect('GC with the list under its former name only', { 'cni.dev/attachments': [one] }, nothing),
  collect('GC with an empty list', { [VALID]: [] }, nothing, ['gc']),
  collect('GC with a list', { [VALID]: [one, one], 'cni.dev/attachments': [one] }, nothing, ['gc']),
  collect('GC with entries that have more', { [VALID]: [{ ...one, netns: '/x' }] }, nothing, [
    'gc',
  ]),
  collect(
    'GC with keys in capitals',
    { [VALID]: [{ ContainerID: 'c1', IfName: 'eth0' }] },
    nothing,
    ['gc'],
  ),
  ...['all', {}, [null], [{ containerID: 'c1' }], [{ containerID: 1, ifname: 'eth0' }]].map(
    (list) => collect(`GC with the list ${JSON.stringify(list)}`, { [VALID]: list }, MALFORMED),
  ),
];

const AWAY = { ...AT_110, socket: '/run/pp-none.sock' };

const states = [
  frame('STATUS', STATUS, { command: 'STATUS', config: AT_110, verdict: nothing }),
  frame('STATUS without a helper', STATUS, {
    command: 'STATUS',
    config: AWAY,
    verdict: refusal(50, /^Cannot reach the helper at \/run\/pp-none\.sock: /),
  }),
  frame('STATUS without a helper, where caps may be missing', STATUS, {
    command: 'STATUS',
    config: { ...AWAY, onUnenforceable: 'allow' },
    verdict: { stderr: /^podpace: WARNING: caps are not enforced now / },
  }),
];

export const CHAINED_RULES: readonly Rule[] = [
  ...keys,
  ...places,
  ...values,
  ...lives,
  ...collections,
  ...states,
];
