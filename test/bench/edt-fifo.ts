// The plain departure step on a node, for comparison: test/bpf/edt-fifo.bpf.c, and fq at its
// defaults.

import fs from 'node:fs';
import path from 'node:path';
import { updateElement } from '../../helper/kernel/bpf.ts';
import { ensureClsact, replaceBpfFilter } from '../../helper/kernel/filters.ts';
import { findLink } from '../../helper/kernel/links.ts';
import { inNetns, openNetns } from '../../helper/kernel/netns.ts';
import type { NetNamespace } from '../../helper/kernel/netns.ts';
import { replaceQdisc, TC_H_ROOT } from '../../helper/kernel/qdiscs.ts';
import { openRt } from '../../helper/kernel/open-rt.ts';
import type { RtSocket } from '../../helper/kernel/rtnetlink.ts';
import { createTcxLink, isTcxSupported } from '../../helper/kernel/tcx.ts';
import { buildBpfObject } from '../../scripts/lib/bpf-build.ts';
import { projectRoot } from '../../scripts/lib/paths.ts';
import { loadUnpinned, required } from '../bed/programs.ts';
import type { UndoStack } from '../bed/undo.ts';
import { UPLINK } from '../bed/uplink.ts';

/** Major 1: what `tc qdisc add ... root handle 1: mq` makes. */
const ROOT_HANDLE = 0x1_0000;

/** Compiles the programs, unless that has been done; returns the object's path. */
export function compileEdtFifo(): string {
  return buildBpfObject(path.join(projectRoot, 'test/bpf/edt-fifo.bpf.c'));
}

/** struct plain_aggregate of test/bpf/edt-fifo.bpf.c. */
export function encodePlainAggregate(rateBytesPerSec: number, lastNs = 0n): Buffer {
  const value = Buffer.alloc(16);
  value.writeBigUInt64LE(BigInt(rateBytesPerSec));
  value.writeBigUInt64LE(lastNs, 8);
  return value;
}

/** Key of the map plain_aggregates. */
export function encodePlainId(id: number): Buffer {
  const key = Buffer.alloc(4);
  key.writeUInt32LE(id);
  return key;
}

/** The plain step at work on a node. */
export interface EdtFifo {
  /** Holds what comes in on a host interface to a cap. */
  cap(hostInterface: string, capMbit: number): Promise<void>;
}

async function attach(
  rt: RtSocket,
  node: NetNamespace,
  place: {
    readonly ifindex: number;
    readonly hook: 'ingress' | 'egress';
    readonly programFd: number;
  },
  undo: UndoStack,
): Promise<void> {
  if (isTcxSupported()) {
    const link = inNetns(node, () => createTcxLink(place));
    undo.defer('close a tcx link', () => fs.closeSync(link));
    return;
  }
  await ensureClsact(rt, place.ifindex);
  await replaceBpfFilter(rt, { ...place, priority: 1, handle: 1, name: 'edt-fifo' });
}

async function setFq(rt: RtSocket, ifindex: number, queues: number): Promise<void> {
  const root = { ifindex, parent: TC_H_ROOT, handle: ROOT_HANDLE };
  if (queues === 1) {
    await replaceQdisc(rt, { ...root, kind: 'fq' });
    return;
  }
  await replaceQdisc(rt, { ...root, kind: 'mq' });
  for (let queue = 1; queue <= queues; queue += 1) {
    await replaceQdisc(rt, { ifindex, parent: ROOT_HANDLE + queue, kind: 'fq' });
  }
}

/**
 * Puts the plain step on the node's uplink. What it attaches goes with the node's namespace, or
 * before by `undo`.
 */
export async function startEdtFifo(nodePath: string, undo: UndoStack): Promise<EdtFifo> {
  const { maps, programs } = loadUnpinned(compileEdtFifo(), undo);
  const node = openNetns(nodePath);
  undo.defer("close the node's namespace", () => node.close());
  const rt = openRt(node);
  undo.defer("close the node's socket", () => rt.close());
  const find = async (name: string): Promise<{ index: number; numTxQueues: number }> => {
    const link = await findLink(rt, { name });
    if (link === undefined) throw new Error(`Cannot cap: the node has no device "${name}"`);
    return link;
  };
  const uplink = await find(UPLINK);
  await setFq(rt, uplink.index, uplink.numTxQueues);
  const departFd = required(programs, 'plain_depart');
  await attach(rt, node, { ifindex: uplink.index, hook: 'egress', programFd: departFd }, undo);
  return {
    async cap(hostInterface, capMbit) {
      const { index } = await find(hostInterface);
      const value = encodePlainAggregate((capMbit * 1_000_000) / 8);
      updateElement(required(maps, 'plain_aggregates'), encodePlainId(index), value);
      const programFd = required(programs, 'plain_classify');
      await attach(rt, node, { ifindex: index, hook: 'ingress', programFd }, undo);
    },
  };
}
