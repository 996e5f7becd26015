// A receiver that nobody here wrote, Debian's VictoriaMetrics, takes what is pushed, and calls it as
// the page of Prometheus does.

import { spawn } from 'node:child_process';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { labelsOf, seriesOf } from '../../helper/metrics/exposition.ts';
import { metricsPage } from '../../helper/metrics-page.ts';
import { openPush } from '../../helper/otlp-link.ts';
import { Tallies } from '../../helper/tallies.ts';
import { ensureDebianFiles } from '../../scripts/lib/debian-files.ts';
import { buildDirectory } from '../../scripts/lib/paths.ts';
import { temporaryDirectory } from '../bed/temporary-directory.ts';
import { freePort } from '../kit/free-port.ts';
import { measuredPod } from '../kit/measured-pod.ts';

const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };
/** What changes from one moment to the next. */
const OF_THE_MOMENT = /^process_/;

/** Labels of the page by what its attribute is called there. */
const LABELS: Readonly<Record<string, string>> = {
  ...{ k8s_namespace_name: 'namespace', k8s_pod_name: 'pod', network_io_direction: 'direction' },
  ...{ network_interface_name: 'interface', podpace_drop_cause: 'cause', le: 'le' },
  ...{ podpace_exit_role: 'role', podpace_exit_reason: 'reason', rpc_method: 'method' },
  podpace_outcome: 'outcome',
};
const DIRECTIONS: Readonly<Record<string, string>> = { transmit: 'egress', receive: 'ingress' };

async function startReceiver(t: ExecutionContext): Promise<string> {
  const directory = path.join(buildDirectory, 'victoria-metrics');
  await ensureDebianFiles({
    ...{ packages: ['victoria-metrics'], suite: 'sid', directory },
    architecture: ARCHITECTURES[process.arch] ?? process.arch,
  });
  const place = `127.0.0.1:${await freePort()}`;
  const child = spawn(
    path.join(directory, 'usr/bin/victoria-metrics'),
    [
      `-httpListenAddr=${place}`,
      `-storageDataPath=${temporaryDirectory(t)}`,
      ...['-opentelemetry.usePrometheusNaming', '-memory.allowedBytes=64MB'],
    ],
    { stdio: 'ignore' },
  );
  const ended = new Promise((resolve) => child.on('close', resolve));
  t.teardown(async () => {
    child.kill();
    await ended;
  });
  const isReady = async (): Promise<boolean> => {
    try {
      return (await fetch(`http://${place}/health`)).ok;
    } catch {
      return false;
    }
  };
  for (let tries = 0; tries < 600 && !(await isReady()); tries += 1) await sleep(100);
  return `http://${place}`;
}

type Stored = Readonly<Record<string, string>> & { readonly __name__: string };

/** A series as the page has it. */
function pageSeries({ __name__, ...attributes }: Stored): string {
  const labels = Object.entries(attributes).flatMap(([name, value]): [string, string][] => {
    const label =
      __name__ === 'podpace_exit_enforced' && name === 'network_interface_name'
        ? 'exit'
        : LABELS[name];
    return label === undefined ? [] : [[label, DIRECTIONS[value] ?? value]];
  });
  return keyOf(__name__, labels);
}

function keyOf(name: string, labels: readonly (readonly [string, string])[]): string {
  const known = labels.filter(([label, value]) => label !== 'version' && value !== '');
  const sorted = known.toSorted(([a], [b]) => (a < b ? -1 : 1));
  return `${name}{${seriesOf(Object.fromEntries(sorted))}}`;
}

async function stored(receiver: string): Promise<Map<string, number>> {
  await fetch(`${receiver}/internal/force_flush`);
  const match = encodeURIComponent('{__name__=~"podpace_.*|process_.*",service_name="podpaced"}');
  const answer = await fetch(`${receiver}/api/v1/export?match[]=${match}`);
  const lines = (await answer.text()).split('\n').filter((line) => line !== '');
  const series = lines.map((line) => JSON.parse(line) as { metric: Stored; values: number[] });
  return new Map(series.map(({ metric, values }) => [pageSeries(metric), values.at(-1) ?? NaN]));
}

test('VictoriaMetrics has every series of the page, by its name and with its value', async (t) => {
  const receiver = await startReceiver(t);
  const pods = ['web-0', 'web-1'].map((podName) =>
    measuredPod(`${podName}c`, { podNamespace: 'shop', podName }),
  );
  const tallies = new Tallies();
  tallies.countRequest('attach', 'ok');
  const exitsInUse = [{ name: 'eth0', role: 'uplink' as const }];
  const text = 'eth0 is shaped by "another" program';
  const problems = () => [
    { code: 'qdisc-replaced' as const, text, place: 'eth0', scopes: [{ of: 'senders' as const }] },
  ];
  const source = {
    shaper: { measure: async () => await Promise.resolve(pods), exitsInUse },
    ...{ tallies, problems },
  };
  const otlpEndpoint = `${receiver}/opentelemetry/v1/metrics`;
  const logged: string[] = [];
  const place = { otlpEndpoint, otlpSeconds: 1, nodeName: 'n' };
  const push = openPush(place, {}, source, (_, line) => logged.push(line));
  t.teardown(() => push.close());
  const page = Buffer.concat(await metricsPage(source, 'text')).toString();
  const lines = page.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  const expected = lines.map((line) => {
    const [, name = '', labels = '', value] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
    return [keyOf(name, labelsOf(labels)), Number(value)] as const;
  });
  let got = await stored(receiver);
  for (let tries = 0; tries < 60 && got.size === 0; tries += 1) {
    await sleep(500);
    got = await stored(receiver);
  }
  t.deepEqual(logged, []);
  for (const [series, value] of expected) {
    if (OF_THE_MOMENT.test(series)) t.true(got.has(series), series);
    else t.is(got.get(series), value, series);
  }
});
