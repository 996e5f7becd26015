import test from 'ava';
import fc from 'fast-check';
import {
  parsePreviousResult,
  parseResult,
  printResult,
  type CniResult,
} from '../../../cni/result.ts';
import { CniError, SUPPORTED_VERSIONS, type CniVersion } from '../../../cni/types.ts';

const text = fc.stringMatching(/^[a-z0-9.]{1,12}$/);
const number = fc.nat({ max: 2 ** 32 - 1 });
const address = fc.constantFrom('10.1.0.2/16', 'fd00::2/64', '192.0.2.1/32', '::1/128');

const cniInterface = fc.record(
  { name: text, mac: text, mtu: number, sandbox: text, socketPath: text, pciID: text },
  { requiredKeys: ['name'] },
);
const ip = fc.record({ interface: number, address, gateway: text }, { requiredKeys: ['address'] });
const route = fc.record(
  {
    dst: address,
    gw: text,
    mtu: number,
    advmss: number,
    priority: number,
    table: number,
    scope: number,
  },
  { requiredKeys: ['dst'] },
);
const lists = fc.array(text, { maxLength: 3 });
const dns = fc
  .record({ nameservers: lists, domain: text, search: lists, options: lists }, { requiredKeys: [] })
  .filter((object) => Object.keys(object).length > 0);
const results = fc.record(
  {
    interfaces: fc.array(cniInterface, { minLength: 1, maxLength: 3 }),
    ips: fc.array(ip, { minLength: 1, maxLength: 3 }),
    routes: fc.array(route, { minLength: 1, maxLength: 3 }),
    dns,
  },
  { requiredKeys: [] },
) as fc.Arbitrary<CniResult>;

/** What a version cannot say. */
function reduced(result: CniResult, version: CniVersion): CniResult {
  if (version === '1.1.0' || result.interfaces === undefined) return result;
  const interfaces = result.interfaces.map(
    ({ mtu: _mtu, socketPath: _path, pciID: _id, ...rest }) => rest,
  );
  return { ...result, interfaces };
}

for (const version of SUPPORTED_VERSIONS) {
  test(`a result printed as ${version} reads back, less what that version cannot say`, (t) => {
    fc.assert(
      fc.property(results, (result) => {
        const printed = JSON.parse(JSON.stringify(printResult(result, version))) as unknown;
        t.deepEqual(parseResult(printed, version, 'result'), reduced(result, version));
      }),
    );
  });
}

test('old versions say the family of an address', (t) => {
  const result = { ips: [{ address: '10.1.0.2/16' }, { address: 'fd00::2/64' }] };
  t.deepEqual(printResult(result, '0.4.0'), {
    cniVersion: '0.4.0',
    ips: [
      { version: '4', address: '10.1.0.2/16' },
      { version: '6', address: 'fd00::2/64' },
    ],
    dns: {},
  });
  t.deepEqual(printResult(result, '1.0.0'), { cniVersion: '1.0.0', ips: result.ips });
});

test('results of 0.2.0, which an IPAM plugin may give', (t) => {
  const old = {
    cniVersion: '0.2.0',
    ip4: { ip: '10.1.0.2/16', gateway: '10.1.0.1', routes: [{ dst: '0.0.0.0/0' }] },
    ip6: { ip: 'fd00::2/64', routes: [{ dst: '::/0', gw: 'fd00::9' }] },
    dns: { nameservers: ['192.0.2.53'] },
  };
  t.deepEqual(parseResult(old, '0.2.0', 'result'), {
    ips: [{ address: '10.1.0.2/16', gateway: '10.1.0.1' }, { address: 'fd00::2/64' }],
    routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0', gw: 'fd00::9' }],
    dns: { nameservers: ['192.0.2.53'] },
  });
});

test('prevResult is handed on whole', (t) => {
  fc.assert(
    fc.property(
      results,
      fc.dictionary(fc.string({ minLength: 1 }), fc.jsonValue()),
      fc.constantFrom(...SUPPORTED_VERSIONS),
      (result, unknown, version) => {
        const { cniVersion: _, ...more } = unknown;
        const printed = { ...more, ...printResult(result, version), 'vendor.example': more };
        const given = JSON.parse(JSON.stringify(printed)) as object;
        const { raw } = parsePreviousResult(given, version);
        t.deepEqual(raw, given);
      },
    ),
  );
});

test('prevResult without a version is of that of the configuration', (t) => {
  t.deepEqual(parsePreviousResult({ ips: [] }, '0.3.1').raw, { cniVersion: '0.3.1', ips: [] });
  t.deepEqual(parsePreviousResult({ cniVersion: '1.0.0' }, '1.1.0').raw, { cniVersion: '1.1.0' });
  t.deepEqual(parsePreviousResult({ CNIVersion: '1.0.0' }, '1.1.0').raw, { cniVersion: '1.1.0' });
});

const BAD: readonly [value: unknown, message: RegExp][] = [
  ['x', /^could not parse prevResult: it is "x", not an object$/],
  [[], /^could not parse prevResult: it is \[\], not an object$/],
  [
    { cniVersion: '7.7' },
    /^could not parse prevResult: result type supports \[1\.0\.0 1\.1\.0\] but unmarshalled CNIVersion is "7\.7"$/,
  ],
  [{ cniVersion: '0.4.0' }, /unmarshalled CNIVersion is "0\.4\.0"$/],
  [{ cniVersion: 7 }, /^Cannot use prevResult\.cniVersion: it is 7, not a string$/],
  [{ interfaces: {} }, /^Cannot use prevResult\.interfaces: it is \{\}, not an array$/],
  [{ interfaces: [7] }, /^Cannot use prevResult\.interfaces\[0\]: it is 7, not an object$/],
  [{ interfaces: [{}] }, /^Cannot use prevResult\.interfaces\[0\]\.name: it is missing$/],
  [{ ips: [{ address: 7 }] }, /^Cannot use prevResult\.ips\[0\]\.address: it is 7, not a string$/],
  [
    { ips: [{ address: 'x', interface: -1 }] },
    /^Cannot use prevResult\.ips\[0\]\.interface: it is -1/,
  ],
  [{ routes: [{ dst: 'x', mtu: 1.5 }] }, /^Cannot use prevResult\.routes\[0\]\.mtu: it is 1\.5/],
  [
    { dns: { search: ['a', 7] } },
    /^Cannot use prevResult\.dns\.search\[1\]: it is 7, not a string$/,
  ],
];

for (const [value, message] of BAD) {
  test(`refuses prevResult ${JSON.stringify(value)}`, (t) => {
    const error = t.throws(() => parsePreviousResult(value, '1.0.0'), { instanceOf: CniError });
    t.is(error.code, 7);
    t.regex(error.message, message);
  });
}
