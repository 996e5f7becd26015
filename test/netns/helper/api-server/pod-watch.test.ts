// The pods of a node are followed at a stand-in for the API server, whatever that does wrong.

import fs from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { accessBy } from '../../../../helper/api-server/access-files.ts';
import { ApiClient } from '../../../../helper/api-server/client.ts';
import { PodWatch } from '../../../../helper/api-server/pod-watch.ts';
import type { PodsChange } from '../../../../helper/cluster/list-watch.ts';
import { UndoStack } from '../../../bed/undo.ts';
import { makeCertificates, StandInApiServer } from '../../../kit/api-server.ts';
import { until } from '../../../kit/wish-scene.ts';

const EGRESS = 'kubernetes.io/egress-bandwidth';

const undo = new UndoStack();
const certificates = makeCertificates(undo);
test.after.always('take the certificates away', () => undo.run());

const startServer = (t: ExecutionContext): Promise<StandInApiServer> =>
  StandInApiServer.start(t, { certificates });

interface Followed {
  readonly watch: PodWatch;
  /** Egress annotation by the name of the pod, as it is known. */
  readonly known: Map<string, string | undefined>;
  readonly changes: PodsChange[];
  /** What was told of the server: why it is away, or that it is back. */
  readonly told: (string | undefined)[];
}

async function follow(
  t: ExecutionContext,
  server: StandInApiServer,
  more: { readonly caFile?: string; readonly watchSilenceMs?: number } = {},
): Promise<Followed> {
  const { caFile, ...options } = more;
  const client = new ApiClient(await accessBy(server.kubeconfig(caFile), {}));
  const known = new Map<string, string | undefined>();
  const changes: PodsChange[] = [];
  const told: (string | undefined)[] = [];
  const hear = (change: PodsChange): void => {
    changes.push(change);
    if (change.kind === 'all') known.clear();
    for (const pod of change.kind === 'all' ? change.pods : [change.pod]) {
      if (change.kind === 'gone') known.delete(pod.name);
      else known.set(pod.name, pod.bandwidth.egress);
    }
  };
  const tellAway = (why: string | undefined): number => told.push(why);
  const watch = new PodWatch({ client, nodeName: 'node-1', hear, tellAway, ...options });
  t.teardown(() => watch.close());
  return { watch, known, changes, told };
}

function isKnown({ known }: Followed, name: string, egress: string | undefined): () => boolean {
  return () => known.has(name) && known.get(name) === egress;
}

test('changes of the pods of the node are heard at once, in their order, and no others', async (t) => {
  const server = await startServer(t);
  server.put('web-0', { [EGRESS]: '10M' });
  server.put('elsewhere', { [EGRESS]: '10M' }, { nodeName: 'node-2' });
  const followed = await follow(t, server);
  await until(t, 'the list', isKnown(followed, 'web-0', '10M'));
  await until(t, 'the watch', () => server.watching === 1);
  const startMs = performance.now();
  server.put('web-0', { [EGRESS]: '20M' });
  server.put('web-1', {});
  await until(t, 'both changes', isKnown(followed, 'web-1', undefined));
  t.true(performance.now() - startMs < 1000);
  t.is(followed.known.get('web-0'), '20M');
  server.remove('web-0');
  await until(t, 'the removal', () => !followed.known.has('web-0'));
  t.false(followed.known.has('elsewhere'));
  t.deepEqual(followed.told, []);
  const watched = server.requests.find((one) => one.includes('watch=1')) ?? '';
  t.regex(watched, /fieldSelector=spec\.nodeName%3Dnode-1/);
  t.regex(watched, /allowWatchBookmarks=true/);
  t.regex(watched, /timeoutSeconds=\d+/);
});

test('a list comes in pages', async (t) => {
  const server = await startServer(t);
  server.pageLength = 2;
  for (let count = 0; count < 5; count += 1) server.put(`web-${count}`, { [EGRESS]: '10M' });
  const followed = await follow(t, server);
  await until(t, 'all pods', () => followed.known.size === 5);
  t.is(followed.changes.length, 1);
  t.is(server.requests.filter((one) => !one.includes('watch=')).length, 3);
});

test('410 within a good answer, and as a status, has all pods listed anew', async (t) => {
  const server = await startServer(t);
  server.put('web-0', { [EGRESS]: '10M' });
  const followed = await follow(t, server);
  await until(t, 'the watch', () => server.watching === 1);
  server.put('web-0', { [EGRESS]: '11M' });
  await until(t, 'the change', isKnown(followed, 'web-0', '11M'));
  // While nobody watches something changes, and the server forgets what.
  let isExpired = true;
  server.fault = (request, response) => {
    if (!isExpired || request.url?.includes('watch=1') !== true) return false;
    isExpired = false;
    response.writeHead(410, { 'Content-Type': 'application/json' });
    response.end(JSON.stringify({ kind: 'Status', code: 410, reason: 'Gone' }));
    return true;
  };
  server.breakConnections();
  await until(t, 'nobody', () => server.watching === 0);
  server.put('web-0', { [EGRESS]: '12M' });
  await until(t, 'the change after 410', isKnown(followed, 'web-0', '12M'));
  await until(t, 'the watch', () => server.watching === 1);
  server.breakConnections();
  await until(t, 'nobody', () => server.watching === 0);
  server.oldest = 1_000;
  server.pods.clear();
  server.put('web-1', {});
  await until(t, 'what is there now', () => followed.known.has('web-1'));
  t.deepEqual([...followed.known.keys()], ['web-1']);
});

test('a bookmark is where the watch goes on', async (t) => {
  const server = await startServer(t);
  await follow(t, server);
  await until(t, 'the watch', () => server.watching === 1);
  for (let count = 0; count < 50; count += 1) server.bookmark();
  await sleep(200);
  server.endWatches();
  await until(t, 'the next watch', () => server.requests.at(-1)?.includes('=150&') === true);
  t.is(server.requests.filter((one) => !one.includes('watch=')).length, 1);
});

test('a token that ends within a watch is read anew', async (t) => {
  const server = await startServer(t);
  const followed = await follow(t, server);
  await until(t, 'the watch', () => server.watching === 1);
  server.rotate('second-token', false);
  server.breakConnections();
  await until(t, 'the refusal', () => followed.watch.away?.why.includes('401') === true);
  server.rotate('second-token');
  await until(t, 'the watch', () => server.watching === 1);
  server.put('web-0', { [EGRESS]: '10M' });
  await until(t, 'the change', isKnown(followed, 'web-0', '10M'));
  t.is(followed.watch.away, undefined);
});

test('an apiserver that is away is told of once, with the time, and again when it is back', async (t) => {
  const server = await startServer(t);
  server.put('web-0', { [EGRESS]: '10M' });
  const followed = await follow(t, server);
  await until(t, 'the watch', () => server.watching === 1);
  const { port } = server;
  const closedMs = performance.now();
  server.close();
  await until(t, 'it is away', () => followed.told.length === 1);
  const sinceMs = followed.watch.away?.sinceMs ?? 0;
  t.true(sinceMs >= closedMs && sinceMs <= performance.now());
  await until(t, 'three tries', () => performance.now() - closedMs > 4000);
  t.is(followed.told.length, 1);
  t.is(followed.watch.away?.sinceMs, sinceMs);
  t.is(followed.known.get('web-0'), '10M');
  await server.open(port);
  server.put('web-0', { [EGRESS]: '11M' });
  await until(t, 'the change', isKnown(followed, 'web-0', '11M'));
  await until(t, 'it is back', () => followed.told.length === 2);
  t.is(followed.told[1], undefined);
  t.is(followed.watch.away, undefined);
});

test('a watch that says nothing is given up, and all pods are listed anew', async (t) => {
  const server = await startServer(t);
  const followed = await follow(t, server, { watchSilenceMs: 500 });
  await until(t, 'the watch', () => server.watching === 1);
  await until(t, 'two lists', () => followed.changes.length === 2);
  t.regex(followed.told[0] ?? '', /says nothing/);
});

test('lines of a megabyte, cut within characters, are read', async (t) => {
  const server = await startServer(t);
  const followed = await follow(t, server);
  await until(t, 'the watch', () => server.watching === 1);
  const metadata = {
    ...{ name: 'big', namespace: 'default', uid: 'u', resourceVersion: '500' },
    annotations: { note: 'ß€😀'.repeat(110_000), [EGRESS]: '10M' },
  };
  const line = Buffer.from(`${JSON.stringify({ type: 'ADDED', object: { metadata } })}\n`);
  t.true(line.length > 900_000);
  for (let at = 0; at < line.length; at += 40_001) {
    server.send(line.subarray(at, at + 40_001));
    await sleep(5);
  }
  await until(t, 'the pod', isKnown(followed, 'big', '10M'));
});

const garbage: readonly (readonly [name: string, text: string | Uint8Array, why: RegExp])[] = [
  ['no JSON', '<html>bad gateway</html>\n', /^the API server sends no JSON: /],
  [
    'no message',
    '{"type":"MODIFIED","object":{"metadata":{"resourceVersion":"9"}}}\n',
    /^the API server sends "object\.metadata\.uid" must be a non-empty string, got nothing/,
  ],
  ['no UTF-8', Buffer.from([0x7b, 0xff, 0xfe, 0x7d, 0x0a]), /^the API server sends no JSON: /],
  ['half of a message', '{"type":"MODI', /aborted/],
];
for (const [name, text, why] of garbage) {
  test(`garbage in a watch (${name}) is told of, and all pods are listed anew`, async (t) => {
    const server = await startServer(t);
    const followed = await follow(t, server);
    await until(t, 'the watch', () => server.watching === 1);
    server.send(text);
    if (name === 'half of a message') server.breakConnections();
    await until(t, 'the failure', () => followed.told.length > 0);
    t.regex(followed.told[0] ?? '', why);
    server.put('web-0', { [EGRESS]: '10M' });
    await until(t, 'the pod', isKnown(followed, 'web-0', '10M'));
  });
}

for (const [name, code, body, expected] of [
  ['a gateway', 502, '<html>', /answers 502/],
  [
    'a role that lacks',
    403,
    '{"kind":"Status","message":"pods is forbidden"}',
    /403 \(pods is forbidden\): bind/,
  ],
  ['an answer that is no list', 200, '{"kind":"Status"}', /sends "metadata" must be an object/],
] as const) {
  test(`${name} is told of, and tried again with pauses`, async (t) => {
    const server = await startServer(t);
    server.fault = (_request, response) => {
      response.writeHead(code);
      response.end(body);
      return true;
    };
    const followed = await follow(t, server);
    await sleep(3000);
    t.regex(followed.told[0] ?? '', expected);
    t.is(followed.told.length, 1);
    t.true(server.requests.length <= 5, `${server.requests.length} requests`);
    server.fault = () => false;
    await until(t, 'the watch', () => server.watching === 1);
  });
}

test("a stranger's certificate is refused, and gets no token", async (t) => {
  const server = await startServer(t);
  const stranger = makeCertificates(t);
  const followed = await follow(t, server, { caFile: stranger.caFile });
  await until(t, 'the refusal', () => followed.told.length > 0);
  t.regex(
    followed.told[0] ?? '',
    /certificate is a stranger's \([A-Z_]+\): nothing was sent to it/,
  );
  t.deepEqual(server.requests, []);
});

test('files that hold no certificate or token are told of', async (t) => {
  const server = await startServer(t);
  const followed = await follow(t, server, { caFile: '/dev/null' });
  await until(t, 'the refusal', () => followed.told.length > 0);
  t.regex(followed.told[0] ?? '', /no certificate stands where that of the authority/);
  const other = await startServer(t);
  const kubeconfig = other.kubeconfig();
  fs.writeFileSync(other.tokenFile, 'a token\nwith lines');
  const client = new ApiClient(await accessBy(kubeconfig, {}));
  const asked = { path: '/', silenceMs: 1000, deadlineMs: 1000 };
  await t.throwsAsync(client.askWhole(asked, new AbortController().signal), {
    message: /the token is no token/,
  });
  t.deepEqual(other.requests, []);
});
