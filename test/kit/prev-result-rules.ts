// Rules of prevResult: which can be read, and how it is handed on.

import type { JsonObject } from '../../cni/types.ts';
import { HOST, previous } from './cni-place.ts';
import { frame, nothing, prints, refusal, type Rule, type Verdict } from './cni-rule.ts';

const SPEC = 'CNI 1.1.0, SPEC.md';
const ADD = `${SPEC}, "ADD"`;
const GO = 'Go, encoding/json: keys match in any case of letters, and the last one counts';
const RESULTS = 'containernetworking/cni 1.3.0, pkg/types/internal/create.go';

const PREVIOUS = previous();

/** What none but the plugin that wrote it knows. */
const UNKNOWN = { 'vendor.example/key': [1, 'two', null] };

const badVersion = (version: string): Verdict =>
  refusal(
    7,
    new RegExp(
      `^could not parse prevResult: result type supports \\[[0-9. ]+\\] but unmarshalled CNIVersion is "${version.replaceAll('.', String.raw`\.`)}"$`,
    ),
  );

/** Versions of the configuration and of prevResult, and whether one can be read as the other. */
const VERSIONS: readonly [config: string, found: string | undefined, isReadable: boolean][] = [
  ['0.3.0', '0.3.0', true],
  ['0.3.0', '0.4.0', true],
  ['0.3.1', '0.3.1', true],
  ['0.4.0', undefined, true],
  ['0.4.0', '0.2.0', false],
  ['0.4.0', '1.0.0', false],
  ['1.0.0', '1.0.0', true],
  ['1.0.0', undefined, true],
  ['1.0.0', '', true],
  ['1.0.0', '1.1.0', true],
  ['1.0.0', '0.1.0', false],
  ['1.0.0', '0.4.0', false],
  ['1.0.0', '7.7', false],
  ['1.1.0', '1.0.0', true],
  ['1.1.0', '1.1.0', true],
  ['1.1.0', '0.3.1', false],
];

const { cniVersion: _, ...UNVERSIONED } = PREVIOUS;

/** As that version prints it; before 1.0.0 an address has its family. */
function inVersion(cniVersion: string | undefined, config: string): JsonObject {
  const ips = UNVERSIONED['ips'] as readonly JsonObject[];
  return {
    ...(cniVersion !== undefined && { cniVersion }),
    ...UNVERSIONED,
    ...(config < '1.0.0' && { ips: ips.map((each) => ({ version: '4', ...each })) }),
  };
}

const versions = VERSIONS.map(([config, found, isReadable]) =>
  frame(
    `prevResult of ${found === undefined ? 'no version' : `version "${found}"`}, configuration of ${config}`,
    RESULTS,
    {
      config: { cniVersion: config, prevResult: inVersion(found, config) },
      verdict: isReadable ? prints(inVersion(config, config)) : badVersion(found ?? ''),
    },
  ),
);

const NO_RESULT = refusal(7, /^(could not parse prevResult: |Cannot use prevResult)/);

const previousResults = [
  frame('what a prevResult has beside', `${ADD}: prevResult with the plugin's own changes`, {
    config: { prevResult: { ...PREVIOUS, ...UNKNOWN } },
    verdict: prints({ ...PREVIOUS, ...UNKNOWN }),
  }),
  frame('what 1.1.0 knows of interfaces and routes', `${SPEC}, "ADD Success"`, {
    config: {
      cniVersion: '1.1.0',
      prevResult: {
        cniVersion: '1.1.0',
        interfaces: [{ name: 'h', mtu: 1400, socketPath: '/s', pciID: '0000:00:1f.6' }],
        routes: [{ dst: '0.0.0.0/0', mtu: 1400, advmss: 1360, priority: 1, table: 5, scope: 0 }],
      },
    },
    verdict: prints({
      cniVersion: '1.1.0',
      interfaces: [{ name: 'h', mtu: 1400, socketPath: '/s', pciID: '0000:00:1f.6' }],
      routes: [{ dst: '0.0.0.0/0', mtu: 1400, advmss: 1360, priority: 1, table: 5, scope: 0 }],
    }),
  }),
  frame('a prevResult whose version is written in another way', GO, {
    config: {
      cniVersion: '0.4.0',
      prevResult: { CNIVersion: '0.3.1', interfaces: [{ name: HOST }] },
    },
    verdict: prints({ cniVersion: '0.4.0', interfaces: [{ name: HOST }] }),
  }),
  frame('an empty prevResult', ADD, {
    config: { prevResult: {} },
    verdict: prints({ cniVersion: '1.0.0' }),
  }),
  frame('an index beyond the interfaces', ADD, {
    config: { prevResult: { ips: [{ address: '10.1.1.1/24', interface: 5 }] } },
    verdict: prints({ cniVersion: '1.0.0', ips: [{ address: '10.1.1.1/24', interface: 5 }] }),
  }),
  ...[7, 'x', []].flatMap((prevResult) => [
    frame(`the prevResult ${JSON.stringify(prevResult)}`, RESULTS, {
      config: { prevResult },
      verdict: NO_RESULT,
    }),
    frame(`DEL with the prevResult ${JSON.stringify(prevResult)}`, `${SPEC}, "DEL"`, {
      command: 'DEL',
      config: { prevResult },
      verdict: nothing,
      asks: ['detach'],
    }),
  ]),
  ...[
    { cniVersion: 7 },
    { interfaces: {} },
    { interfaces: [7] },
    { interfaces: [{ name: 7 }] },
    { interfaces: [{}] },
    { ips: [{}] },
    { routes: [{}] },
    { dns: { nameservers: 7 } },
  ].map((wrong) =>
    frame(`a prevResult with ${JSON.stringify(wrong)}`, `${SPEC}, "ADD Success"`, {
      config: { prevResult: wrong },
      verdict: NO_RESULT,
    }),
  ),
  frame('a prevResult with an address that is none', ADD, {
    config: { prevResult: { ips: [{ address: 'x' }] } },
    verdict: prints({ cniVersion: '1.0.0', ips: [{ address: 'x' }] }),
  }),
  frame('ADD without prevResult', ADD, {
    config: { prevResult: undefined },
    verdict: refusal(7, 'no plugin name provided: there is neither ipam.type nor prevResult'),
  }),
  frame('CHECK without prevResult', `${SPEC}, "CHECK"`, {
    command: 'CHECK',
    config: { prevResult: undefined },
    verdict: refusal(7, 'Required prevResult missing'),
  }),
  frame('DEL without prevResult', `${SPEC}, "DEL"`, {
    command: 'DEL',
    config: { prevResult: null },
    verdict: nothing,
  }),
  frame('CHECK where nothing was to be done', `${SPEC}, "CHECK"`, {
    command: 'CHECK',
    verdict: nothing,
  }),
];

export const PREV_RESULT_RULES: readonly Rule[] = [...versions, ...previousResults];
