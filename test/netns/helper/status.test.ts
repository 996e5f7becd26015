// `podpaced status` before the first pod: what would have every cap refused is told of then, not at
// the first ADD.

import { execFile, spawnSync } from 'node:child_process';
import { promisify } from 'node:util';
import test from 'ava';
import { PODPACED } from '../../bed/helper.ts';
import { addUplink, makeHelperDirectories, startOwnHelper } from '../../kit/helper.ts';
import { makeNetns } from '../../kit/netns.ts';

interface Ended {
  readonly code: number;
  readonly stdout: string;
}

/** Runs `podpaced status` as an operator does. */
async function statusCommand(socket: string): Promise<Ended> {
  const run = promisify(execFile)(PODPACED, ['status', '--socket', socket]);
  return await run.then(({ stdout }) => ({ code: 0, stdout })).catch((error: Ended) => error);
}

const hasSchFq =
  spawnSync('unshare', ['--net', 'tc', 'qdisc', 'add', 'dev', 'lo', 'root', 'fq']).status === 0;

test.serial(
  'a node on which every cap would be refused is DEGRADED before the first pod',
  async (t) => {
    const [node, peer] = [makeNetns(t), makeNetns(t)];
    const helper = await startOwnHelper(t, node, makeHelperDirectories(t));
    const problems = async (): Promise<string> =>
      (await helper.ask('status', {})).problems.join('\n');
    t.regex(await problems(), /no uplink.*add a default route, or name the uplink with --uplink/);
    t.like(await statusCommand(helper.socket), { code: 1 });
    t.regex((await statusCommand(helper.socket)).stdout, /State: +DEGRADED: caps would be refused/);

    addUplink(node, peer, 'uplink', 1);
    const lacking = hasSchFq
      ? /^$/
      : /^Every cap would be refused: this kernel has no sch_fq.*modprobe sch_fq/;
    t.regex(await problems(), lacking);
    t.like(await statusCommand(helper.socket), { code: hasSchFq ? 0 : 1 });

    // An ADD with an egress cap is refused here by default.
    node.tc(
      'qdisc',
      'add',
      'dev',
      'uplink',
      'root',
      'handle',
      '1:',
      'tbf',
      ...'rate 1gbit burst 1m latency 9ms'.split(' '),
    );
    t.regex(await problems(), /uplink has a tbf root qdisc that somebody configured: remove it/);
    t.like(await statusCommand(helper.socket), { code: 1 });
  },
);

test.serial('what may stay as it is on an uplink is no problem', async (t) => {
  const [node, peer] = [makeNetns(t), makeNetns(t)];
  addUplink(node, peer, 'uplink', 1);
  node.tc(
    'qdisc',
    'add',
    'dev',
    'uplink',
    'root',
    'handle',
    '1:',
    'tbf',
    ...'rate 1gbit burst 1m latency 9ms'.split(' '),
  );
  const helper = await startOwnHelper(t, node, makeHelperDirectories(t), [
    '--foreign-qdisc',
    'replace',
  ]);
  const { problems } = await helper.ask('status', {});
  t.is(problems.filter((problem) => problem.includes('uplink has')).length, 0);
  t.is(problems.length, hasSchFq ? 0 : 1);
});

test.serial('--watch looks again until whoever reads has enough', async (t) => {
  const helper = await startOwnHelper(t, makeNetns(t), makeHelperDirectories(t));
  const command = `'${PODPACED}' status --watch 0.5 --json --socket '${helper.socket}' | head -n 3`;
  const startMs = performance.now();
  const { stdout } = await promisify(execFile)('bash', ['-c', command], { timeout: 20_000 });
  t.true(performance.now() - startMs >= 1000);
  const states = stdout
    .trim()
    .split('\n')
    .map((line) => (JSON.parse(line) as { state: string }).state);
  t.deepEqual(states, ['degraded', 'degraded', 'degraded']);
});
