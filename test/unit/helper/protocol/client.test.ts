// The helper's socket in every state it can be in, and what code a runtime gets of it.

import fs from 'node:fs';
import { connect, createServer } from 'node:net';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { toCniError } from '../../../../cni/failure.ts';
import { askHelper, HelperError } from '../../../../helper/protocol/client.ts';
import type { AttachParams } from '../../../../helper/protocol/messages.ts';
import { remedies } from '../../../../helper/protocol/remedies.ts';
import { temporaryDirectory } from '../../../bed/temporary-directory.ts';
import {
  serving,
  servingOnly,
  startFakeHelper,
  type FakeHelper,
  type Script,
} from '../../../kit/fake-helper.ts';

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
  t.deepEqual(whole.requests, [{ version: 3, method: 'attach', params: PARAMS }]);
  const slow = await startFakeHelper(t, (_, connection) => {
    const bytes = Buffer.from(
      '{"version":3,"result":{"degraded":["no fq"],"notices":["no nat"]}}\n',
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
    answers('{"version":3,'),
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
  ['answers without a result', answers('{"version":3}\n'), 101, /it answered \{"version":3\}$/],
  [
    'answers another result',
    answers('{"version":3,"result":{"degraded":[7]}}\n'),
    101,
    /it answered/,
  ],
  ['answers too much', answers(`"${'x'.repeat(70_000)}"\n`), 101, /longer than 65536 bytes/],
  [
    'does what it was not asked',
    answers('{"version":2,"result":{"degraded":[],"notices":[]}}\n'),
    101,
    /it answered in protocol version 2 what was asked in 3$/,
  ],
  ['has no version', answers('{"result":{}}\n'), 101, /in protocol version undefined/],
  [
    'has an unknown error',
    answers('{"version":3,"error":{"code":"odd","message":"x"}}\n'),
    101,
    /it answered/,
  ],
  [
    'has a prototype for an error',
    answers('{"version":3,"error":{"code":"toString","message":"x"}}\n'),
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
  'unknown-need': 101,
  unenforceable: 100,
  'not-found': 103,
  'check-failed': 103,
  busy: 11,
  internal: 102,
} as const;

for (const [code, expected] of Object.entries(CODES)) {
  test(`the helper's error ${code}`, async (t) => {
    const error = { code, message: 'this is why', remedy: 'do that' };
    const helper = await startFakeHelper(t, answers(`${JSON.stringify({ version: 3, error })}\n`));
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

/** Versions of the requests that came. */
function versionsAt({ requests }: FakeHelper): number[] {
  return requests.map(({ version }) => version);
}

const RESULT = { degraded: [], held: [], notices: [] };
const ROUTED: AttachParams = { ...PARAMS, hostRouting: { addresses: ['10.0.0.2'] } };

const RELEASES: readonly [what: string, script: Script, versions: readonly number[]][] = [
  ['of version 1', servingOnly(1), [3, 1]],
  ['of version 2', servingOnly(2), [3, 2]],
  ['that goes no further than 2', serving({ least: 1, most: 2 }), [3, 2]],
  ['that has gone on to 9', serving({ least: 3, most: 9 }), [3]],
];

for (const [what, script, versions] of RELEASES) {
  test(`a helper ${what} is asked in the newest version that both speak`, async (t) => {
    const helper = await startFakeHelper(t, script);
    t.deepEqual(await attach(helper.socketPath), RESULT);
    t.deepEqual(versionsAt(helper), versions);
    t.deepEqual(helper.requests.at(-1)?.params, PARAMS);
  });
}

async function mismatch(t: ExecutionContext, helper: FakeHelper, message: RegExp, remedy: string) {
  const asked = attach(helper.socketPath);
  const error = await t.throwsAsync(asked, { instanceOf: HelperError, message });
  t.is(error.failure, 'protocol-version');
  t.is(toCniError(error).code, 101);
  t.is(error.remedy, remedy);
}

test('without a common version both ranges are told, and which file is the older', async (t) => {
  const newer = await startFakeHelper(t, serving({ least: 5, most: 7 }));
  const both = /^Cannot attach through .*: it serves protocol version 5 to 7, \/.* speaks 1 to 3$/;
  await mismatch(t, newer, both, remedies.newerCaller(process.execPath));
  t.deepEqual(versionsAt(newer), [3]);
});

const FOR_EVER = { code: 'protocol-version', message: 'never', serves: { least: 1, most: 2 } };

const UNRELIABLE: readonly [what: string, error: object, message: RegExp, asked: number[]][] = [
  [
    'refuses what it names',
    FOR_EVER,
    /refused protocol version 2 too, although it named it$/,
    [3, 2],
  ],
  [
    'names what it refuses',
    { ...FOR_EVER, serves: { least: 1, most: Number.MAX_SAFE_INTEGER } },
    /refused protocol version 3, and says that it serves 1 to 9007199254740991$/,
    [3],
  ],
];

for (const [what, error, message, asked] of UNRELIABLE) {
  test(`a helper that ${what} is not asked for ever`, async (t) => {
    const helper = await startFakeHelper(t, (_, connection) => {
      connection.write(`${JSON.stringify({ version: 2, error })}\n`);
    });
    await mismatch(t, helper, message, remedies.sameRelease);
    t.deepEqual(versionsAt(helper), asked);
  });
}

const NO_RANGES: readonly unknown[] = [
  { least: 3, most: 1 },
  { least: 0, most: 2 },
  { least: -1, most: 2 },
  { least: 1, most: 2.5 },
  { least: 1, most: 1e300 },
  { least: '1', most: '2' },
  { least: 1 },
  {},
  [1, 2],
  'all',
  2,
  null,
];

for (const serves of NO_RANGES) {
  test(`a helper that serves ${JSON.stringify(serves)} is none`, async (t) => {
    const helper = await startFakeHelper(t, (_, connection) => {
      connection.write(`${JSON.stringify({ version: 2, error: { ...FOR_EVER, serves } })}\n`);
    });
    await refused(t, attach(helper.socketPath), 101, /^Cannot understand the helper at /);
    t.deepEqual(versionsAt(helper), [3]);
  });
}

test('what an older helper may ignore is named where that is read, and not asked where not', async (t) => {
  const [present, second, first] = [
    await startFakeHelper(t),
    await startFakeHelper(t, servingOnly(2)),
    await startFakeHelper(t, servingOnly(1)),
  ];
  await attach(present.socketPath, 5_000, ROUTED);
  t.deepEqual(present.requests[0]?.needs, ['hostRouting']);
  // All of version 2 know it.
  await attach(second.socketPath, 5_000, ROUTED);
  t.is(second.requests[1]?.needs, undefined);
  const why =
    /^Cannot attach .*: this needs "hostRouting", which helpers of protocol version 1 may/;
  await refused(t, attach(first.socketPath, 5_000, ROUTED), 101, why);
  t.deepEqual(versionsAt(first), [3]);
});

test('a helper that might forget what pods were to have is not told to uninstall, unless it may', async (t) => {
  const second = await startFakeHelper(t, servingOnly(2));
  const uninstall = (forget: boolean) =>
    askHelper(connector, second.socketPath, 'uninstall', { forget }, { deadlineMs: 5_000 });
  await refused(t, uninstall(false), 101, /this needs "keep", which helpers of protocol version 2/);
  t.deepEqual(versionsAt(second), [3]);
  await uninstall(true);
  t.deepEqual(versionsAt(second), [3, 3, 2]);
});

test('one deadline is for both requests', async (t) => {
  const helper = await startFakeHelper(t, (request, connection) => {
    if (request.version === 3) setTimeout(() => servingOnly(2)(request, connection), 1000);
  });
  const startedMs = performance.now();
  await refused(t, attach(helper.socketPath, 2000), 11, /no answer within 2000 ms$/);
  const tookMs = performance.now() - startedMs;
  // With one for each it would end after 3 s.
  t.true(tookMs < 2900, `it took ${tookMs} ms`);
  t.deepEqual(versionsAt(helper), [3, 2]);
});

test('a caller that is asked to stop does so at the second request too', async (t) => {
  const controller = new AbortController();
  const helper = await startFakeHelper(
    t,
    servingOnly(2, () => controller.abort(new Error('stopped'))),
  );
  const patience = { deadlineMs: 5_000, signal: controller.signal };
  const asked = askHelper(connector, helper.socketPath, 'attach', PARAMS, patience);
  await t.throwsAsync(asked, { message: 'stopped' });
});
