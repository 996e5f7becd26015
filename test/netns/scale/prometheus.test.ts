// Debian's Prometheus scrapes a helper that runs, in the clear and by TLS, and evaluates the rules.

import fs from 'node:fs';
import path from 'node:path';
import test from 'ava';
import { projectRoot } from '../../../scripts/lib/paths.ts';
import { capture } from '../../../scripts/lib/process.ts';
import { PROMETHEUS } from '../../../scripts/lib/prometheus.ts';
import { BackgroundProcess } from '../../bed/background.ts';
import { temporaryDirectory } from '../../bed/temporary-directory.ts';
import { inNamespace } from '../../bed/testbed.ts';
import {
  addUplink,
  leaveRecords,
  makeHelperDirectories,
  paramsOf,
  startOwnHelper,
  wirePod,
} from '../../kit/helper.ts';
import { makeKeyPair } from '../../kit/key-pair.ts';
import { makeNetns, type TestNetns } from '../../kit/netns.ts';
import { METRICS_PORT } from '../../kit/scrape.ts';
import { until } from '../../kit/wish-scene.ts';

const SERVER = '127.0.0.1:9090';

/** Of Prometheus' HTTP API. */
interface Answer {
  readonly data: {
    readonly result?: readonly { readonly metric: object; readonly value: [number, string] }[];
    readonly groups?: readonly { readonly rules: readonly { readonly health: string }[] }[];
  };
}

async function asks(node: TestNetns, question: string): Promise<Answer['data']> {
  const script = `fetch('http://${SERVER}/api/v1/${question}').then(async (answer) => process.stdout.write(await answer.text()))`;
  const text = await capture(...inNamespace(node.netns.path, process.execPath, '-e', script));
  return (JSON.parse(text) as Answer).data;
}

/** The values of an expression. */
async function valuesOf(node: TestNetns, expression: string): Promise<string[]> {
  const { result = [] } = await asks(node, `query?query=${encodeURIComponent(expression)}`);
  return result.map(({ value: [, value] }) => value);
}

function configurationOf(scrape: object): string {
  const job = { job_name: 'podpace', static_configs: [{ targets: [`127.0.0.1:${METRICS_PORT}`] }] };
  return JSON.stringify({
    global: { scrape_interval: '1s', scrape_timeout: '1s', evaluation_interval: '1s' },
    rule_files: [path.join(projectRoot, 'conf/monitoring/rules.yaml')],
    scrape_configs: [{ ...job, honor_labels: true, ...scrape }],
  });
}

for (const scheme of ['http', 'https'] as const)
  test.serial(`Prometheus has what the page has, by ${scheme}`, async (t) => {
    const [node, pod, peer] = [makeNetns(t), makeNetns(t), makeNetns(t)];
    const [directories, directory] = [makeHelperDirectories(t), temporaryDirectory(t)];
    node.ip('link', 'set', 'lo', 'up');
    wirePod(node, pod, 'pod0');
    addUplink(node, peer, 'uplink', 1);
    const rate = { rateBitsPerSec: 10_000_000 };
    const params = paramsOf('pod0', pod, { egress: rate, ingress: rate });
    const named = { podNamespace: 'shop', podName: 'web-0', podUid: 'u1' };
    leaveRecords(node, directories, [{ ...params, ...named }]);
    const { certificate, key } = makeKeyPair(directory, 'tls');
    const tls = ['--metrics-certificate', certificate, '--metrics-key', key];
    await startOwnHelper(t, node, directories, [
      ...['--metrics-address', `127.0.0.1:${METRICS_PORT}`],
      ...(scheme === 'https' ? tls : []),
    ]);
    const file = path.join(directory, 'prometheus.yml');
    const trust = scheme === 'https' ? { tls_config: { ca_file: certificate } } : {};
    fs.writeFileSync(file, configurationOf({ scheme, ...trust }));
    const flags = [
      ...[`--config.file=${file}`, `--web.listen-address=${SERVER}`],
      `--storage.tsdb.path=${path.join(directory, 'data')}`,
    ];
    const prometheus = await BackgroundProcess.start(
      ...inNamespace(node.netns.path, PROMETHEUS, ...flags),
    );
    t.teardown(() => prometheus.stop());
    await prometheus.ready((output) => output.includes('ready to receive web requests'), undefined);
    await until(t, 'a scrape', async () => (await valuesOf(node, 'up'))[0] === '1');
    const pods = 'namespace="shop",pod="web-0",interface="eth0"';
    t.deepEqual(
      await valuesOf(node, `podpace_pod_cap_bytes_per_second{${pods},direction="egress"}`),
      ['1250000'],
    );
    t.deepEqual(await valuesOf(node, 'podpace_attachments'), ['1']);
    t.deepEqual(await valuesOf(node, `count(podpace_pod_sojourn_seconds_bucket{${pods}})`), ['16']);
    // What Prometheus read is what it kept: no two series of one name, none malformed.
    t.deepEqual(
      await valuesOf(node, 'scrape_samples_scraped'),
      await valuesOf(node, 'count({__name__=~"podpace_.*|process_.*"})'),
    );
    const healths = async (): Promise<string[]> =>
      ((await asks(node, 'rules')).groups ?? []).flatMap(({ rules }) =>
        rules.map(({ health }) => health),
      );
    await until(t, 'each rule is evaluated', async () =>
      (await healths()).every((health) => health !== 'unknown'),
    );
    const all = await healths();
    t.true(all.length >= 10 && all.every((health) => health === 'ok'), all.join());
  });
