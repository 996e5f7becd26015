// Queueing disciplines and their classes.

import { FlagsNew } from 'netlink/dist/constants.js';
import {
  RTM_DELQDISC,
  RTM_GETQDISC,
  RTM_GETTCLASS,
  RTM_NEWQDISC,
  TC_H_CLSACT,
  TC_H_ROOT,
  decodeTcObject,
  encodeTcRequest,
} from '../wire/tc-message.ts';
import type { RtSocket } from './rtnetlink.ts';

export { TC_H_ROOT } from '../wire/tc-message.ts';

/** A qdisc of a device. */
export interface Qdisc {
  readonly ifindex: number;
  /** Major number in the upper half; 0 for a default qdisc that was never given one. */
  readonly handle: number;
  /** TC_H_ROOT, TC_H_CLSACT, or the handle of a class. */
  readonly parent: number;
  readonly kind: string;
  /** Content of TCA_OPTIONS in the form of its kind; may be empty. */
  readonly options: Buffer;
}

/**
 * A class of a classful qdisc; those of `mq` are the device's transmit queues. The handle of a
 * class is the parent of its leaf, but not below a default `mq`: that one has no major number to
 * find it by, and has to be put again with a handle before its leaves can be replaced.
 */
export interface QdiscClass {
  readonly handle: number;
  readonly parent: number;
  /** Handle of the qdisc under it; 0 for a default one. */
  readonly leafHandle: number;
  readonly kind: string;
}

/** A place for a qdisc. */
export interface QdiscPlace {
  readonly ifindex: number;
  readonly parent: number;
  readonly handle?: number;
}

/**
 * The qdiscs that `tc qdisc show` shows: those that somebody configured, and also the default ones
 * of a device (`noqueue`, `mq` with its leaves, `fq_codel`, each with handle 0). Hidden stay the
 * built-in `noop` of a device that is down, and the default leaves below classes of qdiscs such as
 * `htb`.
 */
export async function listQdiscs(rt: RtSocket, ifindex?: number): Promise<Qdisc[]> {
  const operation = ifindex === undefined ? 'list qdiscs' : `list qdiscs of interface ${ifindex}`;
  const payload = encodeTcRequest({ ifindex: ifindex ?? 0 });
  const qdiscs = await rt.dump({ operation, type: RTM_GETQDISC, payload }, decodeQdisc);
  // The kernel lists those of every device, whatever it was asked for.
  return qdiscs.filter((qdisc) => ifindex === undefined || qdisc.ifindex === ifindex);
}

/** Puts a qdisc of this kind and with these options at a place, whatever stood there. */
export function replaceQdisc(
  rt: RtSocket,
  qdisc: QdiscPlace & { readonly kind: string; readonly options?: Buffer },
): Promise<void> {
  return rt.execute({
    operation: `put qdisc "${qdisc.kind}" on interface ${qdisc.ifindex} at ${formatHandle(qdisc.parent)}`,
    type: RTM_NEWQDISC,
    flags: FlagsNew.CREATE | FlagsNew.REPLACE,
    payload: encodeTcRequest(qdisc),
  });
}

/**
 * Removes what stands at a place, so that the default returns. Rejects with KernelError ENOENT for
 * nothing.
 */
export function deleteQdisc(rt: RtSocket, place: QdiscPlace): Promise<void> {
  return rt.execute({
    operation: `delete the qdisc of interface ${place.ifindex} at ${formatHandle(place.parent)}`,
    type: RTM_DELQDISC,
    payload: encodeTcRequest(place),
  });
}

/** The classes of all qdiscs of a device; empty for a device that is gone. */
export function listClasses(rt: RtSocket, ifindex: number): Promise<QdiscClass[]> {
  const operation = `list classes of interface ${ifindex}`;
  return rt.dump(
    { operation, type: RTM_GETTCLASS, payload: encodeTcRequest({ ifindex }) },
    (payload) => {
      const { handle, parent, info, kind } = decodeTcObject(payload);
      return { handle, parent, leafHandle: info, kind };
    },
  );
}

/** A handle as tc writes it: `1:`, `1:2`, `root`, `clsact`. */
function formatHandle(handle: number): string {
  if (handle === TC_H_ROOT) return 'root';
  if (handle === TC_H_CLSACT) return 'clsact';
  const minor = handle & 0xffff;
  return `${(handle >>> 16).toString(16)}:${minor === 0 ? '' : minor.toString(16)}`;
}

function decodeQdisc(payload: Buffer): Qdisc {
  const { ifindex, handle, parent, kind, options } = decodeTcObject(payload);
  return { ifindex, handle, parent, kind, options };
}
