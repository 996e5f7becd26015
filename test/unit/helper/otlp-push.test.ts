// Metrics are pushed to receivers of the test's own, on loopback, of every kind of bad behaviour.

import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import zlib from 'node:zlib';
import test, { type ExecutionContext } from 'ava';
import { openPush, type PushLink } from '../../../helper/otlp-link.ts';
import { Tallies } from '../../../helper/tallies.ts';
import { makeCertificates } from '../../kit/api-server.ts';
import { freePort } from '../../kit/free-port.ts';
import { measuredPod } from '../../kit/measured-pod.ts';
import { readOtlp, type OtlpRequest } from '../../kit/otlp.ts';
import { field, message } from '../../kit/protobuf.ts';

interface Got {
  readonly headers: http.IncomingHttpHeaders;
  readonly url: string | undefined;
  readonly body: OtlpRequest;
  readonly atMs: number;
}

type Answer = (response: http.ServerResponse, index: number) => void;

const TAKEN: Answer = (response) => void response.end();

/** A receiver that answers as it is told. */
async function receiver(
  t: ExecutionContext,
  answer: Answer,
): Promise<{ readonly got: Got[]; readonly url: string; readonly open: () => number }> {
  const got: Got[] = [];
  let open = 0;
  const server = http.createServer((request, response) => {
    open += 1;
    response.on('close', () => (open -= 1));
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = readOtlp(zlib.gunzipSync(Buffer.concat(chunks)));
      const { headers, url } = request;
      got.push({ headers, url, body, atMs: performance.now() });
      answer(response, got.length - 1);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.close();
    server.closeAllConnections();
  });
  const { port } = server.address() as net.AddressInfo;
  return { got, url: `http://127.0.0.1:${port}/v1/metrics`, open: () => open };
}

interface Pushing {
  readonly link: PushLink;
  readonly logged: string[];
  readonly measured: { count: number };
}

/** Pushes every second. */
function pushTo(
  t: ExecutionContext,
  endpoint: string,
  { pods = 1, env = {} }: { pods?: number; env?: Record<string, string> } = {},
): Pushing {
  const logged: string[] = [];
  const measured = { count: 0 };
  const all = Array.from({ length: pods }, (_, index) =>
    measuredPod(`c${index}`, { podNamespace: 'shop', podName: `web-${index}` }),
  );
  const shaper = {
    measure: async () => {
      measured.count += 1;
      return await Promise.resolve(all);
    },
    exitsInUse: [],
  };
  const source = { shaper, tallies: new Tallies(), problems: () => [] };
  const place = { otlpEndpoint: endpoint, otlpSeconds: 1, nodeName: '' };
  const link = openPush(place, env, source, (level, text) => logged.push(`${level} ${text}`));
  t.teardown(() => link.close());
  return { link, logged, measured };
}

async function until(t: ExecutionContext, isSo: () => boolean, ms = 20_000): Promise<void> {
  const end = performance.now() + ms;
  while (!isSo() && performance.now() < end) await sleep(20);
  t.true(isSo());
}

test('a push has the helper and each pod, gzipped, in requests of fifty directions', async (t) => {
  const { got, url } = await receiver(t, TAKEN);
  const env = { OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Bearer%20x', NODE_NAME: 'node-a' };
  const { link, logged } = pushTo(t, url, { pods: 120, env });
  await until(t, () => got.length >= 8);
  const [first, ...rest] = got.slice(0, 4);
  t.is(first?.url, '/v1/metrics');
  t.is(first?.headers['content-type'], 'application/x-protobuf');
  t.is(first?.headers['content-encoding'], 'gzip');
  t.is(first?.headers.authorization, 'Bearer x');
  t.is(first?.body.resource['k8s.node.name'], 'node-a');
  t.true(first?.body.metrics.some(({ name }) => name === 'podpace.attachments'));
  const pods = rest.map(({ body }) => body.metrics[0]?.points ?? []);
  t.deepEqual(
    pods.map((points) => points.length),
    [50, 50, 20],
  );
  t.is(new Set(pods.flat().map(({ attributes }) => attributes['k8s.pod.name'])).size, 120);
  t.deepEqual([...logged, ...link.notices()], []);
});

test('without an endpoint nothing is measured; one that cannot be used is told of', async (t) => {
  const off = pushTo(t, '');
  const bad = pushTo(t, '', { env: { OTEL_EXPORTER_OTLP_ENDPOINT: 'nowhere:4317' } });
  await sleep(1_500);
  t.is(off.measured.count + bad.measured.count, 0);
  t.deepEqual([...off.logged, ...off.link.notices()], []);
  t.regex(bad.link.notices().join(), /OTEL_EXPORTER_OTLP_ENDPOINT must be a URL/);
  t.is(bad.logged.length, 1);
});

for (const status of [429, 502, 503, 504])
  test(`${status} is tried again within the push`, async (t) => {
    const { got, url } = await receiver(t, (response, index) => {
      if (index === 0) response.writeHead(status);
      response.end();
    });
    const { measured } = pushTo(t, url);
    await until(t, () => got.length >= 2);
    t.true(measured.count >= 1);
    const [first, second] = got;
    // A pause of at least half a second, by chance up to a whole one.
    t.true((second?.atMs ?? 0) - (first?.atMs ?? 0) >= 480);
  });

test('what is refused for good is not sent again: the next push has all of it', async (t) => {
  const { got, url } = await receiver(t, (response) => {
    response.writeHead(400, { 'content-type': 'text/plain' }).end('no\u001b[31m protobuf\n');
  });
  const { link, logged, measured } = pushTo(t, url);
  await until(t, () => measured.count >= 3);
  // One request of each push, that of the helper.
  t.true(got.length <= measured.count);
  t.is(logged.length, 1, logged.join('\n'));
  t.regex(link.notices().join(), /it answers 400: no\\u001b\[31m protobuf; see --otlp-endpoint$/);
});

test('Retry-After beyond the period is a pause of that length', async (t) => {
  const { got, url } = await receiver(t, (response) => {
    response.writeHead(503, { 'retry-after': '3' }).end();
  });
  pushTo(t, url);
  await until(t, () => got.length >= 2);
  t.true((got[1]?.atMs ?? 0) - (got[0]?.atMs ?? 0) >= 2_900);
});

test('nothing in Retry-After makes it try without a pause', async (t) => {
  const values = ['never', '0', '-1', '99999999999999', ''];
  for (const value of [...values, new Date(Date.now() + 3_600_000).toUTCString()]) {
    const { got, url } = await receiver(t, (response) => {
      response.writeHead(429, { 'retry-after': value }).end();
    });
    const { link } = pushTo(t, url);
    await until(t, () => link.notices().length > 0);
    await sleep(300);
    t.true(got.length <= 3, value);
    link.close();
  }
});

test('what a receiver refuses of a push is told once, and that it takes all again', async (t) => {
  let isRefusing = true;
  const { url } = await receiver(t, (response) => {
    response.end(isRefusing ? message(1, field(1, 3), field(2, 'too\nold')) : undefined);
  });
  const { link, logged, measured } = pushTo(t, url, { pods: 150 });
  await until(t, () => measured.count >= 3);
  t.is(logged.length, 1, logged.join('\n'));
  t.regex(logged[0] ?? '', /^warn .*3 points were refused: too\\nold/);
  isRefusing = false;
  await until(t, () => link.notices().length === 0);
  t.regex(logged[1] ?? '', /^info Metrics reach http:.* again$/);
  t.is(logged.length, 2);
});

/** Receivers of raw bytes, by what they do with a connection. */
const BROKEN: readonly [string, (socket: net.Socket) => void][] = [
  ['ends at once', (socket) => void socket.destroy()],
  ['answers no HTTP', (socket) => void socket.write('SSH-2.0-OpenSSH_9.2\r\n')],
  ['never reads', (socket) => void socket.pause()],
  ['reads and never answers', (socket) => void socket.resume()],
  [
    'answers without end',
    (socket) => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      const more = setInterval(() => socket.write('x'.repeat(64 * 1024)), 5);
      socket.on('close', () => clearInterval(more));
    },
  ],
  [
    'answers a byte from time to time',
    (socket) => {
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n');
      const more = setInterval(() => socket.write('x'), 100);
      socket.on('close', () => clearInterval(more));
    },
  ],
  [
    'answers other bytes',
    (socket) => void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n\u000f\u000f\u000f'),
  ],
];

for (const [what, behave] of BROKEN)
  test(`a receiver that ${what} is a notice and one line`, async (t) => {
    const open = new Set<net.Socket>();
    const server = net.createServer((socket) => {
      socket.on('error', () => undefined).on('close', () => open.delete(socket));
      open.add(socket);
      behave(socket);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    t.teardown(() => {
      server.close();
      for (const socket of open) socket.destroy();
    });
    const { port } = server.address() as net.AddressInfo;
    const { link, logged, measured } = pushTo(t, `http://127.0.0.1:${port}/`, { pods: 10 });
    await until(t, () => measured.count >= 4);
    t.is(link.notices().length, 1);
    t.is(logged.length, 1, logged.join('\n'));
  });

test('one request at a time waits for a receiver that hangs', async (t) => {
  let mostOpen = 0;
  const { got, url, open } = await receiver(t, () => (mostOpen = Math.max(mostOpen, open())));
  pushTo(t, url, { pods: 250 });
  await until(t, () => got.length >= 5);
  // The receiver may not have heard yet that the last one was given up.
  t.true(mostOpen <= 2, `${mostOpen}`);
});

test('a receiver that is away is tried until it comes, and a helper that ends waits for none', async (t) => {
  const port = await freePort();
  const { link, logged, measured } = pushTo(t, `http://user:secret@127.0.0.1:${port}/v1/metrics`);
  await until(t, () => measured.count >= 3);
  t.is(logged.length, 1);
  t.regex(logged[0] ?? '', /ECONNREFUSED/);
  t.notRegex(logged.join(), /secret/);
  link.close();
  const { count } = measured;
  await sleep(1_500);
  t.is(measured.count, count);
});

test('by TLS only to a receiver whose certificate is of a known authority', async (t) => {
  const { caFile, cert, key } = makeCertificates(t);
  let got = 0;
  const server = https.createServer({ cert, key }, (request, response) => {
    got += 1;
    request.resume();
    response.end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.close();
    server.closeAllConnections();
  });
  const url = `https://127.0.0.1:${(server.address() as net.AddressInfo).port}/v1/metrics`;
  const unknown = pushTo(t, url);
  await until(t, () => unknown.measured.count >= 2);
  t.is(got, 0);
  t.regex(unknown.link.notices().join(), /certificate/);
  unknown.link.close();
  const known = pushTo(t, url, { env: { OTEL_EXPORTER_OTLP_CERTIFICATE: caFile } });
  await until(t, () => got >= 2);
  t.deepEqual([...known.logged, ...known.link.notices()], []);
});
