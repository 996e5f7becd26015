import test from 'ava';
import { capture, CommandError, succeeds } from '../../../../scripts/lib/process.ts';

test('captured output comes back, and every line as it comes', async (t) => {
  const lines: string[] = [];
  const output = await capture('sh', ['-c', 'echo one; echo two >&2'], {
    onLine: (line) => lines.push(line),
  });
  t.is(output, 'one\n');
  t.deepEqual(lines.toSorted(), ['one', 'two']);
});

test('a failure names the command, its status and the end of its stderr', async (t) => {
  const failing = capture('sh', ['-c', 'echo out; echo first >&2; echo last >&2; exit 3']);
  const error = await t.throwsAsync(failing, { instanceOf: CommandError });
  t.is(error.status, 3);
  t.is(error.outputTail, 'first\nlast');
  t.regex(error.message, /^Cannot run sh -c .*: exit status 3\nfirst\nlast$/);
});

test('a command that a signal ended has no status; neither has one that is not there', async (t) => {
  const killed = await t.throwsAsync(capture('sh', ['-c', 'kill -TERM $$']), {
    instanceOf: CommandError,
  });
  t.is(killed.status, undefined);
  t.regex(killed.message, /ended by SIGTERM/);
  const absent = await t.throwsAsync(capture('no-such-command', []), { instanceOf: CommandError });
  t.regex(absent.message, /ENOENT/);
  t.false(await succeeds('no-such-command', []));
});

test('a command is asked to end, and has the time to take away what it made', async (t) => {
  const controller = new AbortController();
  const script = "trap 'echo gone; exit 3' TERM; echo ready; while :; do sleep 0.05; done";
  const lines: string[] = [];
  const onLine = (line: string): void => {
    lines.push(line);
    if (line === 'ready') controller.abort();
  };
  const running = capture('sh', ['-c', script], { onLine, signal: controller.signal });
  t.is((await t.throwsAsync(running, { instanceOf: CommandError })).status, 3);
  t.deepEqual(lines, ['ready', 'gone']);
});
