// Knows the node's devices and their qdiscs without listing them each time: by what the kernel
// tells of their changes.

import { findLink, listLinks, type Link } from '../kernel/links.ts';
import { listQdiscs, TC_H_ROOT, type Qdisc } from '../kernel/qdiscs.ts';
import type { RtSocket } from '../kernel/rtnetlink.ts';
import { hasErrno } from '../wire/errors.ts';
import type { RtEvent } from '../wire/rt-event.ts';

/** Where more devices have changed than this, all are listed: that takes less time. */
const MAX_ASKED = 32;
/** A list that changed while it was read is soon given up where it is known without. */
const RETRIES_WHERE_KNOWN = 1;
/** A device that has no qdisc yet. */
const NO_QDISC = 'noop';

export class DeviceWatch {
  readonly #rt: RtSocket;
  #settle: (() => Promise<void>) | undefined;
  #links = new Map<number, Link>();
  /** Without those that the kernel has made by itself: it tells nothing of these. */
  #qdiscs = new Map<number, readonly Qdisc[]>();
  /** What has happened to devices since they were asked for, the last of each. */
  readonly #told = new Map<number, 'changed' | 'gone'>();
  /** Devices whose qdiscs somebody has changed since all were listed. */
  readonly #regrafted = new Set<number>();
  /** Nothing was listed yet, or events were lost since. */
  #hasUnknownLinks = true;
  #hasUnknownQdiscs = true;

  /** Until events are followed all devices are listed for each answer. */
  constructor(rt: RtSocket) {
    this.#rt = rt;
  }

  /**
   * From now on all events are handed to `hear`; `settle` resolves when it has heard of everything
   * that happened before.
   */
  follow(settle: () => Promise<void>): void {
    this.#settle = settle;
  }

  hear(event: RtEvent): void {
    if (event.kind === 'link') this.#told.set(event.ifindex, event.isGone ? 'gone' : 'changed');
    if (event.kind === 'qdisc') {
      this.#regrafted.add(event.ifindex);
      // A device names its root qdisc, and is not told of when that changes.
      if (this.#told.get(event.ifindex) !== 'gone') this.#told.set(event.ifindex, 'changed');
    }
    if (event.kind === 'lost') {
      this.#hasUnknownLinks = true;
      this.#hasUnknownQdiscs = true;
    }
  }

  /** All devices, by one request for each that has changed. Rejects with KernelError. */
  async links(): Promise<readonly Link[]> {
    await this.#settle?.();
    const changed = [...this.#told.values()].filter((what) => what === 'changed').length;
    if (!this.#knowsLinks || changed > MAX_ASKED) return this.listLinks();
    return this.#bringUpToDate();
  }

  /**
   * The same as the kernel lists them now. While many come or go no list of the kernel's is whole:
   * then what is known, with what was told of since.
   */
  async listLinks(): Promise<readonly Link[]> {
    const [wasKnown, told] = [this.#knowsLinks, [...this.#told]];
    this.#hasUnknownLinks = false;
    this.#told.clear();
    try {
      const links = await listLinks(this.#rt, ...(wasKnown ? [RETRIES_WHERE_KNOWN] : []));
      this.#links = new Map(links.map((link) => [link.index, link]));
      return links;
    } catch (error) {
      this.#remember(told);
      if (wasKnown && this.#knowsLinks && hasErrno(error, 'EAGAIN')) {
        await this.#settle?.();
        return this.#bringUpToDate();
      }
      this.#hasUnknownLinks = true;
      throw error;
    }
  }

  /** Whether events have told of all that has happened to devices since they were listed. */
  get #knowsLinks(): boolean {
    return this.#settle !== undefined && !this.#hasUnknownLinks;
  }

  /** Of what happens from here on no more than a part is in it, and the rest the next time. */
  async #bringUpToDate(): Promise<readonly Link[]> {
    const told = [...this.#told];
    this.#told.clear();
    try {
      for (const [index, what] of told) {
        const link = what === 'gone' ? undefined : await findLink(this.#rt, { index });
        if (link === undefined) this.#forget(index);
        else this.#links.set(index, link);
      }
    } catch (error) {
      this.#remember(told);
      throw error;
    }
    return [...this.#links.values()];
  }

  /** What was told of before, where nothing was since. */
  #remember(told: readonly (readonly [number, 'changed' | 'gone'])[]): void {
    for (const [index, what] of told) if (!this.#told.has(index)) this.#told.set(index, what);
  }

  #forget(index: number): void {
    this.#links.delete(index);
    this.#qdiscs.delete(index);
  }

  /**
   * The qdiscs of some devices, which `links` has just given. Nothing is asked where nobody has
   * changed any of theirs: a qdisc that the kernel has made by itself is named by its device.
   * Rejects with KernelError.
   */
  async qdiscs(devices: readonly Link[]): Promise<ReadonlyMap<number, readonly Qdisc[]>> {
    const isKnown = this.#settle !== undefined && !this.#hasUnknownQdiscs;
    if (!isKnown || devices.some(({ index }) => this.#regrafted.has(index)))
      return this.listQdiscs();
    return new Map(
      devices.map((device) => {
        const made = this.#qdiscs.get(device.index) ?? [];
        const hasRoot = made.some(({ parent }) => parent === TC_H_ROOT);
        return [device.index, hasRoot ? made : [...defaultRoot(device), ...made]];
      }),
    );
  }

  /** The qdiscs of all devices as the kernel lists them now. */
  async listQdiscs(): Promise<ReadonlyMap<number, readonly Qdisc[]>> {
    this.#hasUnknownQdiscs = false;
    this.#regrafted.clear();
    try {
      const all = Map.groupBy(await listQdiscs(this.#rt), ({ ifindex }) => ifindex);
      const made = [...all].map(([index, list]) => [index, list.filter(isMade)] as const);
      this.#qdiscs = new Map(made.filter(([, list]) => list.length > 0));
      return all;
    } catch (error) {
      this.#hasUnknownQdiscs = true;
      throw error;
    }
  }
}

function isMade({ handle }: Qdisc): boolean {
  return handle !== 0;
}

/** What the kernel has given a device. */
function defaultRoot({ index, qdisc: kind = NO_QDISC }: Link): Qdisc[] {
  if (kind === NO_QDISC) return [];
  return [{ ifindex: index, handle: 0, parent: TC_H_ROOT, kind, options: Buffer.alloc(0) }];
}
