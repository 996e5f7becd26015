// Network namespaces for tests: made for one test, gone after it, also when it fails.

import { execFile, execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { ExecutionContext } from 'ava';
import { changeLink, createVethPair, findLink } from '../../helper/kernel/links.ts';
import { inNetns, openNetns } from '../../helper/kernel/netns.ts';
import type { NetNamespace } from '../../helper/kernel/netns.ts';
import { openRt } from '../../helper/kernel/open-rt.ts';
import type { RtSocket } from '../../helper/kernel/rtnetlink.ts';
import { writeSysctl } from '../../helper/kernel/sysctl.ts';
import { makeNamespaces, namespaceName } from '../bed/namespaces.ts';

/** A namespace with a netlink socket in it, and iproute2 as a witness of what is there. */
export interface TestNetns {
  readonly name: string;
  readonly netns: NetNamespace;
  readonly rt: RtSocket;
  /** Runs `ip -n NAME ARGUMENTS`. */
  readonly ip: (...args: string[]) => string;
  /** Runs several commands of `ip`, one line each, by one process. */
  readonly ipBatch: (...lines: string[]) => void;
  /** Runs `ip -n NAME -j ARGUMENTS` and gives its objects. */
  readonly ipJson: (...args: string[]) => Record<string, unknown>[];
  /** Runs `tc -n NAME ARGUMENTS`. */
  readonly tc: (...args: string[]) => string;
  /** Runs `tc -n NAME -j ARGUMENTS` and gives its objects. */
  readonly tcJson: (...args: string[]) => Record<string, unknown>[];
}

/** Many times what the kernel takes on a busy machine. */
const CARRIER_LIMIT_MS = 10_000;
/** What ip says of eight thousand devices. */
const MAX_OUTPUT_BYTES = 16 * 1024 * 1024;

/** Makes a namespace named after this process. */
export function makeNetns(t: Pick<ExecutionContext, 'teardown'>): TestNetns {
  const name = namespaceName();
  const run = (command: string, args: string[], input = ''): string =>
    execFileSync(command, args, {
      ...{ encoding: 'utf8', stdio: 'pipe', input },
      maxBuffer: MAX_OUTPUT_BYTES,
    });
  const [path = ''] = makeNamespaces(t, [name]);
  const netns = openNetns(path);
  t.teardown(() => netns.close());
  const rt = openRt(netns);
  t.teardown(() => rt.close());
  const json = (command: string, args: string[]): Record<string, unknown>[] =>
    JSON.parse(run(command, ['-n', name, '-j', ...args]) || '[]') as Record<string, unknown>[];
  return {
    name,
    netns,
    rt,
    ip: (...args) => run('ip', ['-n', name, ...args]),
    ipBatch: (...lines) => void run('ip', ['-n', name, '-batch', '-'], lines.join('\n')),
    ipJson: (...args) => json('ip', args),
    tc: (...args) => run('tc', ['-n', name, ...args]),
    tcJson: (...args) => json('tc', args),
  };
}

/** Runs `ip -batch` in a namespace; gives how long it took in milliseconds. */
export async function runBatch({ name }: TestNetns, lines: readonly string[]): Promise<number> {
  const startMs = performance.now();
  const running = promisify(execFile)('ip', ['-n', name, '-batch', '-']);
  running.child.stdin?.end(lines.join('\n'));
  await running;
  return performance.now() - startMs;
}

/**
 * Waits until the kernel tells of a device's carrier, up to a second after it is there: before a
 * picture of the node is taken that is to be compared with a later one.
 */
export async function waitForCarrier(node: TestNetns, device: string): Promise<void> {
  const deadlineMs = performance.now() + CARRIER_LIMIT_MS;
  while (node.ipJson('link', 'show', 'dev', device)[0]?.['operstate'] !== 'UP') {
    if (performance.now() > deadlineMs) throw new Error(`${device} has no carrier`);
    await sleep(20);
  }
}

/**
 * Makes a veth pair `left` and `right` in one namespace, both switched on; gives the index of
 * `left`. Without processes, which take a second each in a VM without KVM. Neither end gets a
 * link-local address by itself.
 */
export async function addPair({ rt, netns }: TestNetns, queues = 1): Promise<number> {
  await createVethPair(rt, {
    name: 'left',
    mtu: 1500,
    peer: { name: 'right' },
    numTxQueues: queues,
  });
  for (const name of ['left', 'right']) {
    inNetns(netns, () => writeSysctl(`net/ipv6/conf/${name}/addr_gen_mode`, '1'));
    await changeLink(rt, await indexOf(rt, name), { up: true });
  }
  return indexOf(rt, 'left');
}

async function indexOf(rt: RtSocket, name: string): Promise<number> {
  const link = await findLink(rt, { name });
  if (link === undefined) throw new Error(`Cannot find link "${name}"`);
  return link.index;
}

/** Descriptors that this process has open. */
export function openDescriptors(): number {
  return fs.readdirSync('/proc/self/fd').length;
}
