// Knows how far the node's routes lead without reading them each time: by what the kernel tells of
// their changes.

import { listNexthops } from '../kernel/nexthops.ts';
import { scanRoutes } from '../kernel/routes.ts';
import type { RtSocket } from '../kernel/rtnetlink.ts';
import type { RtEvent } from '../wire/rt-event.ts';
import { Reaches, type ReachByDevice } from '../shaping/reaches.ts';

/**
 * Reading all routes is followed by a pause of so many times its length before they are read again
 * to be on the safe side.
 */
const CHECK_PAUSE = 20;
/**
 * How often routes are read again at once that name nexthop objects which came after these were
 * listed.
 */
const MAX_SCAN_RETRIES = 3;
/** So many events that come while routes are read can be taken into account. */
const MAX_WAITING = 100_000;

export class RouteWatch {
  readonly #scan: () => Promise<Reaches>;
  #tell: ((ifindex: number) => void) | undefined;
  #known: Reaches | undefined;
  #reading: Promise<ReachByDevice> | undefined;
  /** Events since the reading began. */
  #waiting: RtEvent[] = [];
  #isDue = false;
  /** In ms of performance.now(). */
  #nextCheckMs = 0;

  /** `scan` reads all routes. Until events are followed it is called for each answer. */
  constructor(scan: () => Promise<Reaches>) {
    this.#scan = scan;
  }

  /** Of the namespace that `rt` belongs to. */
  static of(rt: RtSocket): RouteWatch {
    return new RouteWatch(async () => {
      for (let attempt = 0; ; attempt++) {
        const nexthops = await listNexthops(rt);
        const begin = (): Reaches => new Reaches(nexthops);
        const reaches = await scanRoutes(rt, begin, (sum, route) => sum.add(route));
        if (!reaches.isDoubtful || attempt === MAX_SCAN_RETRIES) return reaches;
      }
    });
  }

  /**
   * From now on all events are handed to `hear`; `tell` gets the devices whose routes lead farther,
   * or perhaps less far.
   */
  follow(tell: (ifindex: number) => void): void {
    this.#tell = tell;
  }

  hear(event: RtEvent): void {
    if (event.kind === 'qdisc') return;
    if (this.#reading !== undefined && this.#waiting.length <= MAX_WAITING)
      this.#waiting.push(event);
    this.#tellOf(this.#known?.hear(event) ?? []);
  }

  /**
   * Has the routes read anew for the next answer, unless that was done not long ago for the time
   * that it takes.
   */
  check(): void {
    this.#isDue ||= performance.now() >= this.#nextCheckMs;
  }

  /** How far routes lead over each device. Rejects with KernelError. */
  read(): Promise<ReachByDevice> {
    const known = this.#known;
    if (this.#tell !== undefined && known !== undefined && !known.isDoubtful && !this.#isDue)
      return Promise.resolve(known.byDevice);
    this.#reading ??= this.#readAnew().finally(() => {
      this.#reading = undefined;
      this.#waiting = [];
    });
    return this.#reading;
  }

  async #readAnew(): Promise<ReachByDevice> {
    const startMs = performance.now();
    const known = await this.#scan();
    const endMs = performance.now();
    this.#nextCheckMs = endMs + CHECK_PAUSE * (endMs - startMs);
    this.#isDue = false;
    this.#known = known;
    const { byDevice } = known;
    if (this.#waiting.length > MAX_WAITING) known.doubt();
    // Each of them may have been before its route was read or after: in their order they lead to
    // what there is.
    for (const event of this.#waiting) this.#tellOf(known.hear(event));
    return known.isDoubtful ? byDevice : known.byDevice;
  }

  #tellOf(devices: readonly number[]): void {
    for (const ifindex of devices) this.#tell?.(ifindex);
  }
}
