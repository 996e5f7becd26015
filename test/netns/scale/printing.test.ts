// What others chose comes to the terminal and the log escaped: the built executable over a node
// with hostile names.

import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import test from 'ava';
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

/**
 * Escape, DEL, and two of UTF-8: the introducer C1 and an override of direction. By number: this
 * file has none of them.
 */
const HOSTILE = String.fromCodePoint(0x1b, 0x5b, 0x6d, 0x7f, 0x9b, 0x202e);
const ESCAPED = String.raw`\u001b[m\u007f\u009b\u202e`;
const NOT_SHOWN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u;

/** The answers to lines, sent over one connection that this end has closed for writing. */
async function converse(socketPath: string, lines: readonly string[]): Promise<string[]> {
  const socket = net.connect(socketPath);
  let answer = '';
  socket.on('data', (chunk) => (answer += chunk.toString()));
  socket.end(lines.map((line) => `${line}\n`).join(''));
  await new Promise((resolve) => socket.once('close', resolve));
  return answer.trimEnd().split('\n');
}

test.serial(
  'hostile names and damaged records reach neither terminal nor log as they are',
  async (t) => {
    const [node, sandbox] = [makeNetns(t), makeNetns(t)];
    const directories = makeHelperDirectories(t);
    const hostInterface = `p${HOSTILE}`;
    wirePod(node, sandbox, 'p0');
    const caps = { egress: { rateBitsPerSec: 1_000_000 } };
    const params = { ...paramsOf('p0', sandbox, caps), containerId: 'c1' };
    leaveRecord(node, directories, params);
    // The JSON of iproute2 is none with such a name, so it comes last.
    // Kernels before 6.2 rename no device that is up.
    node.ip('link', 'set', 'p0', 'down');
    node.ip('link', 'set', 'p0', 'name', hostInterface);
    node.ip('link', 'set', hostInterface, 'up');
    const file = path.join(directories.run, 'state/attachments', 'c1:eth0.json');
    fs.writeFileSync(
      file,
      fs.readFileSync(file, 'utf8').replace('"p0"', JSON.stringify(hostInterface)),
    );
    const damaged = path.join(directories.run, 'state/attachments', `x${HOSTILE}:eth0.json`);
    fs.writeFileSync(damaged, `{"recordVersion":"${HOSTILE}", ${HOSTILE}`);
    const helper = await startOwnHelper(t, node, directories);

    const commands = [
      ...[['status'], ['list'], ['list', '--wide'], ['counters'], ['counters', 'c1']],
      ['history', 'c1'],
      ['set', 'c1', '--egress', '--rate', '2M'],
      ['set', 'c1', '--ingress', '--rate', '2M'],
      ['set', `c${HOSTILE}`, '--egress', '--rate', '2M'],
    ];
    for (const command of commands) {
      for (const json of [[], ['--json']]) {
        const { stdout, stderr } = await runProgram(PODPACED, [
          ...command,
          '--socket',
          helper.socket,
          ...json,
        ]);
        t.notRegex(`${stdout}${stderr}`.replaceAll('\n', ''), NOT_SHOWN, command.join(' '));
        if (json.length > 0 && stdout !== '') t.notThrows(() => JSON.parse(stdout) as unknown);
      }
    }
    const list = await runProgram(PODPACED, ['list', '--wide', '--socket', helper.socket]);
    t.true(list.stdout.includes(`p${ESCAPED}`), list.stdout);

    await t.throwsAsync(
      helper.ask('attach', { ...params, containerId: 'c2', hostInterface: `q${HOSTILE}` }),
    );
    await helper.end('SIGTERM');
    const log = helper.log();
    t.true(log.includes(ESCAPED), log);
    t.notRegex(log.replaceAll('\n', ''), NOT_SHOWN);
    for (const line of log.trimEnd().split('\n'))
      t.regex(line, /^\d{4}-\d\d-\d\dT[\d:.]+Z (info|warn|error) /);
  },
);

for (const field of ['sandbox', 'congestionControl'] as const) {
  test.serial(`a hostile ${field} is no request, and not logged as it is`, async (t) => {
    const [node, sandbox] = [makeNetns(t), makeNetns(t)];
    wirePod(node, sandbox, 'p0');
    const helper = await startOwnHelper(t, node, makeHelperDirectories(t));
    const params = paramsOf('p0', sandbox, { egress: { rateBitsPerSec: 1_000_000 } });
    const hostile = { ...params, [field]: `${params.sandbox}${HOSTILE}` };
    const request = JSON.stringify({ version: 2, method: 'attach', params: hostile });
    const [answer = ''] = await converse(helper.socket, [request]);
    const { error } = JSON.parse(answer) as { error?: { code: string } };
    t.is(error?.code, 'bad-request', answer);
    t.notRegex(helper.log().replaceAll('\n', ''), NOT_SHOWN);
  });
}

test.serial('a request nested to any depth is a bad request with a short message', async (t) => {
  const helper = await startOwnHelper(t, makeNetns(t), makeHelperDirectories(t));
  const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth);
  for (const depth of [100, 1000, 10_000, 32_000]) {
    const lines = [
      nested(depth),
      `{"version":${nested(depth)},"method":"status","params":{}}`,
      `{"version":2,"method":${nested(depth)},"params":{}}`,
      `{"version":2,"method":"detach","params":${nested(depth)}}`,
      `{"version":2,"method":"detach","params":{"containerId":${nested(depth)},"ifname":"eth0"}}`,
    ];
    const answers = await converse(helper.socket, lines);
    t.is(answers.length, lines.length);
    for (const answer of answers) {
      const { error } = JSON.parse(answer) as { error?: { code: string; message: string } };
      t.is(error?.code, 'bad-request', answer);
      t.true((error?.message.length ?? 0) < 250, answer);
    }
  }
  t.notRegex(helper.log(), /call stack/);
});
