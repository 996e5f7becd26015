// GC: removes what belongs to attachments that are gone, as much as possible, and reports what went
// wrong at the end.

import fs from 'node:fs';
import path from 'node:path';
import { askHelper, HelperError } from '../../helper/protocol/client.ts';
import { ipamType, socketOrDefault, validAttachments, type ValidAttachment } from '../config.ts';
import { note, type Edges } from '../edges.ts';
import { combine } from '../failure.ts';
import { findPlugin } from '../find-plugin.ts';
import type { Invocation } from '../skel.ts';
import { keyOf, type AttachmentKey, type GcParams } from '../../helper/protocol/messages.ts';
import { UNCAPPED, WISHES } from '../../helper/protocol/state-files.ts';

const GC_DEADLINE_MS = 10_000;

/**
 * Attachments in one request: a message has 64 KiB, and an attachment seldom more than 120 bytes.
 */
const PART_LENGTH = 200;

/**
 * The list in parts that fit into messages, each for a range of keys; together they cover every
 * key.
 */
export function partsOf(valid: readonly AttachmentKey[]): Omit<GcParams, 'network'>[] {
  const sorted = valid
    .map((key) => [keyOf(key), key] as const)
    .toSorted(([a], [b]) => (a < b ? -1 : 1));
  const starts = Array.from(
    { length: Math.max(1, Math.ceil(sorted.length / PART_LENGTH)) },
    (_, part) => part * PART_LENGTH,
  );
  return starts.map((start) => {
    const end = start + PART_LENGTH;
    const [from, to] = [start === 0 ? undefined : sorted[start]?.[0], sorted[end]?.[0]];
    const part = sorted
      .slice(start, end)
      .map(([, { containerId, ifname }]) => ({ containerId, ifname }));
    return {
      valid: part,
      ...(from !== undefined && { from }),
      ...(to !== undefined && { to }),
    };
  });
}

async function collectAtHelper(
  edges: Edges,
  call: Invocation,
  valid: readonly ValidAttachment[],
): Promise<void> {
  const { network, config } = call;
  try {
    for (const part of partsOf(valid)) {
      await askHelper(
        edges,
        socketOrDefault(config),
        'gc',
        { network, ...part },
        { deadlineMs: GC_DEADLINE_MS },
      );
    }
  } catch (error) {
    // A node whose pods have no caps needs no helper.
    if (!(error instanceof HelperError && error.isAbsent)) throw error;
    note(edges, `${error.message} (GC goes on)`);
  }
}

/** Wishes, or records of pods without a cap. Nothing is loaded where there are none. */
async function collectFiles(
  kind: typeof WISHES | typeof UNCAPPED,
  { network, config }: Invocation,
  valid: readonly ValidAttachment[],
): Promise<void> {
  const socket = socketOrDefault(config);
  if (!fs.existsSync(path.join(path.dirname(socket), kind))) return;
  const { WishFiles } = await import('../../helper/control/wish-files.ts');
  const { UncappedFiles } = await import('../../helper/control/uncapped-files.ts');
  const files = kind === WISHES ? new WishFiles(socket) : new UncappedFiles(socket);
  files.keepOnly(network, valid);
}

async function collectPairs(
  edges: Edges,
  call: Invocation,
  valid: readonly ValidAttachment[],
): Promise<void> {
  const { deleteStrayPairs } = await import('../wiring/pair.ts');
  const kernel = await edges.loadKernel();
  const node = kernel.openSocket();
  try {
    const removed = await deleteStrayPairs(kernel, node, call.network, valid);
    if (removed.length > 0) note(edges, `GC removed stray host interfaces ${removed.join(', ')}`);
  } finally {
    node.close();
  }
}

async function collectAtIpam(edges: Edges, call: Invocation, type: string): Promise<void> {
  const { delegate } = await import('../ipam.ts');
  await delegate(edges, call, findPlugin(type, call.path), 'GC');
}

/**
 * Runs GC. Without the list of those that live, nothing of ours is taken for stale; IPAM decides
 * for itself.
 */
export async function gc(edges: Edges, call: Invocation): Promise<undefined> {
  const valid = validAttachments(call.config);
  const type = ipamType(call.config);
  const steps: (() => Promise<void>)[] = [];
  if (valid !== undefined) {
    steps.push(
      () => collectFiles(WISHES, call, valid),
      () => collectFiles(UNCAPPED, call, valid),
      () => collectAtHelper(edges, call, valid),
    );
  }
  if (valid !== undefined && type !== undefined) steps.push(() => collectPairs(edges, call, valid));
  if (type !== undefined) steps.push(() => collectAtIpam(edges, call, type));
  const errors: Error[] = [];
  for (const step of steps) await step().catch((error: unknown) => errors.push(error as Error));
  const error = combine(errors);
  if (error !== undefined) throw error;
}
