// WireGuard between two namespaces.

import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import type { ExecutionContext } from 'ava';
import { temporaryDirectory } from '../bed/temporary-directory.ts';
import { inNamespace } from '../bed/testbed.ts';

/** One end: path of its namespace, and the address of the other end. */
interface End {
  readonly netns: string;
  readonly remote: string;
}

/** Gives the devices of a name at both ends each other's keys. Their files go with the test. */
export function joinByWireguard(
  t: Pick<ExecutionContext, 'teardown'>,
  device: string,
  ends: readonly End[],
): void {
  const wg = (command: string, input = ''): string =>
    execFileSync('wg', [command], { input, encoding: 'utf8' }).trim();
  const secrets = ends.map(() => wg('genkey'));
  const folder = temporaryDirectory(t);
  for (const [side, { netns, remote }] of ends.entries()) {
    const keyFile = path.join(folder, `key${side}`);
    fs.writeFileSync(keyFile, secrets[side] ?? '', { mode: 0o600 });
    const own = ['listen-port', '51820', 'private-key', keyFile];
    const peer = ['peer', wg('pubkey', secrets[1 - side]), 'endpoint', `${remote}:51820`];
    const allowed = ['allowed-ips', '0.0.0.0/0'];
    execFileSync(...inNamespace(netns, 'wg', 'set', device, ...own, ...peer, ...allowed));
  }
}
