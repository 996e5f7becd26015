// NFT_MSG_GETCHAIN: struct nfgenmsg of linux/netfilter/nfnetlink.h, NFTA_CHAIN_* of
// linux/netfilter/nf_tables.h. Numbers in attributes are in network byte order.

import { Attributes, requireLength } from './attributes.ts';

const NFNL_SUBSYS_NFTABLES = 10;
const NFT_MSG_GETCHAIN = 4;
export const NFT_GETCHAIN = (NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_GETCHAIN;

const NFGENMSG_BYTES = 4;
const NFTA_CHAIN_TABLE = 1;
const NFTA_CHAIN_NAME = 3;
const NFTA_CHAIN_HOOK = 4;
const NFTA_CHAIN_POLICY = 5;
const NFTA_CHAIN_USE = 6;
const NFTA_CHAIN_TYPE = 7;
const NFTA_HOOK_HOOKNUM = 1;
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
  return Buffer.alloc(NFGENMSG_BYTES);
}

/**
 * Undefined for a chain that forwarded packets do not pass, or that lets all pass. Throws
 * WireError.
 */
export function decodeForwardChain(payload: Buffer): ForwardChain | undefined {
  requireLength('chain', payload, NFGENMSG_BYTES);
  const attributes = Attributes.decode(payload.subarray(NFGENMSG_BYTES));
  const family = FAMILIES[payload.readUInt8(0)];
  const hook = FORWARD_HOOKS[number(attributes.nested(NFTA_CHAIN_HOOK), NFTA_HOOK_HOOKNUM) ?? -1];
  const isEmpty =
    number(attributes, NFTA_CHAIN_USE) === 0 && number(attributes, NFTA_CHAIN_POLICY) !== NF_DROP;
  if (family === undefined || hook === undefined || isEmpty) return undefined;
  const name = `${family} ${attributes.string(NFTA_CHAIN_TABLE)} ${attributes.string(NFTA_CHAIN_NAME)}`;
  return { name, hook, type: attributes.string(NFTA_CHAIN_TYPE) ?? 'filter' };
}

function number(attributes: Attributes | undefined, type: number): number | undefined {
  const bytes = attributes?.bytes(type);
  return bytes === undefined || bytes.length < 4 ? undefined : bytes.readUInt32BE();
}
