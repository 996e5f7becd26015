// DEL: takes away what ADD made, as much as there is of it. It may come without netns, prevResult,
// helper or valid caps, and any number of times.

import { hasCaps, parseCaps } from '../caps.ts';
import type { RtSocket } from '../../helper/kernel/rtnetlink.ts';
import { ipamType, socketOrDefault } from '../config.ts';
import { note, type Edges } from '../edges.ts';
import { findPlugin } from '../find-plugin.ts';
import { isOwnNetns, ownNetnsError } from '../own-netns.ts';
import { forgetUncapped, mayBeAttached } from '../remains.ts';
import type { Invocation } from '../skel.ts';
import { hostInterfaceAlias } from '../wiring/alias.ts';
import type { Kernel } from '../wiring/kernel.ts';

/** DEL must not keep a pod from going. */
const DETACH_DEADLINE_MS = 3_000;

/**
 * False only when the configuration says so clearly: then nobody misses a helper that is not there.
 */
function mayHaveCaps(call: Invocation): boolean {
  try {
    return hasCaps(parseCaps(call.config));
  } catch {
    return true;
  }
}

/**
 * What is left counts and not the caps, since a runtime need not repeat them in DEL. A failure of
 * the helper does not keep the pod from going: it drops what belongs to interfaces that are gone.
 */
async function detachBestEffort(edges: Edges, call: Invocation): Promise<void> {
  const socket = socketOrDefault(call.config);
  if (!mayBeAttached(socket, call)) return;
  const { HelperError } = await import('../../helper/protocol/client.ts');
  const { detach } = await import('../detach.ts');
  try {
    await detach(edges, call, socket, DETACH_DEADLINE_MS);
  } catch (error) {
    const isExpected = error instanceof HelperError && error.isAbsent && !mayHaveCaps(call);
    if (!isExpected) note(edges, `${(error as Error).message} (DEL goes on)`);
  }
}

/** The record of a pod that was added without a cap; the helper has no part in it. */
function forgetRecord(edges: Edges, call: Invocation): void {
  try {
    forgetUncapped(socketOrDefault(call.config), call);
  } catch (error) {
    note(edges, `${(error as Error).message} (DEL goes on)`);
  }
}

/** Runs `use` with a socket in the node's namespace. */
async function onNode(
  edges: Edges,
  use: (kernel: Kernel, node: RtSocket) => Promise<unknown>,
): Promise<void> {
  await leavingNoAddons(edges, async () => {
    const kernel = await edges.loadKernel();
    const node = kernel.openSocket();
    try {
      await use(kernel, node);
    } finally {
      node.close();
    }
  });
}

/** After `podpaced uninstall` pods still go, and each would unpack the addons again. */
async function leavingNoAddons(edges: Edges, use: () => Promise<unknown>): Promise<void> {
  try {
    await use();
  } finally {
    const { removeOwnAddons } = await import('../../helper/kernel/assets.ts');
    try {
      removeOwnAddons();
    } catch (error) {
      note(edges, `Cannot remove the addons again: ${(error as Error).message}`);
    }
  }
}

async function deletePairIfThere(edges: Edges, call: Invocation): Promise<void> {
  if (!edges.mayHaveInterface(hostInterfaceAlias(call))) return;
  const { deletePair } = await import('../wiring/pair.ts');
  await onNode(edges, (kernel, node) => deletePair(kernel, node, call));
}

/**
 * The pod may be older than podpace: where the list had the bandwidth plugin in its place, nobody
 * else removes the ifb. Its qdiscs at the host interface go with that.
 */
async function deleteFormerIfbIfThere(edges: Edges, call: Invocation): Promise<void> {
  if (!(await edges.mayHaveFormerIfb(call))) return;
  const { deleteFormerIfb } = await import('../wiring/former-ifb.ts');
  await onNode(edges, (kernel, node) => deleteFormerIfb(kernel, node, call));
}

/** An ipam that cannot be read got no pod as far as IPAM, so there is no address to release. */
function ipamTypeOrNote(edges: Edges, call: Invocation): string | undefined {
  try {
    return ipamType(call.config);
  } catch (error) {
    note(edges, `${(error as Error).message} (DEL goes on without IPAM)`);
    return undefined;
  }
}

/**
 * Runs DEL. The link goes before its address, which could otherwise be given to another pod while
 * it is in use.
 */
export async function del(edges: Edges, call: Invocation): Promise<undefined> {
  // First, since podpaced could otherwise be told to cap the pod afterwards.
  forgetRecord(edges, call);
  await detachBestEffort(edges, call);
  await deleteFormerIfbIfThere(edges, call);
  const type = ipamTypeOrNote(edges, call);
  const isOwn = isOwnNetns(call);
  if (type !== undefined) {
    await deletePairIfThere(edges, call);
    const ipam = findPlugin(type, call.path);
    // It has the last word, unless the namespace has one too.
    if (!isOwn) edges.become(ipam, call.stdin);
    const { delegate } = await import('../ipam.ts');
    await leavingNoAddons(edges, () => delegate(edges, call, ipam, 'DEL'));
  }
  if (isOwn) throw ownNetnsError(call);
}
