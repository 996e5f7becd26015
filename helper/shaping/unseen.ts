// What comes up from a pod and the classifier never sees: while somebody has taken it or its entry
// away, or where an XDP program comes before it. The device counts that as well; the difference
// between two looks is unseen. Pure.

/** Of what a device has received, for its counter and the book are not read at one instant. */
const TOLERANCE = 0.02;
/** What a pod's kernel sends of itself: a classifier that is new has not seen it. */
const CHATTER_BYTES = 3000;

/** What was counted of a pod's packets by one time. */
export interface Counted {
  /** Which devices of the pod's: others count anew. */
  readonly devices: string;
  /** By these; read first. Of a merged packet the headers once. */
  readonly receivedBytes: number;
  /** By the classifier; of a merged packet the headers of each segment. */
  readonly seenBytes: number;
}

interface Known extends Counted {
  readonly unseenBytes: number;
}

export class Unseen {
  #known: ReadonlyMap<number, Known> = new Map();

  /** Bytes of an aggregate's packets that the classifier has not seen since this helper began. */
  bytesOf(id: number): number {
    return this.#known.get(id)?.unseenBytes ?? 0;
  }

  /** Takes in what is counted now of all aggregates, by id. */
  add(counted: ReadonlyMap<number, Counted>): void {
    const entries = [...counted].map(([id, now]): [number, Known] => {
      const before = this.#known.get(id);
      if (before === undefined || before.devices !== now.devices)
        return [id, { ...now, unseenBytes: 0 }];
      const received = now.receivedBytes - before.receivedBytes;
      // A counter that goes back has begun anew.
      const seen = now.seenBytes - before.seenBytes;
      const missing = seen < 0 || received < 0 ? 0 : received - seen;
      const isMissing = missing > TOLERANCE * received + CHATTER_BYTES;
      return [id, { ...now, unseenBytes: before.unseenBytes + (isMissing ? missing : 0) }];
    });
    this.#known = new Map(entries);
  }
}
