// Completion of command lines: typed into real shells on a terminal, with what they then run; and
// the words that are offered, against a helper that answers as the test says.

import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { runCli } from '../../../../helper/cli.ts';
import { encodeLine } from '../../../../helper/protocol/frame.ts';
import { temporaryDirectory } from '../../../bed/temporary-directory.ts';
import { healthy, startFakeHelper, type Script } from '../../../kit/fake-helper.ts';

const ROOT = path.resolve(import.meta.dirname, '../../../..');

async function printed(...argv: string[]): Promise<string> {
  let out = '';
  let errors = '';
  const stderr = (text: string): void => void (errors += text);
  const code = await runCli(argv, { stdout: (text) => (out += text), stderr });
  return code === 0 && errors === '' ? out : `${code}: ${errors}`;
}

/** Words that are offered where the last of these is being typed. */
async function offered(...words: string[]): Promise<string[]> {
  const lines = (await printed('complete', '--', ...words)).split('\n');
  return lines.slice(0, -1).map((line) => line.split(' ')[0] ?? '');
}

const pod = (podName: string, ifname = 'eth0', containerId = `id-${podName}`): object => ({
  ...{ containerId, ifname, podNamespace: 'shop', podName, effective: {} },
});
const LISTED = {
  ...{ attachments: [pod('web-0'), pod('web-0', 'net1'), pod('db-0'), pod('$(halt)')] },
};
const UNCAPPED = { uncapped: [pod('free-0')], unknown: [] };

const node: Script = (request, connection) => {
  const { version, method } = request;
  if (method === 'list') connection.write(encodeLine({ version, result: LISTED }));
  else if (method === 'uncapped') connection.write(encodeLine({ version, result: UNCAPPED }));
  else healthy(request, connection);
};

/** What each shell of a node's operator is called with, so that it reads nobody's files. */
const SHELLS = {
  bash: ['bash', '--norc', '--noprofile', '-i'],
  zsh: ['zsh', '-f', '-i'],
  fish: ['fish', '--no-config', '--private', '-i'],
} as const;
const SET_UP = {
  bash: 'source FILE',
  zsh: 'autoload -U compinit; compinit -u -D; source FILE',
  fish: 'source FILE',
} as const;

/** Stands for podpaced: completes as it does, and notes whatever else it is called with. */
function writeStandIn(directory: string): void {
  const node = path.join(ROOT, 'scripts/node');
  const main = path.join(ROOT, 'helper/main.ts');
  const lines = [
    '#!/bin/sh',
    `case $1 in complete) exec ${node} ${main} "$@" ;; esac`,
    `printf '%s\\n' "$@" end >> ${directory}/called`,
  ];
  fs.writeFileSync(path.join(directory, 'podpaced'), `${lines.join('\n')}\n`, { mode: 0o755 });
}

/** What podpaced is called with when each of these lines is typed. */
async function typed(
  t: ExecutionContext,
  shell: keyof typeof SHELLS,
  lines: readonly string[],
): Promise<string[]> {
  const directory = temporaryDirectory(t);
  const script = path.join(directory, 'script');
  fs.writeFileSync(script, await printed('completion', shell));
  writeStandIn(directory);
  const called = path.join(directory, 'called');
  const env = {
    ...process.env,
    ...{ PATH: `${directory}:${process.env['PATH'] ?? ''}`, HOME: directory, TERM: 'dumb' },
  };
  const child = spawn('script', ['-qfec', SHELLS[shell].join(' '), '/dev/null'], { env });
  t.teardown(() => child.kill('SIGKILL'));
  let screen = '';
  child.stdout.on('data', (chunk: Buffer) => (screen += chunk.toString()));
  const until = async (isSo: () => boolean): Promise<void> => {
    for (const endMs = performance.now() + 30_000; !isSo(); await sleep(20))
      if (performance.now() > endMs) throw new Error(`${shell} shows:\n${screen}`);
  };
  child.stdin.write(`${SET_UP[shell].replace('FILE', script)}\necho re""ady\n`);
  await until(() => screen.includes('ready'));
  const calls = (): string[] =>
    fs.existsSync(called) ? fs.readFileSync(called, 'utf8').split('end\n').slice(0, -1) : [];
  for (const [index, line] of lines.entries()) {
    child.stdin.write(`${line}\n`);
    await until(() => calls().length > index);
  }
  child.stdin.write('exit\n');
  return calls().map((call) => call.trim().replaceAll('\n', ' '));
}

for (const shell of Object.keys(SHELLS) as (keyof typeof SHELLS)[]) {
  const isThere = spawnSync(SHELLS[shell][0], ['-c', 'true']).status === 0;
  // bash is on every machine of the tests; the others are where somebody has installed them.
  const on = isThere || shell === 'bash' ? test.serial : test.serial.skip;
  on(`${shell} completes commands, options, choices, files and pods`, async (t) => {
    const { socketPath } = await startFakeHelper(t, node);
    const calls = await typed(t, shell, [
      'podpaced sta\t',
      'podpaced list --wi\t',
      'podpaced run --node-traffic fr\t',
      'podpaced run --config /etc/hostna\t',
      `podpaced counters --socket ${socketPath} shop/d\t`,
      `podpaced set --socket ${socketPath} shop/f\t --egr\t`,
    ]);
    t.deepEqual(calls, [
      'status',
      'list --wide',
      'run --node-traffic free',
      'run --config /etc/hostname',
      `counters --socket ${socketPath} shop/db-0`,
      `set --socket ${socketPath} shop/free-0 --egress`,
    ]);
  });
}

test('a word of the command line is a command, an option, its value or an argument', async (t) => {
  t.deepEqual(await offered('hi'), ['history']);
  t.deepEqual(await offered('help', 'uni'), ['uninstall']);
  t.deepEqual(await offered('list', '--a'), ['--all']);
  t.deepEqual(await offered('run', '--log-format', ''), ['text', 'json']);
  t.deepEqual(await offered('run', '--log-format', '=', 'j'), ['json']);
  t.deepEqual(await offered('run', '--log-format=j'), ['--log-format=json']);
  t.deepEqual(await offered('install', '--root', ''), [':directories']);
  t.deepEqual(await offered('completion', ''), ['bash', 'zsh', 'fish']);
  t.deepEqual(await offered('completion', 'bash', '--'), ['--help']);
  // What is hidden from --help is no command to offer.
  t.deepEqual(await offered('wai'), []);
  t.deepEqual(await offered('comple'), ['completion']);
});

test('pods are those that the command can have, by names that no shell reads as anything else', async (t) => {
  const { socketPath: at } = await startFakeHelper(t, node);
  const capped = ['shop/web-0', 'shop/web-0/eth0', 'shop/web-0/net1', 'shop/db-0'];
  t.deepEqual(await offered('list', '--socket', at, ''), capped);
  t.deepEqual(await offered('list', `--socket=${at}`, '--watch', '5', 'shop/d'), ['shop/db-0']);
  t.deepEqual(await offered('set', '--socket', at, ''), [...capped, 'shop/free-0']);
  t.deepEqual(await offered('list', '--all', '--socket', at, 'shop/f'), ['shop/free-0']);
});

test('a helper that is away or does not answer completes nothing and says nothing', async (t) => {
  const silent = await startFakeHelper(t, () => undefined);
  const startMs = performance.now();
  t.is(await printed('complete', '--', 'list', '--socket', silent.socketPath, ''), '');
  t.true(performance.now() - startMs < 3000);
  t.is(await printed('complete', '--', 'list', '--socket', '/nowhere', ''), '');
});
