// Where the log of podpaced goes, and how its lines are written.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import test from 'ava';
import { PODPACED } from '../../bed/helper.ts';
import { inNamespace } from '../../bed/testbed.ts';
import { makeHelperDirectories, placeFlags, startOwnHelper } from '../../kit/helper.ts';
import { makeNetns } from '../../kit/netns.ts';
import { until } from '../../kit/wish-scene.ts';

test.serial('JSON is one object for each line, of the levels that are wanted', async (t) => {
  const helper = await startOwnHelper(t, makeNetns(t), makeHelperDirectories(t), [
    ...['--log-format', 'json'],
  ]);
  await helper.end('SIGTERM');
  const lines = helper
    .log()
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, string>);
  t.true(lines.length >= 2, helper.log());
  for (const { time = '', level = '', message, ...others } of lines) {
    t.is(new Date(time).toISOString(), time);
    t.regex(level, /^(error|warn|info)$/);
    t.is(typeof message, 'string');
    t.deepEqual(others, {});
  }
  t.true(lines.some(({ level }) => level === 'info'));
});

for (const [what, isJournal] of [
  ['journald has priorities, and notes the time itself', true],
  ['a file that journald does not read has neither', false],
] as const) {
  test.serial(what, async (t) => {
    const node = makeNetns(t);
    const directories = makeHelperDirectories(t);
    fs.mkdirSync(directories.run, { recursive: true });
    const file = path.join(directories.run, 'stderr');
    const stderr = fs.openSync(file, 'w');
    const { dev, ino } = fs.fstatSync(stderr);
    const command = inNamespace(
      `/run/netns/${node.name}`,
      ...([PODPACED, 'run', ...placeFlags(directories), '--log-level', 'info'] as const),
    );
    const child = spawn(...command, {
      stdio: ['ignore', 'ignore', stderr],
      env: { ...process.env, JOURNAL_STREAM: `${dev}:${isJournal ? ino : ino + 1}` },
    });
    t.teardown(() => child.kill('SIGKILL'));
    const ended = once(child, 'exit');
    const read = (): string => fs.readFileSync(file, 'utf8');
    const socket = path.join(directories.run, 'helper.sock');
    await until(t, 'it serves', () => fs.existsSync(socket) && read().includes('\n'));
    child.kill('SIGTERM');
    await ended;
    fs.closeSync(stderr);
    for (const line of read().trim().split('\n'))
      t.regex(line, isJournal ? /^<[346]>\D/ : /^\d{4}-\d\d-\d\dT[\d:.]+Z (error|warn|info) /);
  });
}
