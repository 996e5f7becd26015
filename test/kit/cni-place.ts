// The executables that rules are tried on, and how they are called: by environment and stdin.

import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import type { JsonObject } from '../../cni/types.ts';
import { projectRoot } from '../../scripts/lib/paths.ts';
import type { Call, Ending, Place, Role } from './cni-rule.ts';
import { cniVariables } from './plugin.ts';
import { endOf } from './run-program.ts';

export const PODPACE = path.join(projectRoot, 'dist/podpace');

/** Debian's containernetworking-plugins; others can be named to compare with another release. */
const PLUGINS = process.env['PODPACE_REFERENCE_PLUGINS'] ?? '/usr/lib/cni';

/** What podpace is compared with. */
export const REFERENCES: Readonly<Record<Role, string>> = {
  chained: path.join(PLUGINS, 'bandwidth'),
  main: path.join(PLUGINS, 'ptp'),
};

/** The node's end of the pod's pair, where another plugin has made it. */
export const HOST = 'host7';

/** A sandbox that is none. */
export const NO_SANDBOX = '/run/netns/pp-none';

/** As a runtime hands on what the plugin before has printed. */
export const previous = (sandbox: string = NO_SANDBOX): JsonObject => ({
  cniVersion: '1.0.0',
  interfaces: [{ name: HOST }, { name: 'eth0', sandbox }],
  ips: [{ address: '10.91.0.7/24', gateway: '10.91.0.1', interface: 1 }],
});

/** A place that knows what it is for. */
export interface CallPlace extends Place {
  readonly role: Role;
  /** Of the helper. */
  readonly socket: string;
  readonly containerId: string;
}

/** host-local with files of the place's own. */
export const hostLocal = ({ directory }: Pick<Place, 'directory'>): JsonObject => ({
  type: 'host-local',
  dataDir: path.join(directory, 'networks'),
  ranges: [[{ subnet: '10.91.0.0/24' }]],
  routes: [{ dst: '0.0.0.0/0' }],
});

/** The configuration that a runtime hands over unless a rule says otherwise. */
export function usualConfig(place: CallPlace): JsonObject {
  const { role, socket, sandbox } = place;
  return {
    ...{ cniVersion: '1.0.0', name: 'pods', type: path.basename(REFERENCES[role]), socket },
    ...(role === 'chained' ? { prevResult: previous(sandbox) } : { ipam: hostLocal(place) }),
  };
}

function stdinOf(place: CallPlace, { stdin, config = {} }: Call): string {
  if (stdin !== undefined) return stdin;
  const more = typeof config === 'function' ? config(place) : config;
  return JSON.stringify({ ...usualConfig(place), ...more });
}

function variablesOf(place: CallPlace, { command = 'ADD', env = {} }: Call) {
  const variables = {
    PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
    ...cniVariables(command, place.sandbox),
    CNI_CONTAINERID: place.containerId,
    CNI_PATH: `${place.directory}:${PLUGINS}`,
    ...env,
  };
  return Object.fromEntries(
    Object.entries(variables).filter(([, value]) => value !== undefined),
  ) as Record<string, string>;
}

/** Starts an executable on the place's node, with nothing else in its environment. */
export function startExecutable(file: string, place: CallPlace, call: Call) {
  // The process becomes the executable. A runtime gives it a pipe, where Node would give a socket.
  const argv = [`--net=${place.node}`, 'bash', '--norc', '-c', 'exec "$0" < <(cat)', file];
  const child = spawn('/usr/bin/nsenter', argv, {
    env: variablesOf(place, call),
    // What hangs fails, and does not stay.
    ...{ timeout: 60_000, killSignal: 'SIGKILL' },
  });
  // Not every command reads it.
  child.stdin.on('error', () => undefined);
  child.stdin.end(stdinOf(place, call));
  return child;
}

/** Calls an executable, and waits for its end. */
export async function callExecutable(file: string, place: CallPlace, call: Call): Promise<Ending> {
  const { code, ...output } = await endOf(startExecutable(file, place, call));
  return { status: code, ...output };
}

/** Has an IPAM plugin "scripted" stand in the place, which does on ADD what the script says. */
export function scriptIpam({ directory }: Place, onAdd: string, onOther = 'exit 0'): void {
  const text = `#!/bin/sh\n[ "$CNI_COMMAND" = ADD ] || { ${onOther}; }\n${onAdd}\n`;
  fs.writeFileSync(path.join(directory, 'scripted'), text, { mode: 0o755 });
}
