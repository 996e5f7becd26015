// Which devices nexthop objects lead to. With net.ipv4.nexthop_compat_mode=0 a route says nothing
// but the id of its object. Pure.

import type { Nexthop } from '../wire/nexthop-message.ts';

/** No object has this id. */
const NO_OBJECT = 0;

export class Nexthops {
  readonly #byId: Map<number, Nexthop>;
  /** Ids that routes name, or have named. */
  readonly #used = new Set<number>();

  constructor(nexthops: readonly Nexthop[] = []) {
    this.#byId = new Map(nexthops.map((nexthop) => [nexthop.id, nexthop]));
  }

  /** A route names it. */
  use(id: number): void {
    this.#used.add(id);
  }

  /**
   * Devices that it leads to, none for a blackhole; undefined when it, or a member of it, is not
   * known.
   */
  devicesOf(id: number): readonly number[] | undefined {
    const nexthop = this.#byId.get(id);
    if (nexthop === undefined) return undefined;
    const { ifindex, members } = nexthop;
    const found = new Set(ifindex === undefined ? [] : [ifindex]);
    for (const each of members) {
      // Groups have no groups as members.
      const member = this.#byId.get(each);
      if (member === undefined) return undefined;
      if (member.ifindex !== undefined) found.add(member.ifindex);
    }
    return [...found];
  }

  /** Whether an object leads to a device. */
  has(ifindex: number): boolean {
    for (const nexthop of this.#byId.values()) if (nexthop.ifindex === ifindex) return true;
    return false;
  }

  /**
   * The kernel removes the objects of a device that goes, goes down or loses its carrier without a
   * word, and takes them out of their groups (remove_nexthop in net/ipv4/nexthop.c). Of such a
   * group it is not known where it leads until it is told of again: another object that gets the
   * id of one that went is no member.
   */
  dropDevice(ifindex: number): void {
    const gone = new Set<number>();
    for (const [id, nexthop] of this.#byId) if (nexthop.ifindex === ifindex) gone.add(id);
    for (const id of gone) this.#byId.delete(id);
    for (const [id, nexthop] of this.#byId)
      if (nexthop.members.some((each) => gone.has(each)))
        this.#byId.set(id, { ...nexthop, members: [...nexthop.members, NO_OBJECT] });
  }

  /**
   * An object came, changed or went: returns whether routes may lead elsewhere by that. So they may
   * by an object that is known as it is told of: a route that was told of before names the devices
   * that it had then.
   */
  change(change: 'set' | 'deleted', nexthop: Nexthop): boolean {
    if (change === 'deleted') this.#byId.delete(nexthop.id);
    else this.#byId.set(nexthop.id, nexthop);
    return this.#isUsed(nexthop.id);
  }

  #isUsed(id: number): boolean {
    if (this.#used.has(id)) return true;
    for (const each of this.#used)
      if (this.#byId.get(each)?.members.includes(id) === true) return true;
    return false;
  }
}
