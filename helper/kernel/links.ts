// Network devices: list, find, create a veth pair, change, delete.

import { FlagsNew } from 'netlink/dist/constants.js';
import {
  RTM_DELLINK,
  RTM_GETLINK,
  RTM_NEWLINK,
  decodeFarCounter,
  decodeLink,
  encodeFarQuery,
  encodeLinkChange,
  encodeLinkQuery,
  encodePair,
} from '../wire/link-message.ts';
import type { FarCounter, Link, PairKind } from '../wire/link-message.ts';
import { KernelError, unlessRefused } from '../wire/errors.ts';
import type { NetNamespace } from './netns.ts';
import type { RtRequest, RtSocket } from './rtnetlink.ts';

export type { Link } from '../wire/link-message.ts';

/** A pair to create. */
export interface Pair {
  /** Name of the end in the socket's namespace. */
  readonly name: string;
  /** Alias of that end. */
  readonly alias?: string;
  /** Of both ends, in bytes. */
  readonly mtu: number;
  readonly mac?: string;
  readonly peer: {
    readonly name: string;
    readonly mac?: string;
    /** Where the other end is born; the socket's namespace when absent. */
    readonly netns?: NetNamespace;
  };
  /** Transmit and receive queues of both ends; one when absent. */
  readonly numTxQueues?: number;
}

/** What changeLink changes; what is absent stays as it is. */
export interface LinkChange {
  readonly up?: boolean;
  /** In bytes. */
  readonly mtu?: number;
  readonly name?: string;
  /** Empty text removes the alias. */
  readonly alias?: string;
  /** Largest GSO packet in bytes. */
  readonly gsoMaxSizeBytes?: number;
  readonly gsoMaxSegs?: number;
  readonly gsoIpv4MaxSizeBytes?: number;
  /** Moves the device; it arrives switched off unless `up` is true. */
  readonly netns?: NetNamespace;
}

/** All devices of the socket's namespace. */
export function listLinks(rt: RtSocket, retries?: number): Promise<Link[]> {
  const payload = encodeLinkQuery({});
  const request = { operation: 'list links', type: RTM_GETLINK, payload };
  return rt.dump({ ...request, ...(retries !== undefined && { retries }) }, decodeLink);
}

/** One device, or undefined when there is none of this name or index. */
export function findLink(
  rt: RtSocket,
  by: { readonly name: string } | { readonly index: number },
): Promise<Link | undefined> {
  const operation = 'name' in by ? `find link "${by.name}"` : `find link ${by.index}`;
  const request = { operation, type: RTM_GETLINK, payload: encodeLinkQuery(by) };
  return unlessRefused(['ENODEV'], rt.get(request, decodeLink), undefined);
}

/** A device of another namespace, by what the socket's namespace calls that one. */
export interface FarDevice {
  readonly netnsId: number;
  readonly index: number;
}

/**
 * What a device of another namespace has received; undefined when there is none of this index, or
 * no such namespace any more. Takes CAP_NET_ADMIN over that namespace; rejects with KernelError
 * EPERM otherwise.
 */
export function readFarCounter(rt: RtSocket, by: FarDevice): Promise<FarCounter | undefined> {
  const operation = `read the counters of link ${by.index} of namespace ${by.netnsId}`;
  const request = { operation, type: RTM_GETLINK, payload: encodeFarQuery(by) };
  return unlessRefused(['ENODEV', 'EINVAL'], rt.get(request, decodeFarCounter), undefined);
}

/**
 * Creates a veth pair, each end under its name in its namespace from the start. Rejects with
 * KernelError EEXIST when either name is taken; then nothing was created.
 */
export function createVethPair(rt: RtSocket, pair: Pair): Promise<void> {
  return createPair(rt, 'veth', pair);
}

/**
 * Creates a netkit pair of layer 3, which has no hardware addresses. Rejects with KernelError
 * ENOTSUP where there is none.
 */
export function createNetkitPair(rt: RtSocket, pair: Pair): Promise<void> {
  return createPair(rt, 'netkit', pair);
}

async function createPair(rt: RtSocket, kind: PairKind, pair: Pair): Promise<void> {
  const { name, peer, mtu, numTxQueues, alias } = pair;
  const queues = { numTxQueues, numRxQueues: numTxQueues };
  const operation = `create link "${name}" with peer "${peer.name}"`;
  // The sequel would name what is there.
  if (alias !== undefined && (await findLink(rt, { name })) !== undefined)
    throw new KernelError(operation, 'EEXIST', `there is a link "${name}"`);
  await rt.execute({
    operation,
    type: RTM_NEWLINK,
    flags: FlagsNew.CREATE | FlagsNew.EXCL,
    payload: encodePair(
      kind,
      { name, mac: pair.mac, mtu, ...queues },
      { name: peer.name, mac: peer.mac, mtu, ...queues, netnsFd: peer.netns?.fd },
    ),
    ...(alias !== undefined && { sequel: aliasChange(name, alias) }),
  });
  if (alias !== undefined) await nameAlias(rt, name, alias);
}

/**
 * The kernel takes no alias while it creates a device: a second message. It goes by the same call,
 * so that no pair is without, whenever the process is killed.
 */
function aliasChange(name: string, alias: string): Pick<RtRequest, 'type' | 'payload'> {
  return { type: RTM_NEWLINK, payload: encodeLinkChange(0, { name, alias }) };
}

/**
 * Removes a device, and with one end of a pair the other. Rejects with KernelError ENODEV when it
 * is gone.
 */
export function deleteLink(rt: RtSocket, index: number): Promise<void> {
  return rt.execute({
    operation: `delete link ${index}`,
    type: RTM_DELLINK,
    payload: encodeLinkChange(index, {}),
  });
}

/** Changes a device. Rejects with KernelError ENODEV when it is gone. */
export function changeLink(rt: RtSocket, index: number, change: LinkChange): Promise<void> {
  const { netns, ...attributes } = change;
  return rt.execute({
    operation: `change link ${index}`,
    type: RTM_NEWLINK,
    payload: encodeLinkChange(index, { ...attributes, netnsFd: netns?.fd }),
  });
}

/** Whether a sequel was refused is not told: it is asked for again, and without it no pair. */
async function nameAlias(rt: RtSocket, name: string, alias: string): Promise<void> {
  try {
    await rt.execute({
      operation: `set alias "${alias}" of link "${name}"`,
      ...aliasChange(name, alias),
    });
  } catch (error) {
    const payload = encodeLinkChange(0, { name });
    await rt.execute({ operation: `delete link "${name}"`, type: RTM_DELLINK, payload });
    throw error;
  }
}
