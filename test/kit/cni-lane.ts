// Rules are tried in lanes, several at a time: each is a node with a sandbox that one plugin after
// the other finds as if nobody had been there before.

import { execFile } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import type { ExecutionContext } from 'ava';
import { temporaryDirectory } from '../bed/temporary-directory.ts';
import { makeNetnsFor } from './cni-node.ts';
import { HOST, NO_SANDBOX, type CallPlace } from './cni-place.ts';
import type { Place, Role, Rule } from './cni-rule.ts';

const run = promisify(execFile);

/** Runs `ip` in a namespace, and lets other calls go on meanwhile. */
async function ipIn(netns: string, ...words: string[]): Promise<string> {
  return (await run('ip', ['-n', path.basename(netns), ...words])).stdout;
}

interface ShownLink {
  readonly ifname: string;
  readonly linkinfo?: { readonly info_kind?: string };
}

/** Names of a namespace's devices that somebody has made; none where it is gone. */
export async function devicesIn(netns: string): Promise<string[]> {
  if (!fs.existsSync(netns)) return [];
  const shown = JSON.parse(await ipIn(netns, '-json', '-details', 'link')) as ShownLink[];
  return shown.filter(({ linkinfo }) => linkinfo !== undefined).map(({ ifname }) => ifname);
}

/** Addresses that host-local keeps in the place for a container. */
export function reservationsOf(directory: string, containerId?: string): string[] {
  const folder = path.join(directory, 'networks/pods');
  if (!fs.existsSync(folder)) return [];
  return fs
    .readdirSync(folder)
    .filter((name) => /^[0-9a-f]+[.:]/.test(name))
    .filter((name) => {
      const [owner] = fs.readFileSync(path.join(folder, name), 'utf8').split(/\s/);
      return containerId === undefined || owner === containerId;
    });
}

interface Tbf {
  readonly kind: string;
  /** Bytes per second, and bytes. */
  readonly options: { readonly rate: number; readonly burst: number };
}

/** The TBF that stands at the root of a device. */
export async function tbfOf(netns: string, device: string): Promise<Tbf | undefined> {
  const show = ['-json', 'qdisc', 'show', 'dev', device, 'root'];
  const { stdout } = await run('tc', ['-n', path.basename(netns), ...show]);
  const [qdisc] = JSON.parse(stdout) as [Tbf?];
  return qdisc?.kind === 'tbf' ? qdisc : undefined;
}

/** The caps that the reference plugin has put in force, bit/s: by TBFs, into and out of the pod. */
export async function tbfCaps({ node }: Place): Promise<{ egress?: number; ingress?: number }> {
  const ifb = (await devicesIn(node)).find((name) => name.startsWith('bwp'));
  const ingress = await tbfOf(node, HOST);
  const egress = ifb === undefined ? undefined : await tbfOf(node, ifb);
  return {
    ...(egress && { egress: egress.options.rate * 8 }),
    ...(ingress && { ingress: ingress.options.rate * 8 }),
  };
}

let made = 0;

/** One lane. */
export class Lane {
  readonly #t: ExecutionContext;
  readonly #node: string;
  readonly #sandbox: string;
  #isUsed = false;

  constructor(t: ExecutionContext) {
    this.#t = t;
    this.#node = makeNetnsFor(t, 'node');
    this.#sandbox = makeNetnsFor(t, 'pod');
  }

  /** Makes a place for a rule, in which nobody has been. */
  async placeFor(
    { role, hasPod }: Pick<Rule, 'role' | 'hasPod'>,
    socket: string,
  ): Promise<CallPlace> {
    if (this.#isUsed) await this.#clear();
    if (hasPod) await this.#prepare(role);
    this.#isUsed = hasPod;
    made += 1;
    return {
      ...{ role, socket, containerId: `c${made}`, result: undefined },
      ...{ node: this.#node, sandbox: hasPod ? this.#sandbox : NO_SANDBOX },
      directory: temporaryDirectory(this.#t),
    };
  }

  async #clear(): Promise<void> {
    for (const name of await devicesIn(this.#node)) await ipIn(this.#node, 'link', 'delete', name);
  }

  async #prepare(role: Role): Promise<void> {
    const name = path.basename(this.#sandbox);
    if (!fs.existsSync(this.#sandbox)) await run('ip', ['netns', 'add', name]);
    if (role === 'main') return;
    const peer = ['peer', 'eth0', 'netns', name];
    await ipIn(this.#node, 'link', 'add', HOST, 'up', 'type', 'veth', ...peer);
  }
}
