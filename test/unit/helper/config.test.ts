import test from 'ava';
import fc from 'fast-check';
import {
  ConfigError,
  mergeConfig,
  nodeDefaultsOf,
  parseConfigFile,
  readSettings,
} from '../../../helper/config.ts';

test('a file and flags are read alike', (t) => {
  const settings = { socket: '/run/x.sock', uplink: ['eth0', 'eth1'], horizonMs: 20 };
  t.deepEqual(parseConfigFile(JSON.stringify(settings)), settings);
  t.deepEqual(
    readSettings({ horizonMs: '20', uplink: 'auto', pinDir: undefined, tunOverheadBytes: '42' }),
    {
      horizonMs: 20,
      uplink: ['auto'],
      tunOverheadBytes: 42,
    },
  );
  t.is(mergeConfig().tunOverheadBytes, 74);
});

const bad: readonly [string, RegExp][] = [
  ['{"horizonMS":20}', /Unknown setting "horizonMS": the settings are socket, stateDir/],
  ['{"horizonMs":0}', /"horizonMs" must be a number from 1 to 2000, got 0/],
  ['{"horizonMs":"x"}', /"horizonMs".*"x"/],
  ['{"horizonMs":""}', /"horizonMs"/],
  ['{"socket":"relative"}', /"socket" must be an absolute path, got "relative"/],
  ['{"aqmTargetMs":-1}', /"aqmTargetMs" must be a number from 0 to 2000, got -1/],
  ['{"aqmTargetMs":"on"}', /"aqmTargetMs".*"on"/],
  ['{"aqmIntervalMs":5000}', /"aqmIntervalMs" must be a number from 1 to 4000/],
  ['{"uplink":[]}', /"uplink" must be interface names or "auto", got \[\]/],
  ['{"uplink":["a name"]}', /"uplink"/],
  ['{"reconcileSeconds":1e9}', /"reconcileSeconds"/],
  ['{"healthAddress":"localhost:80"}', /"healthAddress".*IP address and a port/],
  [
    '{"metricsAddress":""}',
    /"metricsAddress" must be an IP address and a port, .*, or off, got ""/,
  ],
  ['{"otlpEndpoint":"localhost:4318"}', /"otlpEndpoint" must be a URL of http or https, got "loc/],
  ['{"otlpEndpoint":"grpc://a:4317"}', /"otlpEndpoint" must be a URL of http or https/],
  ['{"otlpEndpoint":"http://"}', /"otlpEndpoint" must be a URL of http or https/],
  ['{"otlpSeconds":0}', /"otlpSeconds" must be a number from 1 to 3600, got 0/],
  ['{"foreignQdisc":"ignore"}', /"foreignQdisc" must be respect or replace, got "ignore"/],
  ['{"nodeTraffic":"off"}', /"nodeTraffic" must be cap or free, got "off"/],
  ['{"tunOverheadBytes":-1}', /"tunOverheadBytes" must be a number from 0 to 1000, got -1/],
  ['{"tunOverheadBytes":"4.5"}', /"tunOverheadBytes" must be a whole number, got "4.5"/],
  ['{"exempt":"10.0.0.0/40"}', /"exempt" must be CIDRs: entry 0: "10.0.0.0\/40" is no CIDR/],
  ['{"exempt":["10.0.0.0/8",7]}', /"exempt" must be CIDRs: entry 1: 7 is no CIDR/],
  [
    '{"exempt":["10.0.0.0/8","!10.1.2.3/8"]}',
    /entry 1: "!10.1.2.3\/8" contradicts entry 0, "10.0.0.0\/8"/,
  ],
  ['{"kubernetes":"yes"}', /"kubernetes" must be true or false, got "yes"/],
  ['{"nodeName":"Node_1"}', /"nodeName" must be the name of a node, got "Node_1"/],
  ['{"capRules":[{}]}', /"namespace" of capRules\[0\] must be a non-empty string, got nothing/],
  ['{"capRules":[{"namespace":"Team_*"}]}', /"namespace" of capRules\[0\] must be a pattern/],
  [
    '{"capRules":[{"namespace":"*","egres":{}}]}',
    /must be of namespace, egress, ingress, got "egres"/,
  ],
  ['{"capRules":[{"namespace":"*","egress":{"max":"1M"}}]}', /must be of default, most, got "max"/],
  [
    '{"capRules":[{"namespace":"*","egress":{"most":"1"}}]}',
    /must be a rate from 1k to 1P .*, got "1"/,
  ],
  ['{"capRules":[{"namespace":"*","egress":{"most":1000000}}]}', /must be a rate .*, got 1000000/],
  [
    '{"capRules":[{"namespace":"*","ingress":{"default":"2M","most":"1M"}}]}',
    /must be a default that is not above most/,
  ],
  ['{"capRules":["{"]}', /"capRules\[0\]" must be JSON, got \{/],
  ['[]', /must be a JSON object/],
  ['{', /Not JSON/],
];
for (const [text, expected] of bad) {
  test(`parseConfigFile refuses ${text}`, (t) => {
    const error = t.throws(() => parseConfigFile(text), { instanceOf: ConfigError });
    t.regex(error.message, expected);
  });
}

test('rules of caps are read alike in a file and in flags', (t) => {
  const rule = { namespace: 'team-*', egress: { default: '50M', most: '1G' }, ingress: {} };
  const read = {
    ...{ namespace: 'team-*', ingress: {} },
    egress: { default: 50_000_000, most: 1_000_000_000 },
  };
  const kube = { namespace: 'kube-*' };
  t.deepEqual(parseConfigFile(JSON.stringify({ capRules: [kube, rule] })).capRules, [kube, read]);
  const flags = [kube, rule].map((one) => JSON.stringify(one));
  t.deepEqual(readSettings({ capRules: flags }).capRules, [kube, read]);
});

test('later settings win, and the whole must fit together', (t) => {
  const config = mergeConfig({ horizonMs: 20, aqmTargetMs: 2 }, { horizonMs: 30 });
  t.deepEqual(nodeDefaultsOf(config), {
    horizonNs: 30_000_000,
    aqmTargetNs: 2_000_000,
    aqmIntervalNs: 100_000_000,
  });
  t.is(mergeConfig(readSettings({ aqmTargetMs: 'off', horizonMs: '1' })).aqmTargetMs, 0);
  t.throws(() => mergeConfig({ horizonMs: 5 }), {
    instanceOf: ConfigError,
    message: /horizonMs 5, aqmTargetMs 5 .*target 5 ms is not below the horizon 5 ms/,
  });
  t.throws(() => mergeConfig({ aqmIntervalMs: 4 }), {
    instanceOf: ConfigError,
    message: /interval 4 ms is below the target 5 ms/,
  });
});

test('metrics are served on loopback, where nobody says otherwise', (t) => {
  t.is(mergeConfig().metricsAddress, '127.0.0.1:9844');
  t.is(mergeConfig(parseConfigFile('{"metricsAddress":"off"}')).metricsAddress, 'off');
  t.is(mergeConfig(readSettings({ metricsAddress: 'off' })).metricsAddress, 'off');
});

test('any text gives settings or a ConfigError', (t) => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
      try {
        t.is(typeof parseConfigFile(text), 'object');
      } catch (error) {
        t.true(error instanceof ConfigError);
      }
    }),
  );
});
