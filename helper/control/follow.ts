// Follows what the kernel tells of its devices: gathers events for a moment, then has those devices
// looked at once.

/** Something that happened to a device; `lost` stands for any number of unknown events. */
export type DeviceEvent =
  | { readonly kind: 'link' | 'qdisc' | 'route'; readonly ifindex: number }
  | { readonly kind: 'lost' };

/**
 * How long an event waits for others. A device that is made, switched on and given an address makes
 * several. Who changes qdiscs does it in steps, and is not interfered with before the last.
 */
const SETTLE_MS: Readonly<Record<DeviceEvent['kind'], number>> = {
  link: 50,
  route: 50,
  qdisc: 1500,
  lost: 50,
};
/** A qdisc that goes on changing is waited for, but not for longer. */
const MAX_SETTLE_MS = 3000;
/**
 * What is due so soon after something else is looked at with it. A timer may fire a moment early,
 * too.
 */
const TOGETHER_MS = 20;
/** The node is looked at no more often, whatever happens. */
const MIN_GAP_MS = 400;
/**
 * A look that failed is taken again after this long, twice as long each time that it fails again,
 * and no longer than the second.
 */
const RETRY_MS = 200;
const MAX_RETRY_MS = 1000;

/** A device to which something happens so soon after it was looked at is on the move. */
const CALM_MS = 1000;
/** A device that is on the move for the third time in a row is flapping. */
const MAX_MOVES = 2;
/**
 * One that is flapping is looked at when nothing has happened to it for a while, and from time to
 * time: in between there is nothing to find that stays. Together less than the 2 s in which a
 * device that stays is to be capping.
 */
const FLAPPING_SETTLE_MS = 300;
const FLAPPING_MAX_SETTLE_MS = 1500;

/** Indexes of devices that something happened to; undefined when it may have been any. */
export type Changed = ReadonlySet<number> | undefined;

/** Stands for the index of an event that was lost. */
const ANY = -1;

/** Times in ms of performance.now(). */
interface Expected {
  /** When the first event came that was not looked at. */
  readonly firstMs: number;
  readonly dueMs: number;
  /** Whether more happened than changes of its qdiscs, which are not the device's own doing. */
  readonly isMove: boolean;
}

interface Look {
  readonly endMs: number;
  /** How often in a row it was found on the move. */
  readonly moves: number;
}

export class Follower {
  readonly #look: (changed: Changed) => Promise<void>;
  /** Devices that are to be looked at. */
  readonly #expected = new Map<number, Expected>();
  /** Devices that were looked at not long ago. */
  readonly #looks = new Map<number, Look>();
  #timer: NodeJS.Timeout | undefined;
  /** When the timer fires. */
  #timerMs = Infinity;
  #isLooking = false;
  #lastEndMs = Number.NEGATIVE_INFINITY;
  /** Looks that failed, in a row. */
  #failures = 0;
  #isClosed = false;

  /** When `look` rejects, the same devices are looked at again soon. Never called twice at once. */
  constructor(look: (changed: Changed) => Promise<void>) {
    this.#look = look;
  }

  /** Takes an event. */
  hear(event: DeviceEvent): void {
    const index = event.kind === 'lost' ? ANY : event.ifindex;
    const former = this.#expected.get(index);
    const nowMs = performance.now();
    const firstMs = former?.firstMs ?? nowMs;
    const isMove = event.kind !== 'qdisc' || former?.isMove === true;
    const isFlapping = isMove && this.#movesAt(index, { firstMs, isMove }) > MAX_MOVES;
    const dueMs = isFlapping
      ? Math.min(nowMs + FLAPPING_SETTLE_MS, firstMs + FLAPPING_MAX_SETTLE_MS)
      : dueAfter(event, nowMs, former);
    this.#expected.set(index, { firstMs, dueMs, isMove });
    this.#schedule(dueMs);
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
  }

  /** How often in a row a device has been on the move when it is looked at next. */
  #movesAt(index: number, { firstMs, isMove }: Pick<Expected, 'firstMs' | 'isMove'>): number {
    const look = this.#looks.get(index);
    if (look === undefined || firstMs - look.endMs >= CALM_MS) return 0;
    return look.moves + (isMove ? 1 : 0);
  }

  /**
   * A timer that fires before anything is due sets the next one: cheaper than setting it anew at
   * each of many events.
   */
  #schedule(dueMs: number): void {
    if (this.#isLooking || this.#isClosed || this.#expected.size === 0) return;
    const nextMs = Math.max(dueMs, this.#lastEndMs + MIN_GAP_MS);
    if (nextMs >= this.#timerMs) return;
    clearTimeout(this.#timer);
    this.#timerMs = nextMs;
    this.#timer = setTimeout(() => void this.#run(), Math.max(0, nextMs - performance.now()));
  }

  async #run(): Promise<void> {
    this.#timerMs = Infinity;
    this.#isLooking = true;
    const untilMs = performance.now() + TOGETHER_MS;
    const due = [...this.#expected].filter(([, { dueMs }]) => dueMs <= untilMs);
    for (const [index] of due) this.#expected.delete(index);
    if (due.length > 0) await this.#lookAt(due);
    this.#isLooking = false;
    let firstDueMs = Infinity;
    for (const { dueMs } of this.#expected.values()) firstDueMs = Math.min(firstDueMs, dueMs);
    this.#schedule(firstDueMs);
  }

  async #lookAt(due: readonly (readonly [number, Expected])[]): Promise<void> {
    const changed = new Set(due.map(([index]) => index));
    try {
      await this.#look(changed.has(ANY) ? undefined : changed);
      this.#failures = 0;
    } catch {
      this.#failures += 1;
      const againMs =
        performance.now() + Math.min(RETRY_MS * 2 ** (this.#failures - 1), MAX_RETRY_MS);
      for (const [index, expected] of due) {
        const dueMs = Math.min(againMs, this.#expected.get(index)?.dueMs ?? Infinity);
        this.#expected.set(index, { ...expected, dueMs });
      }
    }
    this.#note(due);
  }

  /** Remembers a look that has just ended, and forgets those of devices that are calm. */
  #note(due: readonly (readonly [number, Expected])[]): void {
    const endMs = performance.now();
    this.#lastEndMs = endMs;
    const moves = due.map(([index, expected]) => [index, this.#movesAt(index, expected)] as const);
    for (const [index, look] of this.#looks) {
      if (endMs - look.endMs >= CALM_MS && !this.#expected.has(index)) this.#looks.delete(index);
    }
    for (const [index, count] of moves) this.#looks.set(index, { endMs, moves: count });
  }
}

/**
 * When a device that is not flapping is to be looked at after an event: of link events the first
 * counts.
 */
function dueAfter({ kind }: DeviceEvent, nowMs: number, former: Expected | undefined): number {
  const firstMs = former?.firstMs ?? nowMs;
  const formerMs = former?.dueMs ?? Infinity;
  const dueMs = Math.min(nowMs + SETTLE_MS[kind], firstMs + MAX_SETTLE_MS);
  return kind === 'qdisc' && formerMs > nowMs + SETTLE_MS.link ? dueMs : Math.min(dueMs, formerMs);
}
