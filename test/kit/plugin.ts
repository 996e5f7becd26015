// Runs the whole plugin inside the test's process, with every edge in the test's hands.

import { connect } from 'node:net';
import { commands } from '../../cni/commands/table.ts';
import type { Edges } from '../../cni/edges.ts';
import { runPlugin } from '../../cni/skel.ts';
import type { JsonObject } from '../../cni/types.ts';
import { nodeKernel, type Kernel } from '../../cni/wiring/kernel.ts';

/** How one call of the plugin ended. */
export interface Outcome {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
  /** stdout as JSON; undefined when it is empty. */
  readonly answer: Answer | undefined;
}

/** What the plugin may print: a result, an error, a version. */
export interface Answer {
  readonly cniVersion?: string;
  readonly code?: number;
  readonly msg?: string;
  readonly details?: string;
  readonly supportedVersions?: readonly string[];
  readonly interfaces?: readonly { name: string; mac?: string; mtu?: number; sandbox?: string }[];
  readonly ips?: readonly {
    version?: string;
    interface?: number;
    address: string;
    gateway?: string;
  }[];
  readonly routes?: readonly { dst: string; gw?: string }[];
  readonly dns?: JsonObject;
}

export interface PluginCall {
  readonly env?: Readonly<Record<string, string>>;
  /** An object is printed as JSON. */
  readonly stdin?: JsonObject | string | Buffer;
  readonly euid?: number;
  readonly kernel?: Kernel;
  readonly signal?: AbortSignal;
  /** Edges to replace. */
  readonly edges?: Partial<Edges>;
}

/** What a runtime says in the environment. */
export const cniVariables = (command: string, netns: string): Record<string, string> => ({
  ...{ CNI_COMMAND: command, CNI_CONTAINERID: 'c1', CNI_NETNS: netns },
  ...{ CNI_IFNAME: 'eth0', CNI_PATH: '/usr/lib/cni' },
});

function stdinBytes(stdin: PluginCall['stdin']): Buffer {
  if (Buffer.isBuffer(stdin)) return stdin;
  return Buffer.from(typeof stdin === 'string' ? stdin : JSON.stringify(stdin ?? {}));
}

/** Runs the plugin once. */
export async function callPlugin(call: PluginCall): Promise<Outcome> {
  let stdout = '';
  let stderr = '';
  const edges: Edges = {
    env: call.env ?? {},
    environment: () =>
      Object.entries(call.env ?? {}).map(([name, value]) => Buffer.from(`${name}=${value}`)),
    euid: call.euid ?? 0,
    readStdin: () => Promise.resolve(stdinBytes(call.stdin)),
    writeStdout: (text) => {
      stdout += text;
    },
    writeStderr: (text) => {
      stderr += text;
    },
    connect: (path) => Promise.resolve(connect({ path })),
    loadKernel: () => Promise.resolve(call.kernel ?? nodeKernel),
    // Of the test's node, which is another than the one that it runs on.
    mayHaveInterface: () => true,
    mayHaveFormerIfb: () => Promise.resolve(false),
    keepUncapped: () => Promise.resolve(),
    become: () => undefined,
    watchTermination: () => call.signal ?? new AbortController().signal,
    ...call.edges,
  };
  const status = await runPlugin(edges, commands, 'CNI podpace plugin version test');
  return {
    status,
    stdout,
    stderr,
    answer: stdout === '' ? undefined : (JSON.parse(stdout) as Answer),
  };
}
