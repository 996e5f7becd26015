// How far the node's routes lead over each of its devices: all that exits follow from (exits.ts),
// of 100,000 routes. Pure.
//
// A route that is there proves that its device leads as far as it does. So a few are remembered for
// each device, its witnesses, and what happens to any other route changes nothing. Which ones
// depends on their keys alone, so a route that goes and comes again is a witness again, and a
// quarter of all routes may flap without a device running out of witnesses.

import type { Reach, RouteBrief } from '../wire/route-brief.ts';
import type { Nexthop } from '../wire/nexthop-message.ts';
import type { LinkEvent, RtEvent } from '../wire/rt-event.ts';
import { Nexthops } from './nexthops.ts';

/** By ifindex; a device without routes has none. */
export type ReachByDevice = ReadonlyMap<number, Reach>;

/** Of a device. When there are more, those are kept whose key is in the lower half. */
const MAX_WITNESSES = 64;
const ALL_KEYS = 2 ** 32;

const RANK: Readonly<Record<Reach, number>> = { host: 1, network: 2, default: 3 };

interface Device {
  readonly reach: Reach;
  /** Keys of routes that lead that far. */
  readonly witnesses: Set<number>;
  /** What is no witness for being beyond it may be there or not. */
  keyLimit: number;
}

export class Reaches {
  readonly #devices = new Map<number, Device>();
  /** Devices by the keys of their witnesses. */
  readonly #places = new Map<number, Set<number>>();
  /** Devices that have, or had, a route together with others or by a nexthop object. */
  readonly #shared = new Set<number>();
  /** Devices whose last witness went: other routes may lead as far, or not. */
  readonly #unproven = new Set<number>();
  readonly #nexthops: Nexthops;
  #isDoubtful = false;

  /** `nexthops`: the objects that there were before any of the routes was read. */
  constructor(nexthops: readonly Nexthop[] = []) {
    this.#nexthops = new Nexthops(nexthops);
  }

  /**
   * Whether a device may lead less far than it seems, or farther: only reading all routes anew
   * tells.
   */
  get isDoubtful(): boolean {
    return this.#isDoubtful || this.#unproven.size > 0;
  }

  get byDevice(): ReachByDevice {
    return new Map([...this.#devices].map(([ifindex, { reach }]) => [ifindex, reach]));
  }

  doubt(): void {
    this.#isDoubtful = true;
  }

  /** Adds a route that is there. Returns those of its devices that lead farther by it. */
  add(route: RouteBrief): readonly number[] {
    const { key, reach, isShared } = route;
    if (reach === undefined) return [];
    const devices = this.#devicesOf(route);
    if (isShared) for (const ifindex of devices) this.#shared.add(ifindex);
    return devices.filter((ifindex) => this.#addTo(ifindex, key, reach));
  }

  /** Takes an event; returns devices whose routes lead farther now, or perhaps less far. */
  hear(event: RtEvent): readonly number[] {
    switch (event.kind) {
      case 'route':
        return event.change === 'added'
          ? this.add(event.route)
          : this.#take(event.change, event.route);
      case 'link':
        this.#hearLink(event);
        return [];
      case 'nexthop':
        if (!this.#nexthops.change(event.change, event.nexthop)) return [];
        this.doubt();
        return [
          ...new Set([...this.#shared, ...(this.#nexthops.devicesOf(event.nexthop.id) ?? [])]),
        ];
      case 'lost':
        this.doubt();
        return [];
      case 'qdisc':
      case 'filter':
        return [];
    }
  }

  /** An object that is not known is a newer one than those that were listed. */
  #devicesOf({ devices, nexthopId }: RouteBrief): readonly number[] {
    if (nexthopId === undefined) return devices;
    this.#nexthops.use(nexthopId);
    if (devices.length > 0) return devices;
    const found = this.#nexthops.devicesOf(nexthopId);
    if (found === undefined) this.doubt();
    return found ?? [];
  }

  #addTo(ifindex: number, key: number, reach: Reach): boolean {
    const former = this.#devices.get(ifindex);
    if (former !== undefined && RANK[reach] < RANK[former.reach]) return false;
    const isFarther = former?.reach !== reach;
    if (isFarther) this.#remove(ifindex);
    const device = this.#devices.get(ifindex) ?? {
      reach,
      witnesses: new Set(),
      keyLimit: ALL_KEYS,
    };
    this.#devices.set(ifindex, device);
    if (this.#unproven.delete(ifindex)) device.keyLimit = ALL_KEYS;
    if (key >= device.keyLimit) return false;
    device.witnesses.add(key);
    this.#places.set(key, (this.#places.get(key) ?? new Set()).add(ifindex));
    while (device.witnesses.size > MAX_WITNESSES) this.#halve(ifindex, device);
    return isFarther;
  }

  #halve(ifindex: number, device: Device): void {
    device.keyLimit /= 2;
    for (const key of device.witnesses)
      if (key >= device.keyLimit) this.#removeWitness(ifindex, device, key);
  }

  /**
   * A route was deleted or replaced by this one, which has the same key; what was replaced may have
   * led anywhere.
   */
  #take(change: 'deleted' | 'replaced', route: RouteBrief): readonly number[] {
    const isKnown = change === 'deleted' && route.devices.length > 0;
    const places = isKnown ? route.devices : [...(this.#places.get(route.key) ?? [])];
    for (const ifindex of places) {
      const device = this.#devices.get(ifindex);
      if (device === undefined || !this.#removeWitness(ifindex, device, route.key)) continue;
      if (device.witnesses.size === 0) this.#unproven.add(ifindex);
    }
    const gained = change === 'replaced' ? this.add(route) : [];
    return [...gained, ...places.filter((ifindex) => this.#unproven.has(ifindex))];
  }

  /**
   * The kernel takes the routes of a device that goes or goes down, mostly without a word, and
   * nexthop objects sooner.
   */
  #hearLink({ ifindex, isUp, hasCarrier }: LinkEvent): void {
    const isGone = !isUp || (!hasCarrier && this.#nexthops.has(ifindex));
    if (!hasCarrier || !isUp) this.#nexthops.dropDevice(ifindex);
    if (isGone && this.#shared.has(ifindex)) this.doubt();
    else if (!isUp) this.#remove(ifindex);
  }

  #remove(ifindex: number): void {
    const device = this.#devices.get(ifindex);
    if (device === undefined) return;
    for (const key of device.witnesses) this.#removeWitness(ifindex, device, key);
    this.#devices.delete(ifindex);
    this.#unproven.delete(ifindex);
  }

  #removeWitness(ifindex: number, device: Device, key: number): boolean {
    if (!device.witnesses.delete(key)) return false;
    const places = this.#places.get(key);
    places?.delete(ifindex);
    if (places?.size === 0) this.#places.delete(key);
    return true;
  }
}
