// A node of its own for a test of the CNI plugin: a network namespace that plays the node, others
// that play pods.

import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { nodeKernel, type Kernel } from '../../cni/wiring/kernel.ts';
import type { NetNamespace } from '../../helper/kernel/netns.ts';
import { makeNamespaces, namespaceName } from '../bed/namespaces.ts';
import { temporaryDirectory } from '../bed/temporary-directory.ts';
import type { Teardown } from '../bed/undo.ts';

/** Creates a named network namespace that is gone after the test; returns its path. */
export function makeNetnsFor(t: Teardown, role: string): string {
  const [netns = ''] = makeNamespaces(t, [namespaceName(role)]);
  return netns;
}

/** Deletes a namespace before its test is over. */
export function deleteNetns(netns: string): void {
  execFileSync('ip', ['netns', 'delete', path.basename(netns)]);
}

/** Runs `ip` in a namespace and returns what it printed. */
export function ip(netns: string, ...args: string[]): string {
  return execFileSync('ip', ['-n', path.basename(netns), ...args], { encoding: 'utf8' });
}

/** Runs a command in a namespace and returns its output; throws when it fails. */
export function inside(netns: string, file: string, ...args: string[]): string {
  return execFileSync('nsenter', [`--net=${netns}`, file, ...args], { encoding: 'utf8' });
}

/** Connects without asking any resolver, and prints why it could not. */
const CONNECT = `
  my ($address) = @ARGV;
  my $family = $address =~ /:/ ? AF_INET6 : AF_INET;
  my $bytes = inet_pton($family, $address);
  alarm 5;
  socket(my $socket, $family, SOCK_STREAM, 0) or die;
  connect($socket, $family == AF_INET6 ? pack_sockaddr_in6(9, $bytes) : pack_sockaddr_in(9, $bytes)) or print $!;
`;

/**
 * True when a packet from a namespace reaches the address: its TCP refuses the connection, and says
 * so at once.
 */
export function reaches(netns: string, address: string): boolean {
  const argv = [
    `--net=${netns}`,
    'perl',
    '-MSocket=:DEFAULT,inet_pton,pack_sockaddr_in6',
    '-e',
    CONNECT,
    address,
  ];
  return spawnSync('nsenter', argv, { encoding: 'utf8' }).stdout === 'Connection refused';
}

/** The kernel as a plugin sees it whose own namespace is `node`. */
export function kernelOfNode(node: NetNamespace): Kernel {
  return {
    ...nodeKernel,
    openSocket: (netns) => nodeKernel.openSocket(netns ?? node),
    writeSysctl: (name, value, netns) => nodeKernel.writeSysctl(name, value, netns ?? node),
  };
}

export interface TestNode {
  /** Path of the namespace that plays the node. */
  readonly netns: string;
  readonly kernel: Kernel;
  /** host-local's files. */
  readonly dataDir: string;
}

/** Makes a node without any device but lo. */
export function makeNode(t: Teardown): TestNode {
  const dataDir = temporaryDirectory(t);
  const netns = makeNetnsFor(t, 'node');
  ip(netns, 'link', 'set', 'lo', 'up');
  const open = nodeKernel.openNetns(netns);
  t.teardown(() => open.close());
  return { netns, kernel: kernelOfNode(open), dataDir };
}

/**
 * What a namespace holds, as lines. Without what the kernel adds by itself and takes a second to
 * settle.
 */
export async function describeNetns(netns: string): Promise<string[]> {
  const open = nodeKernel.openNetns(netns);
  const socket = nodeKernel.openSocket(open);
  try {
    const links = await nodeKernel.listLinks(socket);
    const addresses = await nodeKernel.listAddresses(socket);
    const routes = await nodeKernel.listRoutes(socket);
    return [...links, ...addresses, ...routes]
      .map((object) => JSON.stringify(object))
      .filter((line) => !/"(fe80::[0-9a-f]+:|fe80::\/64|ff00::)/.test(line));
  } finally {
    socket.close();
    open.close();
  }
}

/** What a node and its IPAM hold, to see that a command left nothing behind. */
export async function snapshot({
  netns,
  dataDir,
}: Pick<TestNode, 'netns' | 'dataDir'>): Promise<string> {
  const addresses = fs
    .readdirSync(dataDir, { recursive: true, encoding: 'utf8' })
    .filter((file) => /\d+\.\d+$|:/.test(file) && !file.includes('last_reserved_ip'))
    .toSorted();
  return [...(await describeNetns(netns)), ...addresses].join('\n');
}
