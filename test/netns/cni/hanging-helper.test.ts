// Calls of the built plugin beside a helper that hangs: they end in time, and ADD leaves nothing.

import { spawn } from 'node:child_process';
import fs from 'node:fs';
import { connect, createServer } from 'node:net';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { JsonObject } from '../../../cni/types.ts';
import { PODPACED } from '../../bed/helper.ts';
import { temporaryDirectory } from '../../bed/temporary-directory.ts';
import { servingOnly, startFakeHelper, type Script } from '../../kit/fake-helper.ts';
import { wirePod } from '../../kit/helper.ts';
import { makeNetns, type TestNetns } from '../../kit/netns.ts';

const PODPACE = path.join(path.dirname(PODPACED), 'podpace');
const WITHIN_MS = 5000;

/** Listens at a socket of `directory` and hangs. */
type Hanging = (t: ExecutionContext, directory: string) => Promise<string>;

const neverAnswers: Hanging = async (t, directory) => {
  const socket = path.join(directory, 'helper.sock');
  const server = createServer((connection) => connection.resume());
  t.teardown(() => server.close());
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  return socket;
};

/** A helper of another release that hangs when it is asked in a version of its own. */
const hangsThen: Hanging = async (t, directory) => {
  const refuse = servingOnly(2, () => undefined);
  const late: Script = (request, connection) => {
    setTimeout(() => refuse(request, connection), 300);
  };
  const socket = path.join(directory, 'helper.sock');
  return (await startFakeHelper(t, late, socket)).socketPath;
};

/**
 * A process of its own, which takes no connection: up to `backlog` + 1 are established by the
 * kernel all the same.
 */
function acceptsNothing(backlog: number): Hanging {
  const script =
    'use IO::Socket::UNIX; $s = IO::Socket::UNIX->new(Local => shift, Listen => shift) or die; $| = 1;';
  return async (t, directory) => {
    const socket = path.join(directory, 'helper.sock');
    const child = spawn('perl', ['-e', `${script} print "up"; sleep 600`, socket, String(backlog)]);
    t.teardown(() => child.kill('SIGKILL'));
    await new Promise((resolve) => child.stdout.once('data', resolve));
    return socket;
  };
}

const HANGING: readonly [what: string, hang: Hanging][] = [
  ['that accepts and never answers', neverAnswers],
  ['that accepts nothing', acceptsNothing(100)],
  [
    'that accepts nothing and has no place left',
    async (t, directory) => {
      const socket = await acceptsNothing(1)(t, directory);
      const waiting = [1, 2].map(() => connect(socket));
      t.teardown(() => waiting.forEach((connection) => connection.destroy()));
      await Promise.all(
        waiting.map((connection) => new Promise((resolve) => connection.once('connect', resolve))),
      );
      return socket;
    },
  ],
  ['of another release that never answers in its own version', hangsThen],
];

interface Ending {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly tookMs: number;
}

/** Where a plugin is called. */
interface Scene {
  readonly node: TestNetns;
  readonly sandbox: TestNetns;
  /** Of other plugins. */
  readonly cniPath: string;
}

function call(
  command: string,
  { node, sandbox, cniPath }: Scene,
  more: JsonObject,
): Promise<Ending> {
  const env = {
    ...{ PATH: '/usr/bin:/bin', CNI_COMMAND: command, CNI_CONTAINERID: 'c1', CNI_IFNAME: 'eth0' },
    ...{ CNI_NETNS: `/run/netns/${sandbox.name}`, CNI_PATH: cniPath },
  };
  const config = {
    cniVersion: '1.1.0',
    name: 'pods',
    type: 'podpace',
    egressRate: 10_000_000,
    ...more,
  };
  const startMs = performance.now();
  const child = spawn('nsenter', [`--net=/run/netns/${node.name}`, PODPACE], { env });
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  child.stdin.end(JSON.stringify(config));
  return new Promise((resolve) => {
    child.once('close', (status) =>
      resolve({ status, stdout, stderr, tookMs: performance.now() - startMs }),
    );
  });
}

function previousResult(sandbox: TestNetns): JsonObject {
  const interfaces = [{ name: 'eth0', sandbox: `/run/netns/${sandbox.name}` }];
  return { cniVersion: '1.1.0', interfaces, ips: [{ address: '10.9.0.2/24', interface: 0 }] };
}

function inTime(t: ExecutionContext, what: string, { tookMs }: Ending): void {
  t.log(`${what}: ${tookMs.toFixed(0)} ms`);
  t.true(tookMs < WITHIN_MS, `${what} took ${tookMs} ms`);
}

function refused(t: ExecutionContext, what: string, ending: Ending, code: number): void {
  const { status, stdout } = ending;
  t.is(status, 1, stdout);
  t.is((JSON.parse(stdout) as { code?: number }).code, code, stdout);
  inTime(t, what, ending);
}

for (const [what, hang] of HANGING) {
  test.serial(`ADD behind another plugin, beside a helper ${what}`, async (t) => {
    const [node, sandbox, directory] = [makeNetns(t), makeNetns(t), temporaryDirectory(t)];
    wirePod(node, sandbox, 'host7');
    const socket = await hang(t, directory);
    const scene = { node, sandbox, cniPath: '/nonesuch' };
    const more = { socket, prevResult: previousResult(sandbox) };
    refused(t, 'ADD', await call('ADD', scene, more), 11);
    t.deepEqual(
      fs.readdirSync(directory).filter((name) => name !== 'helper.sock'),
      [],
    );
  });

  test.serial(`ADD with IPAM, beside a helper ${what}`, async (t) => {
    const [node, sandbox, directory] = [makeNetns(t), makeNetns(t), temporaryDirectory(t)];
    const [log, ipam] = [path.join(directory, 'log'), path.join(directory, 'ipam')];
    const answer = `echo '{"cniVersion":"1.1.0","ips":[{"address":"10.9.0.2/24","gateway":"10.9.0.1"}]}'`;
    fs.writeFileSync(ipam, `#!/bin/sh\necho "$CNI_COMMAND" >>'${log}'\n${answer}\n`, {
      mode: 0o755,
    });
    const socket = await hang(t, directory);
    const scene = { node, sandbox, cniPath: directory };
    refused(t, 'ADD', await call('ADD', scene, { socket, ipam: { type: 'ipam' } }), 11);
    t.is(fs.readFileSync(log, 'utf8'), 'ADD\nDEL\n');
    t.deepEqual(
      node.ipJson('link', 'show').map(({ ifname }) => ifname),
      ['lo'],
    );
  });

  test.serial(`ADD that may go without its cap, beside a helper ${what}`, async (t) => {
    const [node, sandbox, directory] = [makeNetns(t), makeNetns(t), temporaryDirectory(t)];
    wirePod(node, sandbox, 'host7');
    const socket = await hang(t, directory);
    const more = { socket, prevResult: previousResult(sandbox), onUnenforceable: 'allow' };
    const ending = await call('ADD', { node, sandbox, cniPath: '/nonesuch' }, more);
    const { status, stdout, stderr } = ending;
    t.is(status, 0, stdout);
    t.regex(
      stderr,
      /WARNING: the cap is not enforced .*podpaced puts it in force as soon as it can be/,
    );
    inTime(t, 'ADD', ending);
    t.deepEqual(fs.readdirSync(path.join(directory, 'wishes')), ['c1:eth0.json']);
  });
}

for (const [what, hang] of HANGING.filter(
  ([, each]) => each === neverAnswers || each === hangsThen,
)) {
  test.serial(`DEL, STATUS and CHECK beside a helper ${what}`, async (t) => {
    const [node, sandbox, directory] = [makeNetns(t), makeNetns(t), temporaryDirectory(t)];
    wirePod(node, sandbox, 'host7');
    const scene = { node, sandbox, cniPath: '/nonesuch' };
    const more = { socket: await hang(t, directory), prevResult: previousResult(sandbox) };
    const [deleted, asked] = await Promise.all([
      call('DEL', scene, more),
      call('STATUS', scene, more),
    ]);
    t.is(deleted.status, 0, deleted.stdout);
    t.regex(deleted.stderr, /Cannot detach .* no answer within \d+ ms \(DEL goes on\)/);
    inTime(t, 'DEL', deleted);
    refused(t, 'STATUS', asked, 50);
    refused(t, 'CHECK', await call('CHECK', scene, more), 11);
  });
}
