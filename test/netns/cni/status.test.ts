// STATUS by the helper's sign of life: the file as it is, a helper that does what the test says,
// and every way out of the plugin counted.

import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { JsonObject } from '../../../cni/types.ts';
import { bootId, bootSeconds } from '../../../helper/kernel/boot-clock.ts';
import { heartbeatFile } from '../../../helper/protocol/state-files.ts';
import {
  formatHeartbeat,
  MAX_HEARTBEAT_BYTES,
  type Heartbeat,
} from '../../../helper/wire/heartbeat.ts';
import { temporaryDirectory } from '../../bed/temporary-directory.ts';
import { refuses, startFakeHelper } from '../../kit/fake-helper.ts';
import { callPlugin } from '../../kit/plugin.ts';

/** How a call ended, and how often the plugin turned to the helper's socket. */
interface Ending {
  readonly status: number;
  readonly code: number | undefined;
  readonly msg: string;
  readonly stderr: string;
  readonly connections: number;
}

async function callStatus(
  socket: string,
  more: JsonObject = {},
  cniPath = '/nonesuch',
): Promise<Ending> {
  let connections = 0;
  const { status, stderr, answer } = await callPlugin({
    env: { PATH: process.env['PATH'] ?? '', CNI_COMMAND: 'STATUS', CNI_PATH: cniPath },
    stdin: { cniVersion: '1.1.0', name: 'pods', type: 'podpace', socket, ...more },
    edges: {
      loadKernel: () => Promise.reject(new Error('the kernel was asked')),
      connect: (socketPath) => {
        connections += 1;
        return Promise.resolve(net.connect({ path: socketPath }));
      },
    },
  });
  return { status, code: answer?.code, msg: answer?.msg ?? '', stderr, connections };
}

const WELL = { status: 0, code: undefined, msg: '', stderr: '', connections: 0 };

function written(more: Partial<Heartbeat> = {}): string {
  const now = { bootId: bootId(), bootSeconds: bootSeconds() };
  return formatHeartbeat({ ...{ release: '1.2.3', ...now }, ...more });
}

/** Of five seconds ago: any node where tests run is up for longer. */
const former = (): string => written({ bootSeconds: bootSeconds() - 5 });
const TOO_LONG_AGO = { helperAwaySeconds: 4 };

/** A socket that nobody has made, with a sign of life beside it. */
function signed(t: ExecutionContext, text = written()): string {
  const socket = path.join(temporaryDirectory(t), 'helper.sock');
  fs.writeFileSync(heartbeatFile(socket), text, { mode: 0o600 });
  return socket;
}

test.serial('a fresh sign of life is enough', async (t) => {
  t.deepEqual(await callStatus(signed(t)), WELL);
});

test.serial('a helper that is away for less than the configured time harms nobody', async (t) => {
  const socket = signed(t, former());
  t.deepEqual(await callStatus(socket), WELL, 'of 120 s by default');
  t.deepEqual(await callStatus(socket, { helperAwaySeconds: 60 }), WELL);
  const { code, msg, connections } = await callStatus(socket, TOO_LONG_AGO);
  t.is(code, 50);
  t.regex(msg, /^Cannot reach the helper at .*; it has given no sign of life for \d+ s$/);
  t.is(connections, 1, 'before it fails, it makes sure');
});

test.serial('a helper that serves and cannot leave a sign of life is asked', async (t) => {
  const helper = await startFakeHelper(t);
  const { socketPath } = helper;
  t.deepEqual(await callStatus(socketPath), { ...WELL, connections: 1 });
  fs.writeFileSync(heartbeatFile(socketPath), former(), { mode: 0o600 });
  t.deepEqual(await callStatus(socketPath, TOO_LONG_AGO), { ...WELL, connections: 1 });
  t.deepEqual(helper.methods(), ['status', 'status']);
});

test.serial(
  'a helper that hangs keeps STATUS for two seconds, when the time is over',
  async (t) => {
    const { socketPath } = await startFakeHelper(t, () => undefined);
    fs.writeFileSync(heartbeatFile(socketPath), former(), { mode: 0o600 });
    t.deepEqual(await callStatus(socketPath), WELL);
    const { code, msg } = await callStatus(socketPath, TOO_LONG_AGO);
    t.is(code, 50);
    t.regex(msg, /no answer within 2000 ms; it has given no sign of life for \d+ s$/);
  },
);

test.serial('a kernel that holds no cap fails STATUS where it fails ADD', async (t) => {
  const socket = signed(t, written({ fault: 'Every cap would be refused: no sch_fq' }));
  const failed = await callStatus(socket);
  t.deepEqual(failed, {
    ...WELL,
    ...{ status: 1, code: 50, msg: 'Every cap would be refused: no sch_fq' },
  });
  const { stderr, ...allowed } = await callStatus(socket, { onUnenforceable: 'allow' });
  t.deepEqual({ ...allowed, stderr: '' }, WELL);
  t.regex(stderr, /WARNING: caps are not enforced now .*no sch_fq\n$/);
});

test.serial('helpers in one directory do not pass for each other', async (t) => {
  const socket = signed(t);
  const other = path.join(path.dirname(socket), 'other.sock');
  t.regex(
    (await callStatus(other)).msg,
    /; nothing shows that it has run since this node was started$/,
  );
});

const DAMAGED = 'is damaged';
const UNUSABLE = 'cannot be used: ';

/** What may stand in the place of the file, by who makes it. */
const STRANGE: readonly [what: string, make: (file: string) => void, told: string][] = [
  ['the first half of one', (file) => fs.writeFileSync(file, written().slice(0, 40)), DAMAGED],
  ['nothing', (file) => fs.writeFileSync(file, ''), DAMAGED],
  ['zeros', (file) => fs.writeFileSync(file, Buffer.alloc(64)), DAMAGED],
  [
    'one that is too long',
    (file) => fs.writeFileSync(file, written() + ' '.repeat(MAX_HEARTBEAT_BYTES)),
    `${UNUSABLE}it has`,
  ],
  ['one without an end', (file) => fs.truncateSync(made(file), 2 ** 40), `${UNUSABLE}it has`],
  ['a link to one', (file) => fs.symlinkSync(made(`${file}.elsewhere`), file), `${UNUSABLE}ELOOP`],
  ['a link to nowhere', (file) => fs.symlinkSync('/nonesuch', file), `${UNUSABLE}ELOOP`],
  ['a pipe', (file) => execFileSync('mkfifo', [file]), `${UNUSABLE}it is no regular file`],
  ['a directory', (file) => fs.mkdirSync(file), `${UNUSABLE}it is no regular file`],
  ["another user's", (file) => fs.chownSync(made(file), 65534, 0), `${UNUSABLE}it belongs to`],
  [
    'one that others may write',
    (file) => fs.chmodSync(made(file), 0o622),
    `${UNUSABLE}others than root may write it`,
  ],
];

function made(file: string): string {
  fs.writeFileSync(file, written(), { mode: 0o600 });
  return file;
}

for (const [what, make, told] of STRANGE) {
  test.serial(`in the place of a sign of life: ${what}`, async (t) => {
    const { socketPath } = await startFakeHelper(t);
    make(heartbeatFile(socketPath));
    t.deepEqual(await callStatus(socketPath), { ...WELL, connections: 1 }, 'a helper serves');
    const alone = path.join(temporaryDirectory(t), 'helper.sock');
    make(heartbeatFile(alone));
    const { code, msg } = await callStatus(alone);
    t.is(code, 50);
    t.true(msg.includes(`; its sign of life ${told}`), msg);
  });
}

/** Where an IPAM plugin is whose STATUS ends like this. */
function ipamAt(t: ExecutionContext, ending: string): string {
  const directory = temporaryDirectory(t);
  const file = path.join(directory, 'ipam');
  fs.writeFileSync(file, `#!/bin/sh\n${ending}\n`, { mode: 0o755 });
  return directory;
}

test.serial('the IPAM plugin and podpace are both heard', async (t) => {
  const [ipam, full] = [{ ipam: { type: 'ipam' } }, `echo '{"code":51,"msg":"full"}'; exit 1`];
  const [alive, gone] = [signed(t), path.join(temporaryDirectory(t), 'helper.sock')];
  t.deepEqual(await callStatus(alive, ipam, ipamAt(t, 'exit 0')), WELL);
  const failed = await callStatus(alive, ipam, ipamAt(t, full));
  t.deepEqual(failed, { ...WELL, status: 1, code: 51, msg: 'full' });
  const { code, msg } = await callStatus(gone, ipam, ipamAt(t, full));
  t.is(code, 51, "the IPAM plugin's, as the specification asks");
  t.regex(
    msg,
    /^full; Cannot reach the helper .*; nothing shows that it has run since this node was started$/,
  );
  t.is((await callStatus(gone, ipam, ipamAt(t, 'exit 0'))).code, 50);
});

test.serial('a helper that refuses to tell is told of', async (t) => {
  const error = { code: 'busy', message: 'no place left' } as const;
  const { socketPath } = await startFakeHelper(t, refuses('status', error));
  const { code, msg } = await callStatus(socketPath);
  t.is(code, 50);
  t.regex(msg, /no place left; nothing shows that it has run since this node was started$/);
});
