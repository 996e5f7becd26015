// Knows the node's devices and their qdiscs without listing them each time: by what the kernel tells
// of their changes.

import { findLink, listLinks, type Link } from '../kernel/links.ts';
import { listQdiscs, TC_H_ROOT, type Qdisc } from '../kernel/qdiscs.ts';
import type { RtSocket } from '../kernel/rtnetlink.ts';
import { hasErrno } from '../wire/errors.ts';
import type { RtEvent } from '../wire/rt-event.ts';

/** Where more devices have changed than this, all are listed: that takes less time. */
const MAX_ASKED = 32;
/** A device that has no qdisc yet. */
const NO_QDISC = 'noop';

export class DeviceWatch {
  readonly #rt: RtSocket;
  #settle: (() => Promise<void>) | undefined;
  #links = new Map<number, Link>();
  /** Without those that the kernel has made by itself: it tells nothing of these. */
  #qdiscs = new Map<number, readonly Qdisc[]>();
  /** Devices that something has happened to since they were asked for. */
  readonly #changed = new Set<number>();
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
    // A device names its root qdisc, and is not told of when that changes.
    if (event.kind === 'link' || event.kind === 'qdisc') this.#changed.add(event.ifindex);
    if (event.kind === 'qdisc') this.#regrafted.add(event.ifindex);
    if (event.kind === 'lost') {
      this.#hasUnknownLinks = true;
      this.#hasUnknownQdiscs = true;
    }
  }

  /** All devices, by one request for each that has changed. Rejects with KernelError. */
  async links(): Promise<readonly Link[]> {
    await this.#settle?.();
    if (!this.#knowsLinks || this.#changed.size > MAX_ASKED) return this.listLinks();
    return this.#askChanged();
  }

  /**
   * The same as the kernel lists them now. While many come or go no list of the kernel's is whole
   * (EAGAIN): then what is known, with the changes that were told of.
   */
  async listLinks(): Promise<readonly Link[]> {
    const [wasKnown, changed] = [this.#knowsLinks, [...this.#changed]];
    this.#hasUnknownLinks = false;
    this.#changed.clear();
    try {
      const links = await listLinks(this.#rt);
      this.#links = new Map(links.map((link) => [link.index, link]));
      return links;
    } catch (error) {
      for (const index of changed) this.#changed.add(index);
      if (wasKnown && this.#knowsLinks && hasErrno(error, 'EAGAIN')) {
        await this.#settle?.();
        return this.#askChanged();
      }
      this.#hasUnknownLinks = true;
      throw error;
    }
  }

  /** Whether events have told of all that has happened to devices since they were listed. */
  get #knowsLinks(): boolean {
    return this.#settle !== undefined && !this.#hasUnknownLinks;
  }

  async #askChanged(): Promise<readonly Link[]> {
    for (const index of this.#changed) await this.#ask(index);
    return [...this.#links.values()];
  }

  async #ask(index: number): Promise<void> {
    // What happens from here on is asked for the next time.
    this.#changed.delete(index);
    try {
      const link = await findLink(this.#rt, { index });
      if (link !== undefined) return void this.#links.set(index, link);
      this.#links.delete(index);
      this.#qdiscs.delete(index);
    } catch (error) {
      this.#changed.add(index);
      throw error;
    }
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
