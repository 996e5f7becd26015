// The watch over the books: whether what vanishes between the classifier and the exits has left the
// node all the same. Pure.
//
// That something vanishes is no fault: firewalls drop, routes are missing. It is one when more than
// a twentieth of the cap vanishes over ten seconds, and a device that has no program of podpace
// sends more since, at least half of that, or as much more leaves by an exit without a sign. What
// the classifier has not seen at all may have left by any device. No cause has to be known for
// this.
//
// "Since" is: more than in the ten seconds before, as what vanishes is more than in those. So a
// device that sends much for another reason accuses nobody whose packets a firewall drops. A watch
// that has just begun knows no such time before. It takes a device for the way out only where that
// sends as much as vanishes, hardly more, from each look to the next. What was found once stays so
// while as much vanishes and the device sends as much.
//
// Two looks in a row have to agree: books and devices are not read at one instant, and a merged
// packet may be on its way.

import { vanishedOf, type Vanished } from './books.ts';

/** What is averaged over; a look a little early counts. */
const WINDOW_MS = 9_000;
/** More than this part of the cap. */
const THRESHOLD = 0.05;
/** So much of what vanishes has to leave by one device, for it may have several ways. */
const SHARE = 0.5;
/**
 * Without a time before: at least this part of what vanishes from each look to the next, and at
 * most so many times all of it.
 */
const MATCH_MIN = 0.8;
const MATCH_MAX = 1.5;
const LOOKS_TO_MATCH = 4;
const LOOKS_TO_AGREE = 2;

/** Of one aggregate, at one look. */
export interface AggregateSample {
  readonly seen: Vanished;
  readonly settled: Vanished;
  readonly rateBytesPerSec: number;
  /** Of `seen`: what came up from the pod, and the classifier has not seen. */
  readonly unseenBytes?: number;
}

/** One look at books and devices. */
export interface BookSample {
  readonly atMs: number;
  /**
   * All aggregates of what pods send, by id. One that is missing was not in use: its book was
   * empty.
   */
  readonly aggregates: ReadonlyMap<number, AggregateSample>;
  /** Bytes that have left by each way, by its name. */
  readonly sentBytes: ReadonlyMap<string, number>;
}

/**
 * The ways past caps that there are. A way is a device, all that it sends, or an exit, what leaves
 * by it without a sign.
 */
export interface Ways {
  /** For whatever vanishes: devices without a program, and exits. */
  readonly ofAll: readonly string[];
  /** For what the classifier has not seen besides: devices with a program. */
  readonly ofUnseen: readonly string[];
}

/** An aggregate of which more than the threshold vanishes. */
export interface Vanishing {
  readonly id: number;
  readonly bytesPerSec: number;
  /** Most of it the classifier has not seen. */
  readonly isUnseen: boolean;
}

/** A way past the cap. */
export interface Leak extends Vanishing {
  /** By which so much more leaves since. */
  readonly ways: readonly string[];
}

interface Window {
  readonly from: BookSample;
  readonly to: BookSample;
}

const NOTHING: Vanished = { frames: 0, bytes: 0 };

function grown(now: Vanished, before: Vanished): Vanished {
  return { frames: now.frames - before.frames, bytes: now.bytes - before.bytes };
}

/** Bytes of an aggregate that vanished in a window. */
function vanishedIn({ from, to }: Window, id: number): number {
  const [now, before] = [to.aggregates.get(id), from.aggregates.get(id)];
  if (now === undefined) return 0;
  // Counters that go back have begun anew.
  const isReset = before !== undefined && before.seen.frames > now.seen.frames;
  const seen = isReset ? now.seen : grown(now.seen, before?.seen ?? NOTHING);
  const settled = isReset ? now.settled : grown(now.settled, before?.settled ?? NOTHING);
  return vanishedOf(seen, settled).bytes;
}

/** Bytes that a device sent in a window; 0 for one that is new, or whose counter has begun anew. */
function sentIn({ from, to }: Window, device: string): number {
  const [now, before] = [to.sentBytes.get(device), from.sentBytes.get(device)];
  return now === undefined || before === undefined ? 0 : Math.max(0, now - before);
}

function perSec(bytes: number, { from, to }: Window): number {
  return (bytes * 1000) / (to.atMs - from.atMs);
}

/** What a device that is new has sent: its first look is its beginning. */
function sentPerSec(samples: readonly BookSample[], window: Window, device: string): number {
  const from = window.from.sentBytes.has(device)
    ? window.from
    : samples.find(({ atMs, sentBytes }) => atMs > window.from.atMs && sentBytes.has(device));
  return from === undefined ? 0 : perSec(sentIn({ ...window, from }, device), window);
}

export class BookWatch {
  /** The last two windows, oldest first. */
  #samples: BookSample[] = [];
  /** Devices by aggregate: how many looks in a row have found them to be its way out. */
  #found = new Map<number, Map<string, number>>();

  /**
   * Takes a look in. Returns what vanishes beyond the threshold, so that devices without a program
   * have to be known.
   */
  add(sample: BookSample): Vanishing[] {
    const last = this.#samples.at(-1);
    if (last !== undefined && sample.atMs <= last.atMs) return [];
    const begin = this.#before(this.#before(sample.atMs)?.atMs)?.atMs ?? -Infinity;
    this.#samples = [...this.#samples.filter(({ atMs }) => atMs >= begin), sample];
    return this.#vanishing();
  }

  /** What leaves past caps; an aggregate of which nothing vanishes has no way. */
  judge(vanishing: readonly Vanishing[], { ofAll, ofUnseen }: Ways): Leak[] {
    const found = new Map<number, Map<string, number>>();
    for (const one of vanishing) {
      const ways = [...ofAll, ...(one.isUnseen ? ofUnseen : [])].flatMap((device) => {
        const looks = this.#found.get(one.id)?.get(device) ?? 0;
        // What was found is found again by its level: by then the time before is no time without
        // it.
        const isWay =
          looks > 0 ? this.#goesOn(one, device) : this.#isWayOut(one, device, vanishing);
        return isWay ? [[device, looks + 1] as const] : [];
      });
      found.set(one.id, new Map(ways));
    }
    this.#found = found;
    return vanishing.flatMap((one) => {
      const ways = [...(found.get(one.id) ?? [])].filter(([, looks]) => looks >= LOOKS_TO_AGREE);
      return ways.length === 0 ? [] : [{ ...one, ways: ways.map(([way]) => way) }];
    });
  }

  /** The latest look that is older than a time by a window. */
  #before(atMs: number | undefined): BookSample | undefined {
    return atMs === undefined
      ? undefined
      : this.#samples.findLast((each) => each.atMs <= atMs - WINDOW_MS);
  }

  /** The last ten seconds; undefined while the watch is younger. */
  #window(): Window | undefined {
    const to = this.#samples.at(-1);
    const from = this.#before(to?.atMs);
    return to === undefined || from === undefined ? undefined : { from, to };
  }

  /** The ten seconds before those. */
  #reference(): Window | undefined {
    const to = this.#window()?.from;
    const from = this.#before(to?.atMs);
    return to === undefined || from === undefined ? undefined : { from, to };
  }

  #vanishing(): Vanishing[] {
    const window = this.#window();
    if (window === undefined) return [];
    const within = this.#samples.filter(({ atMs }) => atMs >= window.from.atMs);
    return [...window.to.aggregates.keys()].flatMap((id) => {
      const bytesPerSec = perSec(vanishedIn(window, id), window);
      // Of a cap that was changed meanwhile the largest.
      const rates = within.map(({ aggregates }) => aggregates.get(id)?.rateBytesPerSec ?? 0);
      if (bytesPerSec <= THRESHOLD * Math.max(...rates)) return [];
      const [now = 0, before = 0] = [window.to, window.from].map(
        ({ aggregates }) => aggregates.get(id)?.unseenBytes,
      );
      return [{ id, bytesPerSec, isUnseen: perSec(now - before, window) > SHARE * bytesPerSec }];
    });
  }

  #goesOn({ bytesPerSec }: Vanishing, device: string): boolean {
    const window = this.#window();
    if (window === undefined) return false;
    return sentPerSec(this.#samples, window, device) >= SHARE * bytesPerSec;
  }

  #isWayOut(one: Vanishing, device: string, all: readonly Vanishing[]): boolean {
    const [window, reference] = [this.#window(), this.#reference()];
    if (window === undefined) return false;
    if (reference === undefined) return this.#matches(one, device, all);
    const vanishedBefore = perSec(vanishedIn(reference, one.id), reference);
    const rise = one.bytesPerSec - vanishedBefore;
    const rates = window.to.aggregates.get(one.id)?.rateBytesPerSec ?? 0;
    const sent = sentPerSec(this.#samples, window, device);
    const sentBefore = sentPerSec(this.#samples, reference, device);
    return rise > THRESHOLD * rates && sent - sentBefore >= SHARE * rise;
  }

  /**
   * Whether a device sends as much as vanishes, hardly more, from each look to the next while it
   * does.
   */
  #matches({ id, bytesPerSec }: Vanishing, device: string, all: readonly Vanishing[]): boolean {
    const steps = this.#samples
      .slice(1)
      .map((to, index): Window => ({ from: this.#samples[index] ?? to, to }))
      .filter((step) => perSec(vanishedIn(step, id), step) > SHARE * bytesPerSec);
    return (
      steps.length >= LOOKS_TO_MATCH &&
      steps.every((step) => {
        const sent = sentIn(step, device);
        const together = all.reduce((sum, other) => sum + vanishedIn(step, other.id), 0);
        return sent >= MATCH_MIN * vanishedIn(step, id) && sent <= MATCH_MAX * together;
      })
    );
  }
}
