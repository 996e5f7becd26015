// The watch over what comes into pods without their cap. Pure.
//
// Past the host interface, where the cap is held: a program of somebody's redirects to the other
// end of the pair (bpf_redirect_peer). The pod's end counts what it receives so, and what comes
// from the host interface, which counts that as sent; of merged packets both count the headers
// once. So what the one has received and the other has not sent came past it.
//
// By the host interface, and unseen by the program at its egress: an XDP program redirects to it.
// The program counts of merged packets the headers of each segment, and what the fq behind it still
// holds: more than the device has sent, never less.
//
// The counters are not read at one instant. So several looks in a row have to agree, and what is
// exempt, and may come at any rate, allows for a part of itself. Somebody may have taken the
// program or its entry away, which the helper puts right in a look or two, and tells of: what was
// not seen meanwhile is nothing to tell of afterwards.

/** What is averaged over. */
const WINDOW_MS = 10_000;
/** More than this part of the cap. */
const THRESHOLD = 0.05;
/** Of what a pod has received. */
const TOLERANCE = 0.02;
const LOOKS_TO_AGREE = { past: 2, unseen: 3 } as const;

/** Past the host interface, or by it and unseen by the program there. */
export type ArrivalWay = keyof typeof LOOKS_TO_AGREE;

/** What was counted at the two ends of a pod's pairs by one time. */
export interface ArrivalSample {
  readonly atMs: number;
  /** Which ends: others count anew. */
  readonly ends: string;
  /** By the program at the host interfaces' egress, charged or exempt; read last. */
  readonly seenBytes: number;
  /** By the pod's ends. */
  readonly receivedBytes: number;
  /** By the host interfaces, towards the pod; read first. */
  readonly sentBytes: number;
  /** The cap. */
  readonly rateBytesPerSec: number;
}

/** What comes into a pod without its cap. */
export interface Arrival {
  readonly way: ArrivalWay;
  readonly bytesPerSec: number;
}

interface Known {
  /** Oldest first: one that is older than the window, and all since. */
  readonly samples: readonly ArrivalSample[];
  /** Looks in a row that have found too much, by the way. */
  readonly looks: Readonly<Record<ArrivalWay, number>>;
}

const NO_LOOKS: Known['looks'] = { past: 0, unseen: 0 };
const COUNTERS = ['receivedBytes', 'sentBytes', 'seenBytes'] as const;

/** Bytes that came by a way between two looks. */
function cameBy(way: ArrivalWay, from: ArrivalSample, to: ArrivalSample): number {
  const sent = to.sentBytes - from.sentBytes;
  return way === 'past'
    ? to.receivedBytes - from.receivedBytes - sent
    : sent - (to.seenBytes - from.seenBytes);
}

/** Whether the one may follow the other: of the same ends, and no counter has begun anew. */
function isContinued(before: ArrivalSample, now: ArrivalSample): boolean {
  return (
    before.ends === now.ends &&
    before.atMs < now.atMs &&
    COUNTERS.every((counter) => before[counter] <= now[counter])
  );
}

/** Whether that is too much between the first of some looks and the last, for at least so long. */
function isTooMuch(way: ArrivalWay, samples: readonly ArrivalSample[], leastMs: number): boolean {
  const [from, to] = [samples[0], samples.at(-1)];
  if (from === undefined || to === undefined) return false;
  const seconds = Math.max(leastMs, to.atMs - from.atMs) / 1000;
  // Of a cap that was changed meanwhile the largest.
  const rate = Math.max(...samples.map(({ rateBytesPerSec }) => rateBytesPerSec));
  const tolerated = TOLERANCE * (to.receivedBytes - from.receivedBytes);
  return cameBy(way, from, to) > Math.max(THRESHOLD * rate * seconds, tolerated);
}

export class ArrivalWatch {
  /** By the aggregate's id. */
  readonly #known = new Map<number, Known>();

  /** Takes a look at one pod in. */
  add(id: number, sample: ArrivalSample): void {
    const { samples = [], looks = NO_LOOKS } = this.#known.get(id) ?? {};
    const last = samples.at(-1);
    if (last === undefined || !isContinued(last, sample)) {
      this.#known.set(id, { samples: [sample], looks: NO_LOOKS });
      return;
    }
    const begin = samples.findLastIndex(({ atMs }) => atMs <= sample.atMs - WINDOW_MS);
    const kept = [...samples.slice(Math.max(0, begin)), sample];
    // A window that is not full yet counts as if nothing had come before.
    const isPast = isTooMuch('past', kept, WINDOW_MS);
    const isUnseen = isTooMuch('unseen', [last, sample], 0);
    this.#known.set(id, {
      samples: kept,
      looks: { past: isPast ? looks.past + 1 : 0, unseen: isUnseen ? looks.unseen + 1 : 0 },
    });
  }

  /** Forgets all but these. */
  keep(ids: ReadonlySet<number>): void {
    for (const id of this.#known.keys()) if (!ids.has(id)) this.#known.delete(id);
  }

  /** Whether the last look has found too much, be it only one. */
  isSuspect(id: number): boolean {
    const { looks = NO_LOOKS } = this.#known.get(id) ?? {};
    return looks.past > 0 || looks.unseen > 0;
  }

  /** What is to be told of, by id. */
  arrivals(): Map<number, Arrival> {
    return new Map(
      [...this.#known].flatMap(([id, known]) => {
        const arrival = arrivalOf(known);
        return arrival === undefined ? [] : [[id, arrival] as const];
      }),
    );
  }
}

function arrivalOf({ samples, looks }: Known): Arrival | undefined {
  const way = (['past', 'unseen'] as const).find((each) => looks[each] >= LOOKS_TO_AGREE[each]);
  // What was not seen goes by the last looks, which all have found it.
  const [from, to] = [
    way === 'unseen' ? samples.at(-LOOKS_TO_AGREE.unseen) : samples[0],
    samples.at(-1),
  ];
  if (way === undefined || from === undefined || to === undefined) return undefined;
  return { way, bytesPerSec: (cameBy(way, from, to) * 1000) / (to.atMs - from.atMs) };
}
