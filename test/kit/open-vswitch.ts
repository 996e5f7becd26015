// Open vSwitch of a test's own: its daemons with files in a folder of theirs, and a datapath in a
// namespace of the test's.

import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import type { ExecutionContext } from 'ava';
import { temporaryDirectory } from '../bed/temporary-directory.ts';
import { inNamespace } from '../bed/testbed.ts';
import type { TestNetns } from './netns.ts';

const SCHEMA = '/usr/share/openvswitch/vswitch.ovsschema';

/** Starts it in a namespace; gives back how to call ovs-vsctl. Ends with the test. */
export function startOpenVswitch(
  t: ExecutionContext,
  { netns }: TestNetns,
): (...args: readonly string[]) => void {
  execFileSync('modprobe', ['openvswitch']);
  const folder = temporaryDirectory(t);
  const at = (name: string): string => path.join(folder, name);
  const env = { ...process.env, OVS_RUNDIR: folder, OVS_LOGDIR: folder, OVS_DBDIR: folder };
  const run = (...command: readonly string[]): void => {
    execFileSync(...inNamespace(netns.path, ...(command as [string, ...string[]])), {
      ...{ env, stdio: ['ignore', 'ignore', 'pipe'] },
    });
  };
  const start = (name: string, ...args: readonly string[]): void => {
    run(
      name,
      ...args,
      '--detach',
      '--no-chdir',
      `--pidfile=${at(`${name}.pid`)}`,
      `--log-file=${at(`${name}.log`)}`,
    );
    t.teardown(
      () => void process.kill(Number(fs.readFileSync(at(`${name}.pid`), 'utf8')), 'SIGKILL'),
    );
  };
  run('ovsdb-tool', 'create', at('conf.db'), SCHEMA);
  start('ovsdb-server', at('conf.db'), `--remote=punix:${at('db.sock')}`);
  const vsctl = (...args: readonly string[]): void => {
    run('ovs-vsctl', `--db=unix:${at('db.sock')}`, '--timeout=60', ...args);
  };
  vsctl('--no-wait', 'init');
  start('ovs-vswitchd', `unix:${at('db.sock')}`);
  // The datapath of the kernel outlives the daemons.
  t.teardown(() => vsctl('--if-exists', 'del-br', 'br0'));
  return vsctl;
}
