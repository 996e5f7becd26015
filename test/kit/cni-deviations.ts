// Where podpace does on purpose otherwise than the plugins that it replaces, and why. Rules that no
// entry names hold for both; those that one names must deviate, and as it is written here.

import { HOST, previous } from './cni-place.ts';
import { nothing, prints, refusal, type Verdict } from './cni-rule.ts';

export interface Deviation {
  readonly reason: string;
  /** What the reference does: one of these. */
  readonly reference: readonly Verdict[];
  /** Only of references that speak CNI 1.1.0, or only of those that do not. */
  readonly speaks110?: boolean;
  /** Of `role: title`, and ` #2` behind that for the second call of a rule. */
  readonly rules: readonly RegExp[];
}

/** An error of the plugin that is none of the specification's. */
const untyped = refusal(999, /./);
const handedOn = prints(previous());

const CODES: Deviation = {
  reason:
    'the library says 999 of every error that a plugin gives no code; podpace says which of the specification it is, or one of its own, so that a runtime can tell whether to try again',
  reference: [untyped],
  rules: [
    /^chained: prevResult of version .*, configuration of 0\.4\.0$/,
    /^chained: prevResult of version "(0\.1\.0|0\.4\.0|7\.7)", configuration of 1\.0\.0$/,
    /^chained: the prevResult /,
    /^chained: a prevResult with \{"(cniVersion|dns)"/,
    /^chained: a prevResult with \{"interfaces":(\{|\[7|\[\{"name")/,
    /^chained: the (rate|runtimeConfig) /,
    /^chained: a burst (without a rate|above 4 GB)$/,
    /^chained: CHECK without prevResult$/,
    /^chained: (ADD|CHECK) (with the pod's interface|of a cap with the sandbox) not there$/,
    /^main: (CHECK with the interface gone|ADD where the interface exists|CHECK without prevResult) #2$/,
    /^main: a sandbox that is not there$/,
    /^main: an IPAM plugin that (prints (rubbish|more|a number|null|an error)|exits|gives (no|an address))/,
    /^main: an IPAM plugin that (answers in a version that there is not|is not there)/,
    /^main: an IPAM plugin with a directory$/,
    /^main: the ipam /,
  ],
};

const AGE: readonly Deviation[] = [
  {
    reason: 'a release of CNI 1.0.0 knows neither version 1.1.0 nor GC and STATUS',
    reference: [
      refusal(1, /^(incompatible CNI versions|plugin version does not allow CHECK)$/),
      // It asks for all that ADD needs before it looks at the command.
      refusal(3, 'missing containerID'),
      refusal(4, /^unknown CNI_COMMAND: (GC|STATUS)$/),
      prints({ cniVersion: '1.0.0', supportedVersions: ['0.3.0', '0.3.1', '0.4.0', '1.0.0'] }),
    ],
    speaks110: false,
    rules: [
      /^\w+: (GC|STATUS)/,
      /^chained: VERSION/,
      /^chained: DEL of version "1\.1\.0"$/,
      /^chained: .*configuration of 1\.1\.0$/,
      /^chained: what 1\.1\.0 knows of interfaces and routes$/,
      /^main: .*of 1\.1\.0/,
    ],
  },
  {
    reason: 'a release of CNI 1.0.0 cannot read a result of 1.1.0, whose keys 1.0.0 may ignore',
    reference: [untyped],
    speaks110: false,
    rules: [/^chained: prevResult of version "1\.1\.0", configuration of 1\.0\.0$/],
  },
  {
    reason: 'the library told of missing variables first, up to CNI 1.0.0',
    reference: [refusal(4, 'required env variables [CNI_PATH] missing')],
    speaks110: false,
    rules: [/^chained: a bad container id, before what is missing$/],
  },
  {
    reason: "the library did not guard the node's own namespace, up to CNI 1.0.0",
    reference: [handedOn, nothing],
    speaks110: false,
    rules: [/^chained: (ADD|DEL) with the node's own namespace$/, /OVERRIDE=0$/],
  },
];

const FOR_110: readonly Deviation[] = [
  {
    reason:
      "the library looks at the node's own namespace last, and prints the error behind the result",
    reference: [{ code: 'none' }],
    speaks110: true,
    rules: [/^chained: ADD with the node's own namespace$/, /OVERRIDE=0$/],
  },
  {
    reason: CODES.reason,
    reference: [untyped],
    speaks110: true,
    rules: [/^chained: prevResult of version "0\.3\.1", configuration of 1\.1\.0$/],
  },
  {
    reason:
      'no reference plugin implements GC, nor hands it on: podpace removes what is stale, and nothing for a list that it cannot read',
    reference: [nothing],
    speaks110: true,
    rules: [
      /^chained: GC with the list [^u]/,
      /^main: GC with IPAM's error$/,
      /^main: ADD, CHECK, STATUS, GC and DEL of 1\.1\.0 #5$/,
    ],
  },
  {
    reason: 'no helper has a part in what the reference does',
    reference: [nothing],
    speaks110: true,
    rules: [/^chained: STATUS without a helper/],
  },
  {
    reason: 'results of 1.1.0 may tell the MTU, and the reference does not',
    reference: [
      prints({
        cniVersion: '1.1.0',
        interfaces: [
          { name: /^veth/, mac: /./ },
          { name: 'eth0', mac: /./, sandbox: /./ },
        ],
        ips: [{ interface: 1, address: '10.91.0.2/24', gateway: '10.91.0.1' }],
        routes: [{ dst: '0.0.0.0/0', mtu: 1400 }],
      }),
    ],
    speaks110: true,
    rules: [/^main: ADD, CHECK, STATUS, GC and DEL of 1\.1\.0$/],
  },
];

export const DEVIATIONS: readonly Deviation[] = [
  CODES,
  ...AGE,
  ...FOR_110,
  {
    reason: 'the sandbox is opened also where there is nothing to look for',
    reference: [untyped],
    rules: [/^chained: CHECK where nothing was to be done$/],
  },
  {
    reason: 'the library has no code, which is 0, for a delegate that says none',
    reference: [refusal(0, /^netplugin failed/)],
    rules: [/^main: an IPAM plugin that (fails (without|on|with)|is killed)/],
  },
  {
    reason:
      'Kubernetes has no annotation for a burst, and cni.dev says of none that it is needed: a rate alone is a cap',
    reference: [refusal(999, 'if rate is set, burst must also be set')],
    rules: [/^chained: (CHECK with )?a rate (without|with) a burst/],
  },
  {
    reason:
      'DEL keeps no pod from going, whatever is wrong with its configuration: a runtime would try it for ever, or forget the pod and leave what it has',
    reference: [untyped],
    rules: [/^chained: DEL with (a|an|the prevResult) /, /^main: DEL without ipam$/],
  },
  {
    reason: 'departure times need no IFB, so there is none to list',
    reference: [
      prints({
        ...previous(),
        interfaces: [
          { name: HOST },
          { name: 'eth0', sandbox: /^\// },
          { name: /^bwp[0-9a-f]{12}$/, mac: /./ },
        ],
      }),
    ],
    rules: [
      /^chained: caps of the configuration, both ways$/,
      /^chained: ADD, CHECK and DEL, twice$/,
    ],
  },
  {
    reason: 'a dereferenced nil pointer',
    reference: [{ code: 'none', stderr: /^panic: / }],
    rules: [/^chained: ADD without prevResult$/],
  },
  {
    reason:
      'below 1 kbit/s a packet waits for minutes: refused, as Kubernetes refuses the annotation, before the sandbox is looked for',
    reference: [refusal(999, /^failed to open netns /)],
    rules: [/^chained: a rate of 8 bit\/s$/],
  },
  {
    reason:
      'the kernel knows which end is on the node: plugins list it under other names, or not at all',
    reference: [refusal(999, /^no (interfaces provided|veth peer of container interface found)/)],
    rules: [/^chained: a prevResult (without interfaces|with a host interface)/],
  },
  {
    reason: 'a record has the name of its attachment, and names of files end at 255 letters',
    reference: [handedOn],
    rules: [/^chained: a container id of 300 letters$/],
  },
  {
    reason: 'null is no configuration, and not one without a name',
    reference: [refusal(7, 'missing network name')],
    rules: [/^chained: the input null$/],
  },
  {
    reason: 'the library reads the version apart from the rest, and has other words for that',
    reference: [refusal(6, /^decoding version from network config: /)],
    rules: [/^chained: a version that is a number$/],
  },
  {
    reason: 'no configuration is as large; a runtime that goes mad fills no memory',
    reference: [handedOn],
    rules: [/^chained: a configuration of more than 1 MiB$/],
  },
  {
    reason: 'what is not used is not looked at: it may mean something to another release',
    reference: [untyped],
    rules: [
      /^chained: keys that the plugin does not use, of a wrong type$/,
      /^chained: a prevResult with an address that is none$/,
    ],
  },
  {
    reason: 'an empty version says as little as none',
    reference: [untyped],
    rules: [/^chained: prevResult of version "", /],
  },
  {
    reason: 'what a plugin does not know is not its own to drop: prevResult is handed on whole',
    reference: [handedOn],
    rules: [/^chained: what a prevResult has beside$/],
  },
  {
    reason: 'what must be there and is not becomes no "<nil>" for the next plugin',
    reference: [
      prints({ cniVersion: '1.0.0', interfaces: [{ name: '' }] }),
      prints({ cniVersion: '1.0.0', ips: [{ address: '<nil>' }] }),
      prints({ cniVersion: '1.0.0', routes: [{ dst: '<nil>' }] }),
    ],
    rules: [/^chained: a prevResult with \{"\w+":\[\{\}\]\}$/],
  },
  {
    reason:
      'without interfaces in its results nobody can be chained behind, which bandwidth does not serve either',
    reference: ['0.1.0', '0.2.0'].map((cniVersion) =>
      prints({
        cniVersion,
        ip4: { ip: '10.91.0.2/24', gateway: '10.91.0.1', routes: [{ dst: '0.0.0.0/0' }] },
      }),
    ),
    rules: [/^main: ADD of 0\.[12]\.0$/],
  },
  {
    reason: 'what is longer than any result is not read to its end',
    reference: [refusal(999, /^failed to unmarshal raw result: /)],
    rules: [/^main: an IPAM plugin that prints 3 MB$/],
  },
  {
    reason: 'ADD that fails leaves nothing, and says which of the addresses is wrong',
    reference: [untyped],
    rules: [
      /^main: an IPAM plugin that names (a gateway|the next hop of a route) of another family$/,
      /^main: an IPAM plugin that gives an IPv4 address written as IPv6$/,
    ],
  },
  {
    reason:
      "the interface goes before its address, which would otherwise be another pod's too soon",
    reference: [refusal(77, 'no luck')],
    rules: [/^main: an IPAM plugin that fails at DEL #2$/],
  },
  {
    reason: 'the interface of a chain is there already: a second one is a mistake in the list',
    reference: [
      prints({
        cniVersion: '1.0.0',
        interfaces: [
          { name: /^veth/, mac: /./ },
          { name: 'eth0', mac: /./, sandbox: /./ },
        ],
        ips: [{ interface: 1, address: '10.91.0.2/24', gateway: '10.91.0.1' }],
        routes: [{ dst: '0.0.0.0/0' }],
      }),
    ],
    rules: [/^main: ADD with ipam and prevResult$/],
  },
  {
    reason:
      'a delegate whose ADD fails is asked for DEL, as the specification says; why that fails is told',
    reference: [refusal(999, /^ARGS: /)],
    rules: [/^main: CNI_ARGS=.* which the IPAM plugin refuses$/],
  },
];
