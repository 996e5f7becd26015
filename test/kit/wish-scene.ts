// A node whose uplink refuses caps, since somebody's shaper is on it, and pods that are added to it
// by the built plugin under `onUnenforceable: allow`.

import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ExecutionContext } from 'ava';
import type { JsonObject } from '../../cni/types.ts';
import { PODPACED } from '../bed/helper.ts';
import { addUplink, makeHelperDirectories, wirePod, type HelperDirectories } from './helper.ts';
import { makeNetns, type TestNetns } from './netns.ts';
import { cniVariables } from './plugin.ts';

const PODPACE = path.join(path.dirname(PODPACED), 'podpace');
const WITHIN_MS = 30_000;

export interface WishScene {
  readonly node: TestNetns;
  readonly directories: HelperDirectories;
  readonly socket: string;
  /** Directory of the wishes. */
  readonly wishes: string;
}

/** With the uplink `uplink`, and no helper yet. */
export function makeWishScene(t: ExecutionContext): WishScene {
  t.timeout(300_000);
  const [node, peer, directories] = [makeNetns(t), makeNetns(t), makeHelperDirectories(t)];
  addUplink(node, peer, 'uplink', 1);
  const shaper = 'qdisc add dev uplink root tbf rate 1gbit burst 1mb latency 10ms';
  node.tc(...shaper.split(' '));
  const socket = path.join(directories.run, 'helper.sock');
  return { node, directories, socket, wishes: path.join(directories.run, 'wishes') };
}

/** A pod that another plugin has wired. */
export function makeWiredPod(t: ExecutionContext, { node }: WishScene, name: string): TestNetns {
  const sandbox = makeNetns(t);
  wirePod(node, sandbox, name);
  return sandbox;
}

/** How one call of the plugin ended. */
export interface Called {
  readonly status: number | null;
  readonly stderr: string;
  readonly stdout: string;
}

/**
 * Calls the plugin, chained, with a cap of 10 Mbit/s out of the pod, and more keys and variables.
 */
export function call(
  { node, socket }: WishScene,
  command: string,
  pod: TestNetns,
  more: JsonObject = {},
  env: Readonly<Record<string, string>> = {},
): Called {
  const config = {
    ...{ cniVersion: '1.1.0', name: 'pods', type: 'podpace', socket, onUnenforceable: 'allow' },
    ...{ egressRate: 10_000_000, egressBurst: 80_000 },
    prevResult: {
      cniVersion: '1.1.0',
      interfaces: [{ name: 'eth0', sandbox: `/run/netns/${pod.name}` }],
    },
    ...more,
  };
  const { status, stdout, stderr } = spawnSync(
    'nsenter',
    [`--net=/run/netns/${node.name}`, PODPACE],
    {
      env: {
        ...cniVariables(command, pod.netns.path),
        CNI_CONTAINERID: `c-${pod.name}`,
        ...env,
      },
      input: JSON.stringify(config),
      encoding: 'utf8',
    },
  );
  return { status, stdout, stderr };
}

/** Files of wishes. */
export function namesOf({ wishes }: WishScene): string[] {
  return fs.existsSync(wishes) ? fs.readdirSync(wishes).toSorted() : [];
}

/** Waits for a condition; the test fails when it does not come. */
export async function until(
  t: ExecutionContext,
  what: string,
  isSo: () => boolean | Promise<boolean>,
): Promise<void> {
  const endMs = performance.now() + WITHIN_MS;
  while (!(await isSo())) {
    if (performance.now() > endMs) return t.fail(`not within ${WITHIN_MS} ms: ${what}`);
    await sleep(100);
  }
}
