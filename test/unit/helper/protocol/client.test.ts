// The helper's socket in every state it can be in, and what code a runtime gets of it.

import fs from 'node:fs';
import { connect, createServer } from 'node:net';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { toCniError } from '../../../../cni/failure.ts';
import { askHelper, HelperError } from '../../../../helper/protocol/client.ts';
import type { AttachParams } from '../../../../helper/protocol/messages.ts';
import { temporaryDirectory } from '../../../bed/temporary-directory.ts';
import { startFakeHelper, type Script } from '../../../kit/fake-helper.ts';

const PARAMS: AttachParams = {
  network: 'pods',
  containerId: 'c1',
  ifname: 'eth0',
  hostInterface: 'pod0',
  sandbox: '/run/netns/x',
  caps: { egress: { rateBitsPerSec: 1_000_000, burstBits: 4294967295 } },
};

const connector = { connect: (path: string) => Promise.resolve(connect({ path })) };

function attach(socketPath: string, deadlineMs = 5_000, params = PARAMS) {
  return askHelper(connector, socketPath, 'attach', params, { deadlineMs });
}

async function refused(
  t: ExecutionContext,
  promise: Promise<unknown>,
  code: number,
  message: RegExp,
  isAbsent = false,
): Promise<void> {
  const error = await t.throwsAsync(promise, { instanceOf: HelperError });
  t.regex(error.message, message);
  t.is(toCniError(error).code, code);
  t.is(error.isAbsent, isAbsent);
  t.truthy(error.remedy);
}

test('a result, in one piece and byte by byte', async (t) => {
  const whole = await startFakeHelper(t);
  t.deepEqual(await attach(whole.socketPath), { degraded: [], held: [], notices: [] });
  t.deepEqual(whole.requests, [{ version: 2, method: 'attach', params: PARAMS }]);
  const slow = await startFakeHelper(t, (_, connection) => {
    const bytes = Buffer.from(
      '{"version":2,"result":{"degraded":["no fq"],"notices":["no nat"]}}\n',
    );
    const send = (index: number): void => {
      if (index === bytes.length) return;
      connection.write(bytes.subarray(index, index + 1), () => setImmediate(send, index + 1));
    };
    send(0);
  });
  t.deepEqual(await attach(slow.socketPath), { degraded: ['no fq'], notices: ['no nat'] });
});

test('nothing there', async (t) => {
  const socketPath = path.join(temporaryDirectory(t), 'helper.sock');
  await refused(
    t,
    attach(socketPath),
    11,
    /^Cannot reach the helper at .*: no helper listens there \(ENOENT\)$/,
    true,
  );
});

test('a socket that nobody listens at, and a file that is no socket', async (t) => {
  const directory = temporaryDirectory(t);
  const file = path.join(directory, 'file');
  fs.writeFileSync(file, '');
  await refused(t, attach(file), 11, /no helper listens there \(ECONNREFUSED\)$/, true);
});

test('a helper that hangs', async (t) => {
  const helper = await startFakeHelper(t, () => undefined);
  const started = performance.now();
  await refused(
    t,
    attach(helper.socketPath, 100),
    11,
    /^Cannot attach through the helper at .*: no answer within 100 ms$/,
  );
  t.true(performance.now() - started < 2_000);
});

test('a helper that never reads', async (t) => {
  const socketPath = path.join(temporaryDirectory(t), 'helper.sock');
  const server = createServer({ pauseOnConnect: true }, (connection) =>
    t.teardown(() => connection.destroy()),
  );
  t.teardown(() => server.close());
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));
  await refused(t, attach(socketPath, 100), 11, /no answer within 100 ms$/);
});

test('a caller that is asked to stop', async (t) => {
  const helper = await startFakeHelper(t, () => undefined);
  const controller = new AbortController();
  const asked = askHelper(connector, helper.socketPath, 'attach', PARAMS, {
    deadlineMs: 5_000,
    signal: controller.signal,
  });
  setTimeout(() => controller.abort(new Error('stopped')), 20);
  await t.throwsAsync(asked, { message: 'stopped' });
});

const answers = (text: string): Script => {
  return (_, connection) => void connection.end(text);
};

const BAD: readonly [what: string, script: Script, code: number, message: RegExp][] = [
  ['closes at once', answers(''), 11, /closed the connection without an answer$/],
  [
    'closes in the middle',
    answers('{"version":2,'),
    11,
    /closed the connection in the middle of its answer$/,
  ],
  ['drops the connection', (_, connection) => connection.destroy(), 11, /closed the connection/],
  [
    'answers no JSON',
    answers('HTTP/1.1 400 Bad Request\r\n'),
    101,
    /^Cannot understand the helper at .*not JSON/,
  ],
  [
    'answers no object',
    answers('[]\n'),
    101,
    /^Cannot understand the helper at .*: it answered \[\]$/,
  ],
  ['answers without a result', answers('{"version":2}\n'), 101, /it answered \{"version":2\}$/],
  [
    'answers another result',
    answers('{"version":2,"result":{"degraded":[7]}}\n'),
    101,
    /it answered/,
  ],
  ['answers too much', answers(`"${'x'.repeat(70_000)}"\n`), 101, /longer than 65536 bytes/],
  [
    'is older',
    answers('{"version":0,"result":{}}\n'),
    101,
    /it speaks protocol version 0, podpace speaks 2$/,
  ],
  [
    'is newer',
    answers('{"version":3,"error":{"code":"protocol-version","message":"x"}}\n'),
    101,
    /version 3, podpace speaks 2$/,
  ],
  ['has no version', answers('{"result":{}}\n'), 101, /protocol version undefined/],
  [
    'has an unknown error',
    answers('{"version":2,"error":{"code":"odd","message":"x"}}\n'),
    101,
    /it answered/,
  ],
  [
    'has a prototype for an error',
    answers('{"version":2,"error":{"code":"toString","message":"x"}}\n'),
    101,
    /it answered/,
  ],
];

for (const [what, script, code, message] of BAD) {
  test(`a helper that ${what}`, async (t) => {
    const helper = await startFakeHelper(t, script);
    await refused(t, attach(helper.socketPath), code, message);
  });
}

const CODES = {
  'bad-request': 101,
  'protocol-version': 101,
  unenforceable: 100,
  'not-found': 103,
  'check-failed': 103,
  busy: 11,
  internal: 102,
} as const;

for (const [code, expected] of Object.entries(CODES)) {
  test(`the helper's error ${code}`, async (t) => {
    const error = { code, message: 'this is why', remedy: 'do that' };
    const helper = await startFakeHelper(t, answers(`${JSON.stringify({ version: 2, error })}\n`));
    await refused(
      t,
      attach(helper.socketPath),
      expected,
      /^Cannot attach through the helper at .*: this is why$/,
    );
  });
}

const SAID: readonly (readonly [method: 'status' | 'list' | 'counters' | 'gc', said: string])[] = [
  ['status', 'get the status'],
  ['list', 'list the capped pods'],
  ['counters', 'get the counters'],
  ['gc', 'remove stale attachments'],
];

for (const [method, said] of SAID) {
  test(`what cannot be done by ${method} is said in words`, async (t) => {
    const helper = await startFakeHelper(t, answers(''));
    const params = { network: 'pods', valid: [] };
    const asked = askHelper(connector, helper.socketPath, method, params, { deadlineMs: 5_000 });
    const error = await t.throwsAsync(asked, { instanceOf: HelperError });
    t.true(error.message.startsWith(`Cannot ${said} through the helper at `), error.message);
  });
}

test('a request beyond the limit is not sent', async (t) => {
  const helper = await startFakeHelper(t);
  const network = 'x'.repeat(70_000);
  await t.throwsAsync(attach(helper.socketPath, 100, { ...PARAMS, network }), {
    instanceOf: RangeError,
  });
  t.deepEqual(helper.requests, []);
});
