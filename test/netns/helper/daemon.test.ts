// podpaced as an operator meets it: what it answers, what it refuses, what it leaves.

import { execFile, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import test from 'ava';
import { HelperError } from '../../../helper/protocol/client.ts';
import { PODPACED } from '../../bed/helper.ts';
import {
  addUplink,
  makeHelperDirectories,
  paramsOf,
  startOwnHelper,
  wirePod,
} from '../../kit/helper.ts';
import { makeNetns } from '../../kit/netns.ts';

const CAPS = { egress: { rateBitsPerSec: 10_000_000 } };

function hasSchFq(): boolean {
  return (
    spawnSync('unshare', ['--net', 'tc', 'qdisc', 'add', 'dev', 'lo', 'root', 'fq']).status === 0
  );
}

/**
 * Sends raw bytes and returns all that comes back until the helper closes or half a second is
 * silent.
 */
async function converse(socketPath: string, bytes: string): Promise<string> {
  const socket = net.connect(socketPath);
  let answer = '';
  socket.on('data', (chunk) => (answer += chunk.toString()));
  socket.write(bytes);
  await new Promise<void>((resolve) => {
    socket.on('close', () => resolve());
    socket.on('error', () => resolve());
    socket.on('data', () => answer.endsWith('\n') && socket.end());
  });
  return answer;
}

test.serial(
  'the helper answers what is no request with an error and goes on serving',
  async (t) => {
    const helper = await startOwnHelper(t, makeNetns(t), makeHelperDirectories(t));
    t.regex(await converse(helper.socket, 'hello\n'), /"code":"bad-request".*not JSON/);
    t.regex(
      await converse(helper.socket, '{"version":2,"method":"reboot","params":{}}\n'),
      /"bad-request".*reboot/,
    );
    t.regex(
      await converse(helper.socket, '{"version":99,"method":"status","params":{}}\n'),
      /"protocol-version".*99/,
    );
    t.regex(await converse(helper.socket, `${'x'.repeat(70_000)}\n`), /"bad-request".*65536/);
    const two = await converse(helper.socket, '{"version":2,"method":"list","params":{}}\n');
    t.deepEqual(JSON.parse(two), { version: 2, result: { attachments: [] } });
    t.like(await helper.ask('status', {}), { state: 'degraded', attachments: 0 });
  },
);

test.serial('only root reaches the socket, and SIGTERM takes it away', async (t) => {
  const helper = await startOwnHelper(t, makeNetns(t), makeHelperDirectories(t));
  t.is(fs.statSync(helper.socket).mode & 0o777, 0o600);
  await helper.end('SIGTERM');
  t.false(fs.existsSync(helper.socket));
  t.regex(helper.log(), /caps stay in force/);
});

test.serial('what an exempt CIDR covers beyond what it says is told at start', async (t) => {
  const exempt = ['--exempt', '10.1.2.3/8', '--exempt', '192.0.2.0/24'];
  const helper = await startOwnHelper(t, makeNetns(t), makeHelperDirectories(t), exempt);
  t.regex(helper.log(), /exempt "10\.1\.2\.3\/8" covers 10\.0\.0\.0 to 10\.255\.255\.255/);
  t.notRegex(helper.log(), /192\.0\.2\.0/);
});

test.serial('a socket that is removed is made again, and logged', async (t) => {
  const helper = await startOwnHelper(t, makeNetns(t), makeHelperDirectories(t));
  fs.rmSync(helper.socket);
  const deadlineMs = performance.now() + 20_000;
  while (!fs.existsSync(helper.socket) && performance.now() < deadlineMs) await sleep(100);
  t.true(fs.existsSync(helper.socket), 'not within 20 s');
  t.is((await helper.ask('status', {})).attachments, 0);
  t.regex(helper.log(), /helper\.sock was removed: listening there again/);
});

test.serial('a second helper is refused, a leftover socket is not', async (t) => {
  const node = makeNetns(t);
  const directories = makeHelperDirectories(t);
  const helper = await startOwnHelper(t, node, directories);
  const error = await t.throwsAsync(startOwnHelper(t, node, directories));
  t.regex(error?.message ?? '', /another podpaced is serving/);
  await helper.end('SIGKILL');
  t.true(fs.existsSync(helper.socket));
  const successor = await startOwnHelper(t, node, directories);
  t.is((await successor.ask('status', {})).attachments, 0);
});

test.serial(
  'a cap that this node cannot hold is refused with cause and remedy, and leaves nothing',
  async (t) => {
    const [node, sandbox, peer] = [makeNetns(t), makeNetns(t), makeNetns(t)];
    wirePod(node, sandbox, 'pod0');
    const helper = await startOwnHelper(t, node, makeHelperDirectories(t));
    const absent = await t.throwsAsync(helper.ask('attach', paramsOf('nothere', sandbox, CAPS)), {
      instanceOf: HelperError,
    });
    t.regex(absent?.message ?? '', /No interface "nothere"/);
    const noUplink = await t.throwsAsync(helper.ask('attach', paramsOf('pod0', sandbox, CAPS)), {
      instanceOf: HelperError,
    });
    t.regex(`${noUplink?.message} ${noUplink?.remedy}`, /no uplink.*--uplink/s);
    if (!hasSchFq()) {
      addUplink(node, peer, 'uplink', 4);
      const before = node.tc('qdisc', 'show');
      const error = await t.throwsAsync(helper.ask('attach', paramsOf('pod0', sandbox, CAPS)), {
        instanceOf: HelperError,
      });
      t.regex(`${error?.message} ${error?.remedy}`, /uplink.*no sch_fq.*modprobe sch_fq/s);
      t.is(node.tc('qdisc', 'show'), before);
    }
    t.deepEqual((await helper.ask('list', {})).attachments, []);
    t.deepEqual(fs.readdirSync(path.join(helper.stateDir, 'attachments')), []);
    t.deepEqual(fs.readdirSync(path.join(helper.stateDir, 'exits')), []);
  },
);

test.serial('detach and gc succeed for what was never there', async (t) => {
  const helper = await startOwnHelper(t, makeNetns(t), makeHelperDirectories(t));
  t.deepEqual(await helper.ask('detach', { containerId: 'x', ifname: 'eth0' }), {});
  t.deepEqual(await helper.ask('gc', { network: 'pods', valid: [] }), { removed: [] });
  const { containerId, ifname } = { containerId: 'x', ifname: 'eth0' };
  const params = {
    containerId,
    ifname,
    network: 'pods',
    hostInterface: 'x',
    sandbox: '/x',
    caps: CAPS,
  };
  const error = await t.throwsAsync(helper.ask('check', params), { instanceOf: HelperError });
  t.regex(error?.message ?? '', /No cap is known for x\/eth0/);
});

const failures: readonly [string, readonly string[], number, RegExp][] = [
  [
    'an absent helper',
    ['status', '--socket', '/tmp/pp-none.sock'],
    1,
    /^podpaced: .*\/tmp\/pp-none\.sock.*podpaced run.*\n$/,
  ],
  ['an unknown flag', ['run', '--nosuch'], 2, /unknown option '--nosuch'/],
  [
    'a bad horizon',
    ['run', '--horizon-ms', '-4'],
    2,
    /"horizonMs" must be a number from 1 to 2000, got "-4"/,
  ],
  [
    'a relative path',
    ['run', '--socket', 'x.sock'],
    2,
    /"socket" must be an absolute path, got "x.sock"/,
  ],
  [
    'a missing file',
    ['run', '--config', '/nonexistent.json'],
    2,
    /Cannot read the configuration.*nonexistent/,
  ],
];
for (const [what, args, status, expected] of failures) {
  test.serial(`the command line says in one line what is wrong with ${what}`, async (t) => {
    const { code, stderr } = (await promisify(execFile)(PODPACED, args).catch(
      (error: { code: number; stderr: string }) => error,
    )) as { code: number; stderr: string };
    t.is(code, status);
    t.regex(stderr, expected);
    t.is(stderr.trimEnd().split('\n').length, 1);
  });
}
