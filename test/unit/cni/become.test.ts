import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import test from 'ava';
import { projectRoot } from '../../../scripts/lib/paths.ts';
import { temporaryDirectory } from '../../bed/temporary-directory.ts';

const BECOME = path.join(projectRoot, 'cni/become.ts');
/** Reads stdin, becomes a program, and says when it has come back. */
const START = `
import fs from 'node:fs';
import { become } from ${JSON.stringify(BECOME)};
become(process.argv[1], fs.readFileSync(0));
console.log('came back');`;

/** What comes of it with this on stdin. */
function tryToBecome(file: string, stdin: string | number): ReturnType<typeof spawnSync> {
  const start = [process.execPath, '--input-type=module', '-e', START, file];
  // A runtime gives a pipe, as a shell does; Node would give a socket.
  const command = typeof stdin === 'string' ? ['sh', '-c', 'cat | "$@"', 'sh', ...start] : start;
  const [program = '', ...args] = command;
  return spawnSync(program, args, {
    ...(typeof stdin === 'string' ? { input: stdin } : { stdio: [stdin, 'pipe', 'pipe'] }),
    env: { PATH: process.env['PATH'], WHO: 'runtime' },
    encoding: 'utf8',
  });
}

test('another program takes the place of the process, with its stdin and environment', (t) => {
  for (const text of ['', '{"name":"pods"}', 'x'.repeat(4096)]) {
    const { status, stdout } = tryToBecome('/bin/cat', text);
    t.deepEqual({ status, stdout }, { status: 0, stdout: text });
  }
  t.regex(String(tryToBecome('/usr/bin/env', '').stdout), /^WHO=runtime$/m);
  t.is(tryToBecome('/bin/false', '').status, 1);
});

test('who cannot become another program for sure comes back', (t) => {
  const directory = temporaryDirectory(t);
  const write = (name: string, content: Buffer | string, mode = 0o755): string => {
    const file = path.join(directory, name);
    fs.writeFileSync(file, content, { mode });
    // Long ago, as far as the times of a file can be set.
    fs.utimesSync(file, 0, 0);
    return file;
  };
  const cat = fs.readFileSync('/bin/cat');
  const foreign = Buffer.from(cat);
  foreign.writeUInt16LE(cat.readUInt16LE(18) + 1, 18);
  const files = {
    'not there': path.join(directory, 'absent'),
    'not to be executed': write('plain', cat, 0o644),
    'a script': write('script', '#!/bin/cat\n'),
    'of another machine': write('foreign', foreign),
    'written to just now': write('new', cat),
    'a directory': directory,
  };
  for (const [what, file] of Object.entries(files)) {
    const { status, stdout, stderr } = tryToBecome(file, 'x');
    t.deepEqual({ status, stdout, stderr }, { status: 0, stdout: 'came back\n', stderr: '' }, what);
  }
  t.is(tryToBecome('/bin/cat', 'x'.repeat(4097)).stdout, 'came back\n', 'more than a pipe takes');
  const stdin = fs.openSync(write('stdin', '{}'), 'r');
  t.teardown(() => fs.closeSync(stdin));
  t.is(tryToBecome('/bin/cat', stdin).stdout, 'came back\n', 'stdin is a file');
});
