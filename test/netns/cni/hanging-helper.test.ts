// ADD of the built plugin beside a helper that hangs: it ends in time, and nothing stays.

import { spawn } from 'node:child_process';
import fs from 'node:fs';
import { connect, createServer } from 'node:net';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { JsonObject } from '../../../cni/types.ts';
import { PODPACED } from '../../bed/helper.ts';
import { temporaryDirectory } from '../../bed/temporary-directory.ts';
import { wirePod } from '../../kit/helper.ts';
import { makeNetns, type TestNetns } from '../../kit/netns.ts';

const PODPACE = path.join(path.dirname(PODPACED), 'podpace');
const WITHIN_MS = 5000;

/** Listens at a socket of `directory` and hangs. */
type Hanging = (t: ExecutionContext, directory: string) => Promise<string>;

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
  [
    'that accepts and never answers',
    async (t, directory) => {
      const socket = path.join(directory, 'helper.sock');
      const server = createServer((connection) => connection.resume());
      t.teardown(() => server.close());
      await new Promise<void>((resolve) => server.listen(socket, resolve));
      return socket;
    },
  ],
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
];

interface Ending {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly tookMs: number;
}

function add(
  node: TestNetns,
  sandbox: TestNetns,
  cniPath: string,
  more: JsonObject,
): Promise<Ending> {
  const env = {
    ...{ PATH: '/usr/bin:/bin', CNI_COMMAND: 'ADD', CNI_CONTAINERID: 'c1', CNI_IFNAME: 'eth0' },
    ...{ CNI_NETNS: `/run/netns/${sandbox.name}`, CNI_PATH: cniPath },
  };
  const config = {
    cniVersion: '1.0.0',
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
  return { cniVersion: '1.0.0', interfaces, ips: [{ address: '10.9.0.2/24', interface: 0 }] };
}

function refused(t: ExecutionContext, { status, stdout, tookMs }: Ending): void {
  t.is(status, 1, stdout);
  t.is((JSON.parse(stdout) as { code?: number }).code, 11, stdout);
  t.true(tookMs < WITHIN_MS, `it took ${tookMs} ms`);
}

for (const [what, hang] of HANGING) {
  test.serial(`ADD behind another plugin, beside a helper ${what}`, async (t) => {
    const [node, sandbox, directory] = [makeNetns(t), makeNetns(t), temporaryDirectory(t)];
    wirePod(node, sandbox, 'host7');
    const socket = await hang(t, directory);
    refused(
      t,
      await add(node, sandbox, '/nonesuch', { socket, prevResult: previousResult(sandbox) }),
    );
    t.deepEqual(
      fs.readdirSync(directory).filter((name) => name !== 'helper.sock'),
      [],
    );
  });

  test.serial(`ADD with IPAM, beside a helper ${what}`, async (t) => {
    const [node, sandbox, directory] = [makeNetns(t), makeNetns(t), temporaryDirectory(t)];
    const [log, ipam] = [path.join(directory, 'log'), path.join(directory, 'ipam')];
    const answer = `echo '{"cniVersion":"1.0.0","ips":[{"address":"10.9.0.2/24","gateway":"10.9.0.1"}]}'`;
    fs.writeFileSync(ipam, `#!/bin/sh\necho "$CNI_COMMAND" >>'${log}'\n${answer}\n`, {
      mode: 0o755,
    });
    const socket = await hang(t, directory);
    refused(t, await add(node, sandbox, directory, { socket, ipam: { type: 'ipam' } }));
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
    const { status, stdout, stderr, tookMs } = await add(node, sandbox, '/nonesuch', more);
    t.is(status, 0, stdout);
    t.regex(
      stderr,
      /WARNING: the cap is not enforced .*podpaced puts it in force as soon as it can be/,
    );
    t.true(tookMs < WITHIN_MS, `it took ${tookMs} ms`);
    t.deepEqual(fs.readdirSync(path.join(directory, 'wishes')), ['c1:eth0.json']);
  });
}
