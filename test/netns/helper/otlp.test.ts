// Metrics of a helper that runs, with a pod, as they are pushed.

import zlib from 'node:zlib';
import test from 'ava';
import { capture } from '../../../scripts/lib/process.ts';
import { inNamespace } from '../../bed/testbed.ts';
import {
  addUplink,
  leaveRecords,
  makeHelperDirectories,
  paramsOf,
  startOwnHelper,
  wirePod,
} from '../../kit/helper.ts';
import { makeNetns, type TestNetns } from '../../kit/netns.ts';
import { readOtlp } from '../../kit/otlp.ts';

const RATE = { rateBitsPerSec: 10_000_000 };

/** What the first two requests of a push have, those of the helper and of its pods. */
async function receive(node: TestNetns, port: number): Promise<Buffer[]> {
  const script = `const bodies = [];
    require('node:http').createServer((request, response) => {
      const chunks = [];
      request.on('data', (chunk) => chunks.push(chunk)).on('end', () => {
        response.end();
        bodies.push(Buffer.concat(chunks).toString('base64'));
        if (bodies.length < 2) return;
        console.log(bodies.join(' '));
        process.exit();
      });
    }).listen(${port}, '127.0.0.1');`;
  const text = await capture(...inNamespace(node.netns.path, process.execPath, '-e', script));
  return text.split(' ').map((body) => zlib.gunzipSync(Buffer.from(body, 'base64')));
}

test.serial('a push has the same pod, by the names of OpenTelemetry', async (t) => {
  const [node, pod, peer] = [makeNetns(t), makeNetns(t), makeNetns(t)];
  const directories = makeHelperDirectories(t);
  node.ip('link', 'set', 'lo', 'up');
  wirePod(node, pod, 'pod0');
  addUplink(node, peer, 'uplink', 1);
  const named = { podNamespace: 'shop', podName: 'web-0', podUid: 'u1' };
  const params = paramsOf('pod0', pod, { egress: RATE });
  leaveRecords(node, directories, [{ ...params, ...named }]);
  const received = receive(node, 4318);
  const endpoint = 'http://127.0.0.1:4318/v1/metrics';
  const flags = ['--otlp-endpoint', endpoint, '--otlp-seconds', '1', '--node-name', 'n1'];
  await startOwnHelper(t, node, directories, flags);
  const [helper, pods] = (await received).map((body) => readOtlp(body));
  t.is(helper?.resource['k8s.node.name'], 'n1');
  const attachments = helper?.metrics.find(({ name }) => name === 'podpace.attachments');
  t.is(attachments?.points[0]?.value, 1);
  const cap = pods?.metrics.find(({ name }) => name === 'podpace.pod.cap_bytes_per_second');
  t.is(cap?.points.length, 1);
  t.is(cap?.points[0]?.value, 1_250_000);
  t.like(cap?.points[0]?.attributes, {
    ...{ 'k8s.namespace.name': 'shop', 'k8s.pod.name': 'web-0' },
    ...{ 'container.id': params.containerId, 'network.io.direction': 'transmit' },
  });
});
