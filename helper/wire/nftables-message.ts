// NFT_MSG_GETCHAIN: struct nfgenmsg of linux/netfilter/nfnetlink.h, NFTA_CHAIN_* of
// linux/netfilter/nf_tables.h. Numbers in attributes are in network byte order.

import { AttributeTable, MessageFormat } from './attributes.ts';
import { Struct } from './struct.ts';

const NFNL_SUBSYS_NFTABLES = 10;
const NFT_MSG_GETCHAIN = 4;
export const NFT_GETCHAIN = (NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_GETCHAIN;

const CHAIN = new MessageFormat(
  new Struct('chain', { family: 'u8', version: 'u8', resource: 'u16' }),
  {
    table: [1, 'string'],
    name: [3, 'string'],
    hook: [4, new AttributeTable({ number: [1, 'be32'] })],
    policy: [5, 'be32'],
    rules: [6, 'be32'],
    type: [7, 'string'],
  },
);
const NF_DROP = 0;

/** NFPROTO_* that IP packets pass. */
const FAMILIES: Readonly<Record<number, string>> = { 1: 'inet', 2: 'ip', 10: 'ip6' };
/** NF_INET_* that forwarded packets pass. */
const FORWARD_HOOKS: Readonly<Record<number, string>> = {
  0: 'prerouting',
  2: 'forward',
  4: 'postrouting',
};

/** A chain that forwarded packets pass, and that does something to some of them. */
export interface ForwardChain {
  /** `nft list chain` takes it. */
  readonly name: string;
  readonly hook: string;
  /** `filter`, `nat`, `route`. */
  readonly type: string;
}

/** Asks for all chains of all families. */
export function encodeChainsQuery(): Buffer {
  return CHAIN.encode({});
}

/**
 * Undefined for a chain that forwarded packets do not pass, or that lets all pass. Throws
 * WireError.
 */
export function decodeForwardChain(payload: Buffer): ForwardChain | undefined {
  const chain = CHAIN.decode(payload);
  const family = FAMILIES[chain.family];
  const hook = FORWARD_HOOKS[chain.hook?.number ?? -1];
  const isEmpty = chain.rules === 0 && chain.policy !== NF_DROP;
  if (family === undefined || hook === undefined || isEmpty) return undefined;
  const name = `${family} ${chain.table} ${chain.name}`;
  return { name, hook, type: chain.type ?? 'filter' };
}
