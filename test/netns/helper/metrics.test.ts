// A scrape of a helper that runs, with a pod that sends: the figures are those of `counters`.

import test from 'ava';
import { BackgroundProcess } from '../../bed/background.ts';
import { inNamespace } from '../../bed/testbed.ts';
import {
  addUplink,
  leaveRecords,
  makeHelperDirectories,
  paramsOf,
  startOwnHelper,
  wirePod,
} from '../../kit/helper.ts';
import { makeNetns } from '../../kit/netns.ts';
import { METRICS_PORT, scrape } from '../../kit/scrape.ts';
import { until } from '../../kit/wish-scene.ts';

const RATE = { rateBitsPerSec: 10_000_000 };

/** Series of each direction of each pod, whatever else tells them apart. */
function seriesOfDirections(page: string): Map<string, string[]> {
  const byDirection = new Map<string, string[]>();
  for (const line of page.split('\n')) {
    const labels = /^podpace_pod_\w+\{(.*direction="[a-z]+")/.exec(line)?.[1];
    if (labels === undefined) continue;
    const series = line.slice(0, line.lastIndexOf(' '));
    byDirection.set(labels, [...(byDirection.get(labels) ?? []), series]);
  }
  return byDirection;
}

test.serial('a scrape has the pod by its name, its caps, and what its packets met', async (t) => {
  const [node, pod, peer] = [makeNetns(t), makeNetns(t), makeNetns(t)];
  const directories = makeHelperDirectories(t);
  node.ip('link', 'set', 'lo', 'up');
  wirePod(node, pod, 'pod0');
  addUplink(node, peer, 'uplink', 1);
  const named = { podNamespace: 'shop', podName: 'web-0', podUid: 'u1' };
  const params = paramsOf('pod0', pod, { egress: RATE, ingress: RATE });
  leaveRecords(node, directories, [{ ...params, ...named }]);
  const flags = ['--metrics-address', `127.0.0.1:${METRICS_PORT}`];
  const helper = await startOwnHelper(t, node, directories, flags);
  const page = await scrape(node);
  const labels = 'namespace="shop",pod="web-0",interface="eth0"';
  for (const direction of ['egress', 'ingress']) {
    const series = `{${labels},direction="${direction}"}`;
    t.true(page.includes(`\npodpace_pod_cap_bytes_per_second${series} 1250000\n`), page);
    t.true(page.includes(`\npodpace_pod_throttled_seconds_total${series} 0\n`));
    t.true(page.includes(`\npodpace_pod_sojourn_seconds_count${series} `));
  }
  const directions = seriesOfDirections(page);
  t.is(directions.size, 2);
  for (const [labels, series] of directions) {
    // A contract: Prometheus pays by the series.
    t.true(series.length <= 30, `${labels}: ${series.length}`);
    t.is(new Set(series).size, series.length);
    t.log(`${labels}: ${series.length} series`);
  }
  t.regex(page, /\npodpace_attachments 1\n/);
  t.regex(page, /\npodpace_exit_enforced\{exit="uplink",role="uplink",reason="[^"]*"\} [01]\n/);
  await helper.ask('status', {});
  t.regex(await scrape(node), /\npodpace_build_info\{/);
  t.deepEqual(
    (await helper.ask('status', {})).notices.filter((one) => /metrics/.test(one)),
    [],
  );
});

test.serial('where another listens the helper goes on without, and says so', async (t) => {
  const node = makeNetns(t);
  const directories = makeHelperDirectories(t);
  node.ip('link', 'set', 'lo', 'up');
  const script = `net.createServer().listen(${METRICS_PORT}, '127.0.0.1', () => console.log('listens'))`;
  const occupied = inNamespace(node.netns.path, process.execPath, '-e', script);
  const occupant = await BackgroundProcess.start(...occupied);
  t.teardown(() => occupant.stop());
  await occupant.ready((output) => output.includes('listens'), undefined);
  const flags = ['--metrics-address', `127.0.0.1:${METRICS_PORT}`];
  const helper = await startOwnHelper(t, node, directories, flags);
  const told = new RegExp(`^No metrics at 127\\.0\\.0\\.1 port ${METRICS_PORT}: .*EADDRINUSE`);
  await until(t, 'status says so', async () =>
    (await helper.ask('status', {})).notices.some((one) => told.test(one)),
  );
  t.is(helper.log().match(/No metrics at/g)?.length, 1);
  await occupant.stop();
  await until(t, 'status says so no longer', async () =>
    (await helper.ask('status', {})).notices.every((one) => !told.test(one)),
  );
  t.regex(await scrape(node), /\npodpace_attachments 0\n/);
});
