// A systemd of the test's own: process 1 of namespaces that end with it. It starts the unit of
// conf/ and nothing of the machine's.

import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import type { ExecutionContext } from 'ava';
import { PODPACED } from '../bed/helper.ts';
import type { TestNetns } from './netns.ts';

const UNIT = path.resolve(import.meta.dirname, '../../conf/podpaced.service');
const SYSTEMD = '/usr/lib/systemd/systemd';
/** The hierarchies that systemd wants of control groups of version 1. */
const GROUPS = { named: '/sys/fs/cgroup/systemd', unified: '/sys/fs/cgroup/unified' };

/** Why none can be started here; undefined where one can. */
export function systemdRefusal(): string | undefined {
  if (!fs.existsSync(SYSTEMD)) return 'no systemd on this machine';
  const missing = Object.values(GROUPS).find((group) => !fs.existsSync(`${group}/cgroup.procs`));
  return missing === undefined ? undefined : `no control groups at ${missing}`;
}

export interface OwnSystemd {
  /** What a command prints that is run beside it, whatever it ends with. */
  readonly run: (command: string) => Promise<string>;
  /** A property of the service, as `systemctl show` has it. */
  readonly property: (name: string) => Promise<string>;
  /** What podpaced wrote. */
  readonly log: () => string;
}

/**
 * Makes what it takes, and becomes systemd. The unit is as it is shipped, with settings of the
 * test's; alone, so that none of the machine's comes with it.
 */
function script(directory: string): string {
  const units = '/etc/systemd/system';
  return `set -e
mount --make-rprivate /
mount -t proc proc /proc
mkdir ${directory}/netns
mount --rbind /run/netns ${directory}/netns
mount -t tmpfs -o mode=755 run /run
mkdir /run/netns
mount --move ${directory}/netns /run/netns
umount /sys/fs/bpf
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=755 groups /sys/fs/cgroup
mkdir ${GROUPS.named} ${GROUPS.unified}
mount -t cgroup -o none,name=systemd cgroup ${GROUPS.named}
mount -t cgroup2 cgroup2 ${GROUPS.unified}
mount -t tmpfs -o mode=755 units ${units}
mkdir ${units}/podpaced.service.d
cp ${UNIT} ${units}/
cp ${directory}/test.conf ${units}/podpaced.service.d/
exec env -i container=lxc PATH="$PATH" ${SYSTEMD} --system --unit=podpaced.service --log-target=null --show-status=no
`;
}

function childOf(pid: number): string {
  return fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
}

/** Control groups of its own, in which the shell that asks for them is. */
function makeGroups(t: Pick<ExecutionContext, 'teardown'>, name: string): string {
  const groups = Object.values(GROUPS).map((group) => path.join(group, name));
  for (const group of groups) fs.mkdirSync(group);
  t.teardown(() => {
    for (const group of groups) removeGroup(group);
  });
  return groups.map((group) => `echo $$ > ${group}/cgroup.procs`).join('; ');
}

function removeGroup(group: string): void {
  for (const entry of fs.readdirSync(group, { withFileTypes: true }))
    if (entry.isDirectory()) removeGroup(path.join(group, entry.name));
  fs.rmdirSync(group);
}

/**
 * Starts one on a node; `flags` are further ones of `podpaced run`, `settings` further lines of
 * [Service].
 */
export function startSystemd(
  t: Pick<ExecutionContext, 'teardown'>,
  node: Pick<TestNetns, 'name'>,
  flags: readonly string[],
  settings: readonly string[] = [],
): OwnSystemd {
  const directory = fs.mkdtempSync(`/tmp/pp-${process.pid}-systemd-`);
  const log = path.join(directory, 'log');
  const own = [
    ...['[Unit]', 'DefaultDependencies=no', '[Service]', `StandardError=append:${log}`],
    ...['ExecStart=', `ExecStart=${PODPACED} run --mount-bpffs ${flags.join(' ')}`],
    ...[...settings, ''],
  ];
  fs.writeFileSync(path.join(directory, 'test.conf'), own.join('\n'));
  const spaces = ['pid', 'mount', 'cgroup', 'uts', 'ipc'].map((one) => `--${one}`);
  const enter = `nsenter --net=/run/netns/${node.name} unshare ${spaces.join(' ')}`;
  const groups = makeGroups(t, path.basename(directory));
  const command = `${groups}; exec ${enter} --fork --kill-child bash -c "$0"`;
  const child = spawn('bash', ['-c', command, script(directory)], { stdio: 'ignore' });
  const ended = once(child, 'exit');
  t.teardown(async () => {
    // Process 1 of the others: unshare ends when all of them have.
    if (child.exitCode === null) process.kill(Number(childOf(child.pid ?? 0)), 'SIGKILL');
    await ended;
    fs.rmSync(directory, { recursive: true });
  });
  const run = (inside: string): Promise<string> =>
    new Promise((resolve) => {
      const spacesOf = ['--mount', '--pid', '--net', '--cgroup'];
      const args = ['--target', childOf(child.pid ?? 0), ...spacesOf, 'sh', '-c', inside];
      execFile('nsenter', args, (_error, stdout, stderr) => resolve(stdout + stderr));
    });
  return {
    run,
    property: async (name) => (await run(`systemctl show --value -p ${name} podpaced`)).trim(),
    log: () => (fs.existsSync(log) ? fs.readFileSync(log, 'utf8') : ''),
  };
}
