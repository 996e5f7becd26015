// One pod on a test's node, and calls of the plugin for it.

import type { ExecutionContext } from 'ava';
import type { JsonObject } from '../../cni/types.ts';
import { makeNetnsFor, makeNode, type TestNode } from './cni-node.ts';
import { callPlugin, cniVariables, type Answer, type Outcome, type PluginCall } from './plugin.ts';

/** A cap on egress, as containerd words it in all but the case of letters. */
export const BANDWIDTH = {
  ingressRate: 0,
  ingressBurst: 0,
  egressRate: 10_000_000,
  egressBurst: 4294967295,
};

export const V4 = { ranges: [{ subnet: '10.91.0.0/24' }], routes: [{ dst: '0.0.0.0/0' }] };
export const V6 = { ranges: [{ subnet: 'fd91::/64' }], routes: [{ dst: '::/0' }] };
export const DUAL = { ranges: [...V4.ranges, ...V6.ranges], routes: [...V4.routes, ...V6.routes] };

/** Addresses and routes for host-local. */
export interface Addressing {
  readonly ranges: readonly JsonObject[];
  readonly routes: readonly JsonObject[];
}

export interface Pod {
  readonly node: TestNode;
  readonly sandbox: string;
  readonly config: JsonObject;
}

/** A network configuration of podpace as main plugin with host-local. */
export function hostLocalConfig(
  node: TestNode,
  { ranges, routes }: Addressing,
  more: JsonObject = {},
): JsonObject {
  return {
    cniVersion: '1.0.0',
    name: 'pods',
    type: 'podpace',
    ipam: {
      type: 'host-local',
      dataDir: node.dataDir,
      ranges: ranges.map((range) => [range]),
      routes,
    },
    ...more,
  };
}

/** A sandbox on a node of its own, not yet added. */
export function makePod(
  t: ExecutionContext,
  addressing: Addressing = V4,
  more: JsonObject = {},
): Pod {
  const node = makeNode(t);
  return { node, sandbox: makeNetnsFor(t, 'pod'), config: hostLocalConfig(node, addressing, more) };
}

/**
 * Calls the plugin for a pod, with more keys in its configuration and more variables in its
 * environment.
 */
export function call(
  pod: Pod,
  command: string,
  more: JsonObject = {},
  env: Readonly<Record<string, string>> = {},
  edges: Pick<PluginCall, 'kernel' | 'signal'> = {},
): Promise<Outcome> {
  return callPlugin({
    env: { PATH: process.env['PATH'] ?? '', ...cniVariables(command, pod.sandbox), ...env },
    stdin: { ...pod.config, ...more },
    kernel: pod.node.kernel,
    ...edges,
  });
}

/** Asserts success and returns what was printed. */
export async function succeed(t: ExecutionContext, outcome: Promise<Outcome>): Promise<Answer> {
  const { status, stdout, stderr, answer } = await outcome;
  t.is(status, 0, `${stdout}${stderr}`);
  return answer ?? {};
}

/** Asserts an error object with this code and a message that matches. */
export async function fail(
  t: ExecutionContext,
  outcome: Promise<Outcome>,
  code: number,
  text: RegExp,
): Promise<Answer> {
  const { status, stdout, answer } = await outcome;
  t.is(status, 1, stdout);
  t.is(answer?.code, code, stdout);
  t.regex(answer?.msg ?? '', text);
  return answer ?? {};
}
