// Rules of the frame that every plugin stands in: environment, stdin, version. No pod is needed.

import { NO_SANDBOX, previous } from './cni-place.ts';
import { frame, nothing, prints, refusal, type Call, type Rule, type Verdict } from './cni-rule.ts';

const SPEC = 'CNI 1.1.0, SPEC.md';
const PARAMETERS = `${SPEC}, "Parameters"`;
const ERRORS = `${SPEC}, "Error"`;
const SKEL = 'containernetworking/cni 1.3.0, pkg/skel/skel.go';
const NAMES = 'containernetworking/cni 1.3.0, pkg/utils/utils.go';
const VERSIONS = `${SPEC}, "Version considerations"`;

const SUPPORTED = ['0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'];

const handedOn = prints(previous());

/** Commands and the variables that each of them must have. */
const REQUIRED: Readonly<Record<string, readonly string[]>> = {
  ADD: ['CNI_CONTAINERID', 'CNI_NETNS', 'CNI_IFNAME', 'CNI_PATH'],
  CHECK: ['CNI_CONTAINERID', 'CNI_NETNS', 'CNI_IFNAME', 'CNI_PATH'],
  DEL: ['CNI_CONTAINERID', 'CNI_IFNAME', 'CNI_PATH'],
  GC: ['CNI_PATH'],
  STATUS: ['CNI_PATH'],
};

const absent = Object.entries(REQUIRED).flatMap(([command, names]) =>
  names.map((name) =>
    frame(`${command} without ${name}`, PARAMETERS, {
      command,
      env: { [name]: undefined },
      verdict: refusal(4, `required env variables [${name}] missing`),
    }),
  ),
);

const empty = ['CNI_CONTAINERID', 'CNI_NETNS', 'CNI_IFNAME', 'CNI_PATH'].map((name) =>
  frame(`ADD with an empty ${name}`, SKEL, {
    env: { [name]: '' },
    verdict: refusal(4, `required env variables [${name}] missing`),
  }),
);

const TOO_LONG = refusal(4, 'interface name is too long', {
  details: 'interface name should be less than 16 characters',
});
const WITH_BAD_CHARACTER = refusal(4, 'interface name contains / or : or whitespace characters');
const DOTS = refusal(4, 'interface name is . or ..');

const INTERFACE_NAMES: readonly [name: string, verdict: Verdict][] = [
  ['x'.repeat(16), TOO_LONG],
  ['x'.repeat(15), handedOn],
  // Bytes count.
  ['ü'.repeat(8), TOO_LONG],
  ['.', DOTS],
  ['..', DOTS],
  ['a/b', WITH_BAD_CHARACTER],
  ['a:b', WITH_BAD_CHARACTER],
  ['a\u00a0b', WITH_BAD_CHARACTER],
  ['%d', handedOn],
];

const badId = (id: string): Verdict =>
  refusal(4, 'invalid characters in containerID', { details: id });

const names = [
  ...INTERFACE_NAMES.map(([name, verdict]) =>
    frame(`the interface name ${encodeURIComponent(name)}`, NAMES, {
      env: { CNI_IFNAME: name },
      verdict,
    }),
  ),
  ...['-a', 'a b', 'a/b', 'ä'].map((id) =>
    frame(`the container id ${JSON.stringify(id)}`, PARAMETERS, {
      env: { CNI_CONTAINERID: id },
      verdict: badId(id),
    }),
  ),
  frame('a bad container id, before what is missing', SKEL, {
    env: { CNI_CONTAINERID: '-a', CNI_PATH: '' },
    verdict: badId('-a'),
  }),
  frame('a container id of 300 letters', PARAMETERS, {
    env: { CNI_CONTAINERID: 'a'.repeat(300) },
    verdict: prints(
      previous(),
      /^podpace: WARNING: podpaced will not know a{300}\/eth0, .* no record can hold its names\n$/,
    ),
  }),
];

const ABOUT = /^CNI \w+ plugin version .*\nCNI protocol versions supported: .*1\.0\.0/;

const commands = [
  ...['FOO', 'add', 'constructor'].map((command) =>
    frame(`the command ${command}`, SKEL, {
      command,
      verdict: refusal(4, `unknown CNI_COMMAND: ${command}`),
    }),
  ),
  ...[undefined, ''].map((command) =>
    frame(`${command === undefined ? 'no' : 'an empty'} CNI_COMMAND`, SKEL, {
      env: { CNI_COMMAND: command },
      verdict: { stderr: ABOUT },
    }),
  ),
  frame('ADD without any variable', SKEL, {
    env: {
      ...{ CNI_CONTAINERID: undefined, CNI_NETNS: undefined },
      ...{ CNI_IFNAME: undefined, CNI_PATH: undefined },
    },
    verdict: refusal(
      4,
      'required env variables [CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH] missing',
    ),
  }),
  frame('variables of a later release, and of a tracer', `${SPEC}, "Parameters"`, {
    env: { CNI_FUTURE: '1', TRACEPARENT: '00-0-0-0', CNI_ARGS: '' },
    verdict: handedOn,
  }),
  // What SPEC.md says, "the cniVersion of the input", no plugin does: the library's own it is.
  ...[
    ['with the input of libcni', '{"cniVersion":"1.1.0"}'],
    ['with no input', ''],
    ['with input that is no JSON', 'oops'],
  ].map(([what, stdin = '']) =>
    frame(`VERSION ${what}`, `${SPEC}, "VERSION"; ${SKEL}`, {
      command: 'VERSION',
      stdin,
      env: { CNI_CONTAINERID: undefined, CNI_NETNS: 'dummy', CNI_IFNAME: 'dummy' },
      verdict: prints({ cniVersion: '1.1.0', supportedVersions: SUPPORTED }),
    }),
  ),
];

const NO_JSON = refusal(6, /^error unmarshall network config: ./);

const inputs = [
  ...['', ' ', '{', '[]', '7', 'null', '{}{}', '\ufeff{}', '{"name":"pods",}', '\0'].map((stdin) =>
    frame(`the input ${encodeURIComponent(stdin) || 'of nothing'}`, ERRORS, {
      stdin,
      verdict: NO_JSON,
    }),
  ),
  ...['DEL', 'CHECK'].map((command) =>
    frame(`${command} without input`, ERRORS, { command, stdin: '', verdict: NO_JSON }),
  ),
  frame('no name', `${SPEC}, "Network configuration format"`, {
    config: { name: undefined },
    verdict: refusal(7, 'missing network name'),
  }),
  ...['a b', '_a', 'a/b'].map((name) =>
    frame(`the name ${JSON.stringify(name)}`, `${SPEC}, "Network configuration format"`, {
      config: { name },
      verdict: refusal(7, 'invalid characters found in network name', { details: name }),
    }),
  ),
  frame('a name that is a number', ERRORS, { config: { name: 7 }, verdict: NO_JSON }),
  frame('a version that is a number', ERRORS, { config: { cniVersion: 7 }, verdict: NO_JSON }),
  frame('a configuration of 0.9 MB', SPEC, {
    config: { 'vendor.example/key': 'x'.repeat(900_000) },
    verdict: handedOn,
  }),
  frame('a configuration of more than 1 MiB', ERRORS, {
    config: { 'vendor.example/key': 'x'.repeat(1_200_000) },
    verdict: refusal(5, /^error reading from stdin: .* is larger than 1048576 bytes$/),
  }),
];

const unsupported = (version: string): Verdict => {
  const config = version.replaceAll('.', String.raw`\.`);
  const details = new RegExp(`^config is "${config}", plugin supports \\[.*"1\\.0\\.0".*\\]$`);
  return refusal(1, 'incompatible CNI versions', { details });
};

const noCommand = (command: string): Verdict =>
  refusal(1, `config version does not allow ${command}`);
const tooNew = (command: string): Verdict => refusal(1, `plugin version does not allow ${command}`);
const noVersion = refusal(6, /./);

/** The configured version, and what a command of it comes to. */
const BY_VERSION: readonly [version: string | undefined, command: string, verdict: Verdict][] = [
  // Without interfaces in results there is nothing to chain.
  ...['0.1.0', '0.2.0'].flatMap((version): [string, string, Verdict][] => [
    [version, 'ADD', unsupported(version)],
    [version, 'DEL', unsupported(version)],
    [version, 'CHECK', noCommand('CHECK')],
  ]),
  [undefined, 'ADD', unsupported('0.1.0')],
  ['', 'ADD', unsupported('0.1.0')],
  ['0.3.0', 'DEL', nothing],
  ['0.3.0', 'CHECK', noCommand('CHECK')],
  ['0.3.1', 'CHECK', noCommand('CHECK')],
  ['0.4.0', 'DEL', nothing],
  ['1.1.0', 'DEL', nothing],
  ...['9.9.9', '1.2.0'].flatMap((version): [string, string, Verdict][] => [
    [version, 'ADD', unsupported(version)],
    [version, 'DEL', unsupported(version)],
    [version, 'CHECK', tooNew('CHECK')],
  ]),
  ...['1.0', 'new', '1.0.0 ', 'v1.0.0'].map((version): [string, string, Verdict] => [
    version,
    'ADD',
    unsupported(version),
  ]),
  ['1.0', 'CHECK', unsupported('1.0')],
  ['new', 'CHECK', noVersion],
  ...['GC', 'STATUS'].flatMap((command): [string, string, Verdict][] => [
    ['1.0.0', command, noCommand(command)],
    ['0.3.1', command, noCommand(command)],
    ['1.2.0', command, tooNew(command)],
    ['new', command, noVersion],
  ]),
];

const versions = BY_VERSION.map(([cniVersion, command, verdict]) => {
  const call: Call = { command, config: { cniVersion, prevResult: undefined }, verdict };
  const what = cniVersion === undefined ? 'without a version' : `of version "${cniVersion}"`;
  return frame(`${command} ${what}`, VERSIONS, call);
});

const OWN = { CNI_NETNS: '/proc/self/ns/net' };
const OWN_NETNS = refusal(8, "plugin's netns and netns from CNI_NETNS should not be the same");

const namespaces = [
  ...['ADD', 'DEL'].map((command) =>
    frame(`${command} with the node's own namespace`, SKEL, {
      command,
      env: OWN,
      verdict: OWN_NETNS,
    }),
  ),
  ...['1', 'true'].map((value) =>
    frame(`the node's own namespace with CNI_NETNS_OVERRIDE=${value}`, SKEL, {
      env: { ...OWN, CNI_NETNS_OVERRIDE: value },
      verdict: handedOn,
    }),
  ),
  frame("the node's own namespace with CNI_NETNS_OVERRIDE=0", SKEL, {
    env: { ...OWN, CNI_NETNS_OVERRIDE: '0' },
    verdict: OWN_NETNS,
  }),
  ...[undefined, '', NO_SANDBOX].map((netns) =>
    frame(
      `DEL with CNI_NETNS ${netns === undefined ? 'absent' : JSON.stringify(netns)}`,
      `${SPEC}, "DEL"`,
      {
        command: 'DEL',
        env: { CNI_NETNS: netns },
        verdict: nothing,
      },
    ),
  ),
];

export const FRAME_RULES: readonly Rule[] = [
  ...absent,
  ...empty,
  ...names,
  ...commands,
  ...inputs,
  ...versions,
  ...namespaces,
];
