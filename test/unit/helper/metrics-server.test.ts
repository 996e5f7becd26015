// The metrics' server on a real socket, with a node of the test's own.

import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import https from 'node:https';
import net from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { openMetrics, type MetricsServer } from '../../../helper/metrics-server.ts';
import { Tallies } from '../../../helper/tallies.ts';
import { temporaryDirectory } from '../../bed/temporary-directory.ts';
import { freePort } from '../../kit/free-port.ts';

interface Scene {
  readonly server: MetricsServer;
  readonly port: number;
  readonly logged: string[];
  /** How often the node was measured. */
  readonly measured: { count: number };
}

async function listening(
  t: ExecutionContext,
  { port, ...tls }: { port?: number; metricsCertificate?: string; metricsKey?: string } = {},
): Promise<Scene> {
  const at = port ?? (await freePort());
  const measured = { count: 0 };
  const logged: string[] = [];
  const shaper = {
    measure: async () => {
      measured.count += 1;
      await sleep(20);
      return [];
    },
    exitsInUse: [{ name: 'eth0', role: 'uplink' as const }],
  };
  const tallies = new Tallies();
  tallies.countRequest('attach', 'ok');
  tallies.countRequest('attach', 'unenforceable');
  const text = 'eth0 is shaped by another program; remove it';
  const problems = () => [{ text, place: 'eth0', scopes: [{ of: 'senders' as const }] }];
  const place = { metricsAddress: `127.0.0.1:${at}`, metricsCertificate: '', metricsKey: '' };
  const server = openMetrics(
    { ...place, ...tls },
    { shaper, tallies, problems },
    (level, message) => logged.push(`${level} ${message}`),
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

test('a storm of scrapes is served by few', async (t) => {
  const { port, measured } = await listening(t);
  const answers = await Promise.all(Array.from({ length: 12 }, () => scrape(port)));
  const texts = await Promise.all(answers.map((answer) => answer.text()));
  t.true(texts.every((text) => text.includes('podpace_build_info')));
  // A page serves for a second; a busy machine may take several.
  t.true(measured.count < 6, `${measured.count}`);
});

test('an address that is in use is told of, tried again, and ends nothing', async (t) => {
  const first = await listening(t);
  const second = await listening(t, { port: first.port });
  await sleep(50);
  t.regex(second.server.notices().join(), /^No metrics at 127\.0\.0\.1 port \d+: .*EADDRINUSE/);
  t.is(second.logged.length, 1);
  t.deepEqual(first.server.notices(), []);
  t.is((await scrape(first.port)).status, 200);
});

test('whoever connects and says nothing keeps nobody away', async (t) => {
  const { port } = await listening(t);
  const idle = Array.from({ length: 8 }, () => net.connect(port, '127.0.0.1'));
  t.teardown(() => idle.forEach((socket) => socket.destroy()));
  await Promise.all(
    idle.map((socket) => new Promise((resolve) => socket.once('connect', resolve))),
  );
  t.is((await scrape(port)).status, 200);
});

test('with a certificate it speaks TLS only', async (t) => {
  const directory = temporaryDirectory(t);
  const [metricsKey, metricsCertificate] = [
    path.join(directory, 'tls.key'),
    path.join(directory, 'tls.crt'),
  ];
  execFileSync(
    'openssl',
    [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'],
      ...['-days', '1', '-subj', '/CN=podpace', '-addext', 'subjectAltName=IP:127.0.0.1'],
      ...['-keyout', metricsKey, '-out', metricsCertificate],
    ],
    { stdio: 'ignore' },
  );
  const { port } = await listening(t, { metricsCertificate, metricsKey });
  const ca = fs.readFileSync(metricsCertificate);
  const status = await new Promise((resolve, reject) => {
    const request = https.get({ host: '127.0.0.1', port, path: '/metrics', ca }, (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    request.on('error', reject);
  });
  t.is(status, 200);
  await t.throwsAsync(scrape(port));
});

test('files that cannot be read are said, and the next connection tries them again', async (t) => {
  const missing = '/nonexistent/tls.crt';
  const { port, logged } = await listening(t, {
    ...{ metricsCertificate: missing, metricsKey: missing },
  });
  await t.throwsAsync(scrape(port));
  t.regex(logged.join(), /^error Cannot serve metrics: ENOENT.*\/nonexistent\/tls\.crt/);
});
