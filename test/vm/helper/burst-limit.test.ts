// The limit of what may wait for a qdisc's lock, since Linux 6.19: raised while podpace is there,
// on the machine's own network namespace, which a VM has for itself.

import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { PODPACED } from '../../bed/helper.ts';
import { makeHelperDirectories, startOwnHelper, type TestHelper } from '../../kit/helper.ts';

const FILE = '/proc/sys/net/core/qdisc_max_burst';
/** Of the kernel: `sysctl net.core.qdisc_max_burst` on a fresh boot of 7.3. */
const DEFAULT = '1000';
/** \`limit\` of podpace's fq. */
const RAISED = '1000000';

const limit = (): string => fs.readFileSync(FILE, 'utf8').trim();

/** The machine's own namespace by a name. */
function nameMachine(t: ExecutionContext): { readonly name: string } {
  const name = `pp-${process.pid}-machine`;
  t.teardown(() => execFileSync('ip', ['netns', 'delete', name]));
  execFileSync('ip', ['netns', 'attach', name, String(process.pid)]);
  return { name };
}

/** A podpaced that finds /proc/sys read-only, as in a container without privileges. */
function withoutSysctls(t: ExecutionContext): string {
  const script = path.join('/tmp', `pp-${process.pid}-without-sysctls`);
  t.teardown(() => fs.rmSync(script));
  const commands = [
    'mount --bind /proc/sys /proc/sys',
    'mount -o remount,bind,ro /proc/sys',
    `exec ${PODPACED} "$@"`,
  ];
  const inside = `unshare --mount sh -c '${commands.join(' && ')}' sh "$@"`;
  fs.writeFileSync(script, `#!/bin/sh\nexec ${inside}\n`, { mode: 0o700 });
  return script;
}

async function uninstall(helper: TestHelper): Promise<void> {
  await helper.ask('uninstall', { forget: true });
  await helper.end('SIGTERM');
}

test.serial('it is raised where it is the kernel\u2019s, and given back', async (t) => {
  t.timeout(300_000);
  if (!fs.existsSync(FILE)) {
    t.pass('this kernel has no such limit');
    return;
  }
  const machine = nameMachine(t);
  t.is(limit(), DEFAULT);
  const first = await startOwnHelper(t, machine, makeHelperDirectories(t));
  t.is(limit(), RAISED);
  t.notRegex((await first.ask('status', {})).notices.join('\n'), /qdisc_max_burst/);
  await uninstall(first);
  t.is(limit(), DEFAULT);

  t.teardown(() => fs.writeFileSync(FILE, DEFAULT));
  fs.writeFileSync(FILE, '2000');
  const second = await startOwnHelper(t, machine, makeHelperDirectories(t));
  t.is(limit(), '2000');
  await uninstall(second);
  t.is(limit(), '2000');

  fs.writeFileSync(FILE, DEFAULT);
  const third = await startOwnHelper(t, machine, makeHelperDirectories(t), [], withoutSysctls(t));
  t.is(limit(), DEFAULT);
  const { notices } = await third.ask('status', {});
  t.regex(notices.join('\n'), /qdisc_max_burst is 1000 .*set it to 1000000/);
  await uninstall(third);
});
