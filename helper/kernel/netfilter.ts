// What netfilter does to packets that are forwarded, as far as it can be told: nftables by its
// chains, iptables of the old kind by the tables that are loaded.

import fs from 'node:fs';
import { Protocol } from 'netlink/dist/constants.js';
import { decodeForwardChain, encodeChainsQuery, NFT_GETCHAIN } from '../wire/nftables-message.ts';
import { hasErrno, unlessErrno } from '../wire/errors.ts';
import { openRtHere } from './open-rt.ts';
import type { RtSocket } from './rtnetlink.ts';

/**
 * Chains that forwarded packets pass in the calling thread's namespace, each as `ip nat POSTROUTING
 * (nat)`.
 */
export async function forwardChains(): Promise<string[]> {
  return [...(await nftablesChains()), ...iptablesTables()];
}

async function nftablesChains(): Promise<string[]> {
  let socket: RtSocket | undefined;
  try {
    socket = openRtHere(Protocol.NETFILTER);
    const request = {
      operation: 'list nftables chains',
      type: NFT_GETCHAIN,
      payload: encodeChainsQuery(),
    };
    const chains = await socket.dump(request, decodeForwardChain);
    return chains.map(({ name, type, hook }) => `${name} (${type}, ${hook})`);
  } catch (error) {
    // A kernel without nftables has no chains.
    if (hasErrno(error, 'EPROTONOSUPPORT', 'ENOTSUP', 'EINVAL', 'ENOENT')) return [];
    throw error;
  } finally {
    socket?.close();
  }
}

/** Names of the tables in use, one on a line; the files are there when the modules are. */
function iptablesTables(): string[] {
  return ['ip', 'ip6'].flatMap((family) => {
    const file = `/proc/thread-self/net/${family}_tables_names`;
    const names = unlessErrno(['ENOENT'], () => fs.readFileSync(file, 'utf8')) ?? '';
    return names
      .split('\n')
      .filter((name) => name !== '')
      .map((name) => `${family}tables table ${name}`);
  });
}
