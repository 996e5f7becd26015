// A node with 600 ways out, and something wrong with each of them: whatever it is asked is
// answered.

import { execFileSync } from 'node:child_process';
import test from 'ava';
import { HelperError } from '../../../helper/protocol/client.ts';
import { PODPACED } from '../../bed/helper.ts';
import {
  leaveRecord,
  makeHelperDirectories,
  paramsOf,
  startOwnHelper,
  wirePod,
} from '../../kit/helper.ts';
import { makeNetns } from '../../kit/netns.ts';
import { runProgram } from '../../kit/run-program.ts';

const EXITS = 600;
const CAPS = { egress: { rateBitsPerSec: 10_000_000 }, ingress: { rateBitsPerSec: 20_000_000 } };

/** How the helper ended a request: `ok`, or the code of its error. */
async function endingOf(asked: Promise<unknown>): Promise<string> {
  try {
    await asked;
    return 'ok';
  } catch (error) {
    if (error instanceof HelperError) return error.failure;
    throw error;
  }
}

test.serial('list, set, check and status answer on a node with 600 faulty exits', async (t) => {
  t.timeout(120_000);
  const [node, sandbox] = [makeNetns(t), makeNetns(t)];
  wirePod(node, sandbox, 'pod0');
  const indexes = Array.from({ length: EXITS }, (_, index) => index);
  const lines = indexes.flatMap((index) => [
    `link add way${index} up type veth peer name end${index}`,
    `route add 10.${index >>> 8}.${index & 255}.0/24 dev way${index}`,
    `qdisc add dev way${index} root handle 1: tbf rate 1gbit burst 1m latency 9ms`,
  ]);
  for (const [command, isIts] of [
    ['ip', (line: string) => !line.startsWith('qdisc')],
    ['tc', (line: string) => line.startsWith('qdisc')],
  ] as const) {
    execFileSync(command, ['-n', node.name, '-batch', '-'], {
      input: lines.filter(isIts).join('\n'),
    });
  }
  const directories = makeHelperDirectories(t);
  const params = paramsOf('pod0', sandbox, CAPS);
  leaveRecord(node, directories, params);
  const helper = await startOwnHelper(t, node, directories);

  const flags = ['--egress', '--rate', '20M', '--socket', helper.socket];
  const set = await runProgram(PODPACED, ['set', 'c-pod0', ...flags]);
  t.deepEqual(
    {
      list: await endingOf(helper.ask('list', {})),
      set: set.code,
      status: await endingOf(helper.ask('status', {})),
      check: await endingOf(helper.ask('check', params)),
    },
    { list: 'ok', set: 0, status: 'ok', check: 'check-failed' },
  );

  const { attachments } = await helper.ask('list', {});
  t.regex(attachments[0]?.problems.at(-1) ?? '', /^and \d+ more$/);
  const { egress, ingress } = attachments[0]?.problemsByDirection ?? {};
  t.regex(egress?.join('\n') ?? '', /way\d+ has a tbf root qdisc that somebody configured/);
  t.notRegex(ingress?.join('\n') ?? '', /way\d+/);

  const { problems, exits, moreExits, notEnforced } = await helper.ask('status', {});
  t.regex(problems.at(-1) ?? '', /^and \d+ more$/);
  t.true(exits.length + moreExits >= EXITS);
  t.like(notEnforced, { length: 1, 0: { containerId: 'c-pod0' } });

  const error = await t.throwsAsync(helper.ask('check', params), { instanceOf: HelperError });
  t.regex(error?.message ?? '', /is not enforced: .*; and \d+ more/);
  t.regex(set.stdout, /rate +10 Mbit\/s +20 Mbit\/s/);
  t.is((await helper.ask('counters', {})).attachments.length, 1);
  await t.notThrowsAsync(helper.ask('probe', {}));
});
