// Children as the plugin starts them, beside what Node itself does for its own.

import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { Child, type Ending } from '../../../../helper/kernel/child.ts';
import { KernelError } from '../../../../helper/wire/errors.ts';
import { temporaryDirectory } from '../../../bed/temporary-directory.ts';

const PATH = Buffer.from('PATH=/usr/bin:/bin');
const NOTHING = Buffer.alloc(0);
const MIB = 1024 * 1024;

function script(t: ExecutionContext, text: string, mode = 0o755): string {
  const file = path.join(temporaryDirectory(t), 'program');
  fs.writeFileSync(file, text, { mode });
  return file;
}

interface Run {
  readonly ending: Ending;
  readonly stdout: Buffer;
  readonly stderr: Buffer;
}

async function collect(child: Child): Promise<Run> {
  const [stdout, stderr]: [Buffer[], Buffer[]] = [[], []];
  const ending = await child.end(
    (chunk) => stdout.push(chunk),
    (chunk) => stderr.push(chunk),
  );
  return { ending, stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr) };
}

function run(
  t: ExecutionContext,
  text: string,
  { env = [], stdin = NOTHING }: { env?: Buffer[]; stdin?: Buffer } = {},
): Promise<Run> {
  return collect(Child.start(script(t, `#!/bin/sh\n${text}\n`), [PATH, ...env], stdin));
}

/** Descriptors of this process, and its children that nobody has waited for. */
function held(): { readonly descriptors: number; readonly children: string } {
  return {
    descriptors: fs.readdirSync('/proc/self/fd').length,
    children: fs.readFileSync('/proc/thread-self/children', 'utf8'),
  };
}

test.serial('what a child is told and what it says', async (t) => {
  const before = held();
  const text = 'cat; echo told >&2; exit 7';
  const { ending, stdout, stderr } = await run(t, text, { stdin: Buffer.from([0, 255, 10]) });
  t.deepEqual(ending, { status: 7 });
  t.deepEqual(stdout, Buffer.from([0, 255, 10]));
  t.is(stderr.toString(), 'told\n');
  t.deepEqual(held(), before);
});

const REFUSED: readonly [what: string, file: (t: ExecutionContext) => string, errno: string][] = [
  ['is not there', () => '/nowhere/program', 'ENOENT'],
  ['is not executable', (t) => script(t, '#!/bin/sh\n', 0o644), 'EACCES'],
  ['is a directory', () => '/usr', 'EACCES'],
  ['lies below a file', () => '/etc/passwd/program', 'ENOTDIR'],
  ['is of no format', (t) => script(t, 'echo no\n'), 'ENOEXEC'],
  ['has an interpreter that is not there', (t) => script(t, '#!/nowhere/sh\n'), 'ENOENT'],
  ['holds a NUL', () => '/bin/true\0x', 'ENOENT'],
  ['has too long a name', () => `/${'x'.repeat(300)}`, 'ENAMETOOLONG'],
];

for (const [what, file, errno] of REFUSED) {
  test.serial(`a program that ${what}`, (t) => {
    const program = file(t);
    const before = held();
    const error = t.throws(() => Child.start(program, [PATH], NOTHING), {
      instanceOf: KernelError,
    });
    t.is(error.errno, errno);
    t.is(error.operation, `run ${program}`);
    t.deepEqual(held(), before);
  });
}

test.serial('a program that is being written', (t) => {
  const file = path.join(temporaryDirectory(t), 'program');
  fs.copyFileSync('/bin/true', file);
  const fd = fs.openSync(file, 'r+');
  t.teardown(() => fs.closeSync(fd));
  t.throws(() => Child.start(file, [PATH], NOTHING), { message: /: ETXTBSY$/ });
});

test('a child that kills itself, and one that is killed', async (t) => {
  t.deepEqual((await run(t, 'kill -9 $$')).ending, { signal: 'SIGKILL' });
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    const child = Child.start(script(t, '#!/bin/sh\nexec sleep 60\n'), [PATH], NOTHING);
    setTimeout(() => child.kill(signal), 20);
    t.deepEqual((await collect(child)).ending, { signal });
    // Its number may be another's by now.
    child.kill(signal);
  }
});

test('a megabyte each way at once, though nobody reads before all is written', async (t) => {
  const stdin = Buffer.alloc(MIB, 'x');
  const text = `head -c ${MIB} /dev/zero; head -c ${MIB} /dev/zero >&2; wc -c >&2`;
  const { ending, stdout, stderr } = await run(t, text, { stdin });
  t.deepEqual(ending, { status: 0 });
  t.is(stdout.length, MIB);
  t.is(stderr.toString('latin1', MIB), `${MIB}\n`);
});

test('stdin that nobody reads', async (t) => {
  const { ending, stdout } = await run(t, 'echo done', { stdin: Buffer.alloc(MIB) });
  t.deepEqual([ending, stdout.toString()], [{ status: 0 }, 'done\n']);
});

test('a child that goes on after its outputs, and outputs that go on after the child', async (t) => {
  const text = 'exec >&- 2>&-; sleep 0.1; exit 3';
  t.deepEqual((await run(t, text)).ending, { status: 3 });
  const { ending, stdout } = await run(t, '(sleep 0.1; echo late) & exit 4');
  t.deepEqual([ending, stdout.toString()], [{ status: 4 }, 'late\n']);
});

test("a child gets no descriptor but its three, and what is everybody's", async (t) => {
  const fd = fs.openSync('/etc/passwd', 'r');
  t.teardown(() => fs.closeSync(fd));
  const { stdout } = await run(t, 'ls /proc/self/fd');
  t.is(stdout.toString(), spawnSync('ls', ['/proc/self/fd'], { encoding: 'utf8' }).stdout);
});

test('a child ignores and blocks no signal', async (t) => {
  // Node itself ignores SIGPIPE. Signals 32 and 33 are the C library's own.
  const { stdout } = await run(t, 'grep -E "^Sig(Ign|Blk)" /proc/self/status');
  t.is(stdout.toString(), 'SigBlk:\t0000000000000000\nSigIgn:\t0000000180000000\n');
});

test('the environment byte for byte, and nothing else', async (t) => {
  const env = [
    Buffer.from('A=b=c'),
    Buffer.from([0x42, 0x3d, 0xff, 0x0a, 0x80]),
    Buffer.from('EMPTY='),
    Buffer.from('Ü=ß'),
  ];
  const { stdout } = await run(t, 'cat /proc/$$/environ', { env });
  const expected = Buffer.concat([PATH, ...env].flatMap((entry) => [entry, Buffer.alloc(1)]));
  t.deepEqual(stdout, expected);
  const empty = Child.start('/usr/bin/env', [], NOTHING);
  t.is((await collect(empty)).stdout.length, 0);
});

test.serial('signals and timers are heard of while a child runs, idle or busy', async (t) => {
  for (const text of ['sleep 1', 'while :; do echo x; done']) {
    const child = Child.start(script(t, `#!/bin/sh\n${text}\n`), [PATH], NOTHING);
    const heard = new Promise<void>((resolve) => process.once('SIGUSR2', resolve));
    setTimeout(() => process.kill(process.pid, 'SIGUSR2'), 20);
    void heard.then(() => child.kill('SIGKILL'));
    t.deepEqual((await collect(child)).ending, { signal: 'SIGKILL' });
  }
});

test.serial('ends of children are known where whoever started us ignores them', (t) => {
  const module = new URL('../../../../helper/kernel/child.ts', import.meta.url).href;
  const program = `
    const { Child } = await import('${module}');
    const nothing = () => undefined;
    const child = Child.start('/bin/false', [], Buffer.alloc(0));
    console.log(JSON.stringify(await child.end(nothing, nothing)));
  `;
  const node = [process.execPath, '--disable-warning=ExperimentalWarning', '--input-type=module'];
  const args = ['--ignore-signal=CHLD', ...node, '-e', program];
  t.is(spawnSync('env', args, { encoding: 'utf8' }).stdout, '{"status":1}\n');
});

test.serial("Node's own children end as ever beside them", async (t) => {
  await run(t, 'true');
  t.is(spawnSync('false').status, 1);
  const { spawn } = await import('node:child_process');
  const own = spawn('sleep', ['0.1']);
  const ended = new Promise((resolve) => own.once('exit', resolve));
  await run(t, 'sleep 0.2');
  t.is(await ended, 0);
});
