// Rules of a plugin that makes the interface: results in every version, and what stays. Of its IPAM
// plugin see ipam-rules.ts.

import fs from 'node:fs';
import path from 'node:path';
import type { JsonObject } from '../../cni/types.ts';
import { deleteNetns, ip } from './cni-node.ts';
import { nothing, refusal, type Place, type Rule } from './cni-rule.ts';
import {
  added,
  ADDRESS,
  DEFAULT_ROUTE,
  FAILS,
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
const CHECK = `${SPEC}, "CHECK"`;

const withResult = ({ result }: Place): JsonObject => ({ prevResult: result });
/** Versions with which host-local of Debian 12 can be asked. */
const versions = ['0.3.0', '0.3.1', '0.4.0', '1.0.0'].map((cniVersion) =>
  rule(
    `ADD, CHECK and DEL of ${cniVersion}`,
    `${ADD}, "ADD Success"`,
    { config: { cniVersion }, verdict: added(cniVersion), left: 1 },
    {
      command: 'CHECK',
      config: (place) => ({ cniVersion, ...withResult(place) }),
      verdict: cniVersion < '0.4.0' ? refusal(1, 'config version does not allow CHECK') : nothing,
    },
    remove({
      config: (place) => ({ cniVersion, ...(cniVersion >= '0.4.0' && withResult(place)) }),
    }),
  ),
);

const oldVersions = ['0.1.0', '0.2.0'].map((cniVersion) =>
  rule(`ADD of ${cniVersion}`, 'README.md, "cniVersion"', {
    config: { cniVersion },
    verdict: refusal(1, 'incompatible CNI versions'),
    left: 0,
  }),
);

const life110 = rule(
  'ADD, CHECK, STATUS, GC and DEL of 1.1.0',
  SPEC,
  {
    before: script(
      says({ cniVersion: '1.1.0', ips: [ADDRESS], routes: [{ dst: '0.0.0.0/0', mtu: 1400 }] }),
    ),
    config: { cniVersion: '1.1.0', ...SCRIPTED },
    verdict: pairOf('1.1.0', { more: { routes: [{ dst: '0.0.0.0/0', mtu: 1400 }] } }),
    left: 1,
  },
  {
    command: 'CHECK',
    config: (place) => ({ cniVersion: '1.1.0', ...SCRIPTED, ...withResult(place) }),
    verdict: nothing,
  },
  { command: 'STATUS', config: { cniVersion: '1.1.0', ...SCRIPTED }, verdict: nothing },
  { command: 'GC', config: { cniVersion: '1.1.0', ...SCRIPTED }, verdict: nothing, left: 1 },
  {
    command: 'GC',
    config: ({ result }) => ({
      cniVersion: '1.1.0',
      ...SCRIPTED,
      'cni.dev/valid-attachments': [{ containerID: 'other', ifname: 'eth0' }],
      was: result?.['cniVersion'],
    }),
    verdict: { stderr: /^podpace: GC removed stray host interfaces pod[0-9a-f]{12}\n$/ },
    left: 0,
  },
  remove({ config: { cniVersion: '1.1.0', ...SCRIPTED } }),
);

const delegates110 = [
  rule("STATUS with IPAM's error", `${SPEC}, "STATUS": forward to delegates`, {
    before: script('exit 0', FAILS),
    command: 'STATUS',
    config: { cniVersion: '1.1.0', ...SCRIPTED },
    verdict: NO_LUCK,
  }),
  rule("GC with IPAM's error", `${SPEC}, "GC": forward to delegates`, {
    before: script('exit 0', FAILS),
    command: 'GC',
    config: { cniVersion: '1.1.0', ...SCRIPTED },
    verdict: NO_LUCK,
  }),
];

const gone = ({ sandbox }: Place): void => deleteNetns(sandbox);
const withoutAddresses = (place: Place): void =>
  fs.rmSync(path.join(place.directory, 'networks'), { recursive: true });

const lives = [
  rule(
    'DEL twice, and without a namespace',
    DEL,
    { verdict: added(), left: 1 },
    remove({ config: withResult }),
    remove(),
    remove({ env: { CNI_NETNS: '' } }),
    remove({ env: { CNI_NETNS: undefined } }),
  ),
  rule('DEL of what was never added', DEL, remove()),
  rule('DEL with the namespace gone', DEL, { verdict: added() }, remove({ before: gone })),
  rule(
    'DEL with everything gone',
    DEL,
    { verdict: added() },
    remove({
      before: (place) => {
        ip(place.sandbox, 'link', 'delete', 'eth0');
        gone(place);
        withoutAddresses(place);
      },
      config: withResult,
    }),
  ),
  rule(
    'ADD where the interface exists',
    ADD,
    { verdict: added(), left: 1 },
    {
      env: { CNI_CONTAINERID: 'other' },
      verdict: refusal(105, /^Cannot create interface "eth0": it exists already in /),
      left: 1,
    },
    {
      command: 'CHECK',
      config: ({ sandbox }) => ({
        prevResult: {
          cniVersion: '1.0.0',
          interfaces: [{ name: 'eth0', sandbox }],
          ips: [{ interface: 0, ...ADDRESS }],
          ...DEFAULT_ROUTE,
        },
      }),
      verdict: nothing,
    },
  ),
  rule(
    'CHECK with the interface gone',
    CHECK,
    { verdict: added() },
    {
      command: 'CHECK',
      before: ({ sandbox }) => void ip(sandbox, 'link', 'delete', 'eth0'),
      config: withResult,
      verdict: refusal(103, /^Cannot find interface "eth0" in /),
    },
  ),
  rule(
    'CHECK with the reservation gone',
    `${CHECK}: CHECK of delegates`,
    { verdict: added() },
    {
      command: 'CHECK',
      before: withoutAddresses,
      config: withResult,
      verdict: refusal(999, /^host-local: Failed to find address added by container /),
    },
  ),
  rule(
    'CHECK without prevResult',
    CHECK,
    { verdict: added() },
    { command: 'CHECK', verdict: refusal(7, 'Required prevResult missing') },
  ),
  rule('a sandbox that is not there', `${SPEC}, "Error"`, {
    env: { CNI_NETNS: '/run/netns/pp-none' },
    verdict: refusal(4, /^failed to open netns "\/run\/netns\/pp-none": /),
    left: 0,
  }),
];

export const MAIN_PLUGIN_RULES: readonly Rule[] = [
  ...versions,
  ...oldVersions,
  life110,
  ...delegates110,
  ...lives,
];
