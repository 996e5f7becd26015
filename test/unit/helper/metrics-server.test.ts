// The metrics' server on a real socket, with a node of the test's own.

import fs from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { answerScrapes } from '../../../helper/metrics-answers.ts';
import { openMetrics, type MetricsServer } from '../../../helper/metrics-server.ts';
import { Tallies } from '../../../helper/tallies.ts';
import { temporaryDirectory } from '../../bed/temporary-directory.ts';
import { freePort } from '../../kit/free-port.ts';
import { makeKeyPair } from '../../kit/key-pair.ts';

interface Scene {
  readonly server: MetricsServer;
  readonly port: number;
  readonly logged: string[];
  /** How often the node was measured. */
  readonly measured: { count: number };
}

interface Wish {
  readonly port?: number;
  readonly metricsCertificate?: string;
  readonly metricsKey?: string;
  /** What stands on the page as the reason of an exit. */
  readonly reason?: string;
  readonly timing?: { readonly connectionMs: number; readonly retryMs: number };
  /** Ends when the node has been measured. */
  readonly measure?: () => Promise<unknown>;
}

function sourceOf({ reason, measure = () => sleep(20) }: Wish, measured = { count: 0 }) {
  const shaper = {
    measure: async () => {
      measured.count += 1;
      await measure();
      return [];
    },
    exitsInUse: [{ name: 'eth0', role: 'uplink' as const }],
  };
  const tallies = new Tallies();
  tallies.countRequest('attach', 'ok');
  tallies.countRequest('attach', 'unenforceable');
  const text = reason ?? 'eth0 is shaped by another program; remove it';
  const problems = () => [
    { code: 'qdisc-replaced' as const, text, place: 'eth0', scopes: [{ of: 'senders' as const }] },
  ];
  return { shaper, tallies, problems };
}

async function listening(t: ExecutionContext, wish: Wish = {}): Promise<Scene> {
  const { port, timing, metricsCertificate = '', metricsKey = '' } = wish;
  const at = port ?? (await freePort());
  const measured = { count: 0 };
  const logged: string[] = [];
  const server = openMetrics(
    { metricsAddress: `127.0.0.1:${at}`, metricsCertificate, metricsKey },
    sourceOf(wish, measured),
    (level, message) => logged.push(`${level} ${message}`),
    timing,
  );
  t.teardown(() => server.close());
  return { server, port: at, logged, measured };
}

async function scrape(port: number, accept = 'text/plain'): Promise<Response> {
  return await fetch(`http://127.0.0.1:${port}/metrics`, { headers: { accept } });
}

test('a scrape tells of the helper, its exits and why they do not hold caps', async (t) => {
  const { port } = await listening(t);
  const answer = await scrape(port);
  t.is(answer.status, 200);
  t.is(answer.headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8');
  const text = await answer.text();
  t.regex(text, /^podpace_build_info\{version="[^"]+"\} 1$/m);
  t.regex(
    text,
    /^podpace_exit_enforced\{exit="eth0",role="uplink",reason="eth0 is shaped [^"]+"\} 0$/m,
  );
  t.regex(text, /^podpace_requests_total\{method="attach",outcome="ok"\} 1$/m);
  t.regex(text, /^podpace_requests_total\{method="attach",outcome="unenforceable"\} 1$/m);
  const open = await scrape(port, 'application/openmetrics-text');
  t.true((await open.text()).endsWith('# EOF\n'));
});

test('nothing else is there, and nothing can be sent', async (t) => {
  const { port, measured } = await listening(t);
  for (const [method, file, status] of [
    ['GET', '/', 404],
    ['GET', '/metrics/../../etc/passwd', 404],
    ['POST', '/metrics', 405],
  ] as const)
    t.is((await fetch(`http://127.0.0.1:${port}${file}`, { method })).status, status, file);
  t.is(measured.count, 0);
});

test('all who ask at once get the page that is measured once', async (t) => {
  const arrived = Promise.withResolvers<undefined>();
  const { port, measured } = await listening(t, { measure: () => arrived.promise });
  const asking = Array.from({ length: 12 }, () => scrape(port));
  while (measured.count === 0) await sleep(10);
  await sleep(200);
  arrived.resolve(undefined);
  const texts = await Promise.all(asking.map(async (answer) => (await answer).text()));
  t.true(texts.every((text) => text.includes('podpace_build_info')));
  t.is(new Set(texts).size, 1);
  t.is(measured.count, 1);
});

test('an address that is in use is told of, and tried again until it is free', async (t) => {
  const first = await listening(t);
  const timing = { connectionMs: 15_000, retryMs: 100 };
  const second = await listening(t, { port: first.port, timing });
  await sleep(500);
  t.regex(
    second.server.notices().join(),
    /^No metrics at 127\.0\.0\.1 port \d+: .*EADDRINUSE.*; name another address, or off, with --metrics-address$/,
  );
  t.is(second.logged.length, 1);
  t.deepEqual(first.server.notices(), []);
  t.is((await scrape(first.port)).status, 200);
  first.server.close();
  while (second.server.notices().length > 0) await sleep(20);
  t.is((await scrape(second.port)).status, 200);
  t.is(second.logged.length, 2);
});

/** Connects as a client that says what `say` does; tells when it is cut off. */
async function client(
  t: ExecutionContext,
  port: number,
  say: (socket: net.Socket) => void = () => undefined,
): Promise<{ readonly socket: net.Socket; readonly cut: Promise<unknown> }> {
  const socket = net.connect(port, '127.0.0.1');
  t.teardown(() => socket.destroy());
  socket.on('error', () => undefined);
  const cut = new Promise((resolve) => socket.once('close', resolve));
  await new Promise((resolve) => socket.once('connect', resolve));
  say(socket);
  return { socket, cut };
}

const REQUEST = 'GET /metrics HTTP/1.1\r\nHost: node\r\n';

/** A byte of a request that has no end, every 20 ms. */
function sayOn(socket: net.Socket): void {
  const bytes = `${REQUEST}X-Padding: ${'x'.repeat(60_000)}`;
  let at = 0;
  const timer = setInterval(() => socket.write(bytes.charAt(at++)), 20);
  socket.once('close', () => clearInterval(timer));
}

const KEEPERS: readonly [string, (socket: net.Socket) => void][] = [
  ['says nothing', () => undefined],
  ['sends its request byte by byte', sayOn],
  ['never reads', (socket) => void socket.pause().write(`${REQUEST}\r\n`)],
  [
    'goes on asking',
    (socket) => {
      socket.resume();
      const timer = setInterval(() => socket.write(`${REQUEST}\r\n`), 20);
      socket.once('close', () => clearInterval(timer));
    },
  ],
];

for (const [what, say] of KEEPERS)
  test(`whoever ${what} has no place for longer than a scrape may take`, async (t) => {
    const timing = { connectionMs: 1_000, retryMs: 100 };
    const { port } = await listening(t, { reason: 'x'.repeat(20_000_000), timing });
    const all = await Promise.all(Array.from({ length: 16 }, () => client(t, port, say)));
    // Paused sockets do not see their end before they read.
    await sleep(2_000);
    for (const { socket } of all) socket.resume();
    await Promise.all(all.map(({ cut }) => cut));
    const answer = await scrape(port);
    t.is(answer.status, 200);
    t.is((await answer.text()).match(/^podpace_build_info/gm)?.length, 1);
  });

test('of pages that nobody reads few are kept: who reads the oldest is cut off', async (t) => {
  t.timeout(60_000);
  const length = 20_000_000;
  const timing = { connectionMs: 60_000, retryMs: 100 };
  const { port, measured } = await listening(t, { reason: 'x'.repeat(length), timing });
  const readers = [];
  for (let turn = 1; turn <= 3; turn += 1) {
    // A page serves for a second from when it is made.
    if (turn > 1) await sleep(3_000);
    for (const accept of ['text/plain', 'application/openmetrics-text']) {
      const request = `${REQUEST}Accept: ${accept}\r\n\r\n`;
      readers.push(await client(t, port, (socket) => socket.pause().write(request)));
      while (measured.count < readers.length) await sleep(20);
    }
  }
  await sleep(1_000);
  const readBytes = await Promise.all(
    readers.map(async ({ socket, cut }) => {
      socket.resume();
      await cut;
      return socket.bytesRead;
    }),
  );
  t.deepEqual(
    readBytes.map((bytes) => bytes > length),
    [false, false, true, true, true, true],
  );
});

test('a page is written as it is read, and arrives whole', async (t) => {
  const reason = Array.from({ length: 1_000_000 }, (_, at) => `${at} `).join('');
  const server = http.createServer(answerScrapes(sourceOf({ reason })));
  const served: net.Socket[] = [];
  server.on('connection', (socket) => served.push(socket));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => void server.close());
  const { port } = server.address() as net.AddressInfo;
  const { socket, cut } = await client(t, port, (one) =>
    one.pause().write(`${REQUEST}Connection: close\r\n\r\n`),
  );
  await sleep(500);
  const waiting = served.reduce((sum, { writableLength }) => sum + writableLength, 0);
  t.true(waiting > 0 && waiting <= 262_144, `${waiting}`);
  const read: Buffer[] = [];
  socket.on('data', (bytes) => read.push(bytes));
  socket.resume();
  await cut;
  const text = Buffer.concat(read).toString();
  t.true(text.includes(`reason="${reason}"} 0\n`));
  t.is(/Content-Length: (\d+)/.exec(text)?.[1], `${text.length - text.indexOf('\r\n\r\n') - 4}`);
});

test('at the end connections end, too', async (t) => {
  const { port, server } = await listening(t);
  const { socket, cut } = await client(t, port, sayOn);
  socket.resume();
  server.close();
  await cut;
  await t.throwsAsync(scrape(port));
});

/** Makes a certificate for loopback. Returns both files, as settings. */
function makePair(
  directory: string,
  name: string,
): { metricsCertificate: string; metricsKey: string } {
  const { certificate, key } = makeKeyPair(directory, name);
  return { metricsCertificate: certificate, metricsKey: key };
}

/** Scrapes by TLS; throws where the certificate is not the one in `trusted`. */
async function scrapeTls(port: number, trusted: string): Promise<number | undefined> {
  const ca = fs.readFileSync(trusted);
  return await new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port, path: '/metrics', ca, agent: false };
    const request = https.get(options, (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    request.on('error', reject);
  });
}

test('with a certificate it speaks TLS only', async (t) => {
  const pair = makePair(temporaryDirectory(t), 'tls');
  const { port } = await listening(t, pair);
  t.is(await scrapeTls(port, pair.metricsCertificate), 200);
  await t.throwsAsync(scrape(port));
});

for (const first of ['metricsCertificate', 'metricsKey'] as const)
  test(`a pair is renewed when both are there, ${first} first`, async (t) => {
    const directory = temporaryDirectory(t);
    const [served, old, fresh] = [
      path.join(directory, 'served'),
      makePair(directory, 'old'),
      makePair(directory, 'fresh'),
    ];
    const files = { metricsCertificate: `${served}.crt`, metricsKey: `${served}.key` };
    const put = (from: typeof old, one: keyof typeof old): void =>
      fs.copyFileSync(from[one], files[one]);
    put(old, 'metricsCertificate');
    put(old, 'metricsKey');
    const { port, logged } = await listening(t, files);
    t.is(await scrapeTls(port, old.metricsCertificate), 200);
    put(fresh, first);
    for (let turn = 1; turn <= 3; turn += 1) {
      t.is(await scrapeTls(port, old.metricsCertificate), 200);
      t.is(logged.length, 1);
    }
    t.regex(
      logged.join(),
      /^warn The former certificate stays in service: .*served\.crt and .*served\.key: .*mismatch/,
    );
    put(fresh, first === 'metricsKey' ? 'metricsCertificate' : 'metricsKey');
    t.is(await scrapeTls(port, fresh.metricsCertificate), 200);
    await t.throwsAsync(scrapeTls(port, old.metricsCertificate));
    t.is(logged.length, 1);
    fs.rmSync(files.metricsKey);
    t.is(await scrapeTls(port, fresh.metricsCertificate), 200);
    t.is(await scrapeTls(port, fresh.metricsCertificate), 200);
    t.is(logged.length, 2);
    t.regex(logged.join(), /ENOENT.*served\.key/);
  });

test('files that cannot be read are said, and the next connection tries them again', async (t) => {
  const missing = '/nonexistent/tls.crt';
  const { port, logged } = await listening(t, {
    ...{ metricsCertificate: missing, metricsKey: missing },
  });
  await t.throwsAsync(scrape(port));
  t.regex(logged.join(), /^error Cannot serve metrics: ENOENT.*\/nonexistent\/tls\.crt/);
});
