// Rules of delegation: what an IPAM plugin answers, or does instead.

import fs from 'node:fs';
import path from 'node:path';
import { hostLocal } from './cni-place.ts';
import { nothing, refusal, type Call, type Rule, type Verdict } from './cni-rule.ts';
import {
  added,
  ADDRESS,
  DEFAULT_ROUTE,
  FAILS,
  GIVEN,
  NO_LUCK,
  pairOf,
  remove,
  rule,
  says,
  script,
  SCRIPTED,
} from './main-plugin-rule.ts';

const SPEC = 'CNI 1.1.0, SPEC.md';
const ADD = `${SPEC}, "ADD"`;
const DEL = `${SPEC}, "DEL"`;
const DELEGATED = `${SPEC}, "Section 4: Plugin Delegation"`;
const INVOKE = 'containernetworking/cni 1.3.0, pkg/invoke';
const LOAD_ARGS = 'containernetworking/cni 1.3.0, pkg/types/args.go, which host-local uses';
const PTP = 'containernetworking/plugins 1.9.1, plugins/main/ptp/ptp.go';

const failed = (
  code: number,
  msg: string | RegExp,
  more: Partial<Verdict> = {},
): Omit<Call, 'before'> => ({
  config: SCRIPTED,
  verdict: refusal(code, msg, more),
  left: 0,
});

const answering = (
  title: string,
  script_: string,
  call: Omit<Call, 'before'>,
  source = DELEGATED,
): Rule => rule(`an IPAM plugin that ${title}`, source, { before: script(script_), ...call });

const succeeds = (verdict: Call['verdict']): Omit<Call, 'before'> => ({
  config: SCRIPTED,
  verdict,
  left: 1,
});

const MISSING = 'IPAM plugin returned missing IP config';
const NOT_READ = /^Cannot read the answer of IPAM plugin "scripted": /;

const answers = [
  answering('prints rubbish', 'echo oops', failed(6, NOT_READ)),
  answering('prints more than its result', `${says(GIVEN)}; echo '{}'`, failed(6, NOT_READ)),
  answering(
    'prints a number',
    'echo 7',
    failed(6, /^Cannot use the answer of IPAM plugin "scripted": it is 7/),
  ),
  answering(
    'prints null',
    'echo null',
    failed(6, /^Cannot use the answer of IPAM plugin "scripted": it is null/),
  ),
  answering('exits without output', 'exit 0', failed(6, NOT_READ)),
  answering('prints an error and succeeds', says({ code: 77, msg: 'no luck' }), failed(7, MISSING)),
  answering(
    'prints 3 MB',
    `head -c 3000000 /dev/zero | tr '\\0' x`,
    failed(999, /^netplugin failed with no error message: it answered more than 1048576 bytes$/),
  ),
  answering('fails in its own words', FAILS, { config: SCRIPTED, verdict: NO_LUCK, left: 0 }),
  answering(
    'fails without a word',
    'exit 3',
    failed(999, 'netplugin failed with no error message: exit status 3'),
    INVOKE,
  ),
  answering(
    'fails on stderr',
    'echo broken >&2; exit 1',
    failed(999, 'netplugin failed: "broken\\n": exit status 1', { stderr: /^broken\n$/ }),
    INVOKE,
  ),
  answering(
    'fails with rubbish',
    'echo oops; exit 1',
    failed(999, /^netplugin failed but error parsing its diagnostic message "oops\\n"/),
    INVOKE,
  ),
  answering(
    'is killed',
    'kill -9 $$',
    failed(999, /^netplugin failed with no error message: signal: /),
    INVOKE,
  ),
  answering('says something on stderr and succeeds', `echo note >&2; ${says(GIVEN)}`, {
    config: SCRIPTED,
    verdict: (place) => ({ ...pairOf('1.0.0')(place), stderr: /^note\n$/ }),
  }),
  answering('gives no address', says({ cniVersion: '1.0.0' }), failed(7, MISSING)),
  answering(
    'gives no such address',
    says({ cniVersion: '1.0.0', ips: [{ address: '10.91.0.300/24' }] }),
    failed(7, /^Cannot use address "10\.91\.0\.300\/24"/),
  ),
  answering(
    'gives an address without its prefix',
    says({ cniVersion: '1.0.0', ips: [{ address: '10.91.0.2' }] }),
    failed(7, /^Cannot use address "10\.91\.0\.2"/),
  ),
  answering(
    'answers in a version that there is not',
    says({ ...GIVEN, cniVersion: '7.7' }),
    failed(6, /unsupported CNI result version "7\.7"$/),
  ),
  answering('answers without a version', says({ ips: [ADDRESS] }), succeeds(pairOf('1.0.0'))),
  answering(
    'answers in 0.2.0',
    says({
      cniVersion: '0.2.0',
      ip4: { ip: ADDRESS.address, gateway: ADDRESS.gateway, ...DEFAULT_ROUTE },
    }),
    succeeds(added()),
    `${SPEC}, "Version considerations"`,
  ),
  answering(
    'answers in 0.4.0',
    says({ cniVersion: '0.4.0', ips: [{ version: '4', ...ADDRESS }], ...DEFAULT_ROUTE }),
    succeeds(added()),
    `${SPEC}, "Version considerations"`,
  ),
  answering(
    'names interfaces',
    says({
      ...GIVEN,
      interfaces: [{ name: 'x' }],
      ips: [{ ...ADDRESS, interface: 0 }],
      dns: { nameservers: ['192.0.2.53'] },
    }),
    succeeds(pairOf('1.0.0', { more: { dns: { nameservers: ['192.0.2.53'] } } })),
  ),
  answering(
    'answers with another family than its routes',
    says({
      cniVersion: '1.0.0',
      ips: [{ address: 'fd91::2/64', gateway: 'fd91::1' }],
      ...DEFAULT_ROUTE,
    }),
    succeeds(pairOf('1.0.0', { address: 'fd91::2/64', gateway: 'fd91::1', more: DEFAULT_ROUTE })),
    PTP,
  ),
  answering(
    'names a gateway of another family',
    says({ cniVersion: '1.0.0', ips: [{ address: '10.91.0.2/24', gateway: 'fd91::1' }] }),
    failed(7, /^Cannot use gateway "fd91::1": it is no IPv4 address$/),
  ),
  answering(
    'names the next hop of a route of another family',
    says({ ...GIVEN, routes: [{ dst: '198.51.100.0/24', gw: 'fd91::1' }] }),
    failed(102, /^Cannot add route to 198\.51\.100\.0\/24 via fd91::1 /),
  ),
  answering(
    'gives an IPv4 address written as IPv6',
    says({ cniVersion: '1.0.0', ips: [{ address: '::ffff:10.91.0.2/120' }] }),
    failed(7, /^Cannot use address "::ffff:10\.91\.0\.2\/120"/),
  ),
];

const delegates = [
  rule(
    'an IPAM plugin that fails at DEL',
    `${DELEGATED}: DEL of delegates`,
    { before: script(says(GIVEN), FAILS), config: SCRIPTED, verdict: pairOf('1.0.0'), left: 1 },
    // The interface goes all the same.
    { command: 'DEL', config: SCRIPTED, verdict: NO_LUCK, left: 0 },
  ),
  rule(
    'an IPAM plugin that is not there',
    DELEGATED,
    {
      config: { ipam: { type: 'nonesuch' } },
      verdict: refusal(7, /^failed to find plugin "nonesuch" in path \[.+\]$/),
      left: 0,
    },
    {
      command: 'DEL',
      config: { ipam: { type: 'nonesuch' } },
      verdict: refusal(7, /^failed to find plugin "nonesuch" in path \[.+\]$/),
    },
  ),
  rule('an IPAM plugin with a directory', INVOKE, {
    config: { ipam: { type: '../host-local' } },
    verdict: refusal(7, 'invalid plugin name: ../host-local'),
    left: 0,
  }),
  ...[{}, { type: '' }].map((ipam) =>
    rule(`the ipam ${JSON.stringify(ipam)}`, ADD, {
      config: { ipam },
      verdict: refusal(7, /^no plugin name provided: /),
      left: 0,
    }),
  ),
  rule('DEL without ipam', DEL, { command: 'DEL', config: { ipam: undefined }, verdict: nothing }),
  rule('ADD with ipam and prevResult', ADD, {
    config: { prevResult: { cniVersion: '1.0.0' } },
    verdict: refusal(7, /^Cannot use ipam "host-local" in a chain: /),
    left: 0,
  }),
  rule('no address left', DELEGATED, {
    before: (place) => {
      const folder = path.join(place.directory, 'networks/pods');
      fs.mkdirSync(folder, { recursive: true });
      fs.writeFileSync(path.join(folder, '10.91.0.2'), 'other\r\neth0');
    },
    config: (place) => ({ ipam: { ...hostLocal(place), ranges: [[{ subnet: '10.91.0.0/30' }]] } }),
    verdict: refusal(
      999,
      /^failed to allocate for range 0: no IP addresses available in range set: /,
    ),
    left: 0,
  }),
  ...(
    [
      ['FOO=bar', /^ARGS: unknown args \["FOO=bar"\]$/],
      ['FOO', /^ARGS: invalid pair "FOO"$/],
    ] as const
  ).map(([args, text]) =>
    rule(
      `CNI_ARGS=${args}, which the IPAM plugin refuses`,
      LOAD_ARGS,
      {
        env: { CNI_ARGS: args },
        verdict: refusal(999, text, {
          stderr: /^podpace: .*Cannot release the address while undoing ADD: ARGS: /,
        }),
        left: 0,
      },
      { command: 'DEL', env: { CNI_ARGS: args }, verdict: refusal(999, text) },
    ),
  ),
  ...['FOO=bar;IgnoreUnknown=1', 'IgnoreUnknown=true;K8S_POD_UID=u;K8S_POD_NAME=web-1;FOO='].map(
    (args) =>
      rule(
        `CNI_ARGS=${args}`,
        LOAD_ARGS,
        { env: { CNI_ARGS: args }, verdict: added(), left: 1 },
        remove({ env: { CNI_ARGS: args } }),
      ),
  ),
];

export const IPAM_RULES: readonly Rule[] = [...answers, ...delegates];
