// The watch over what comes into pods without their cap, look by look: what the pod's end has
// received beside what the host interface has sent, and that beside what the program there has
// seen.

import test from 'ava';
import { ArrivalWatch, type Arrival } from '../../../../helper/shaping/arrival-watch.ts';

const ID = 4101;
/** 10 Mbit/s. */
const CAP = 1_250_000;
const LOOK_SECONDS = 2;

interface Pace {
  /** Bytes per second that come by the host interface. */
  readonly by?: number;
  /** And past it. */
  readonly past?: number;
  /** By it, and unseen by the program there. */
  readonly unseen?: number;
}

/** A pod whose clock runs by looks. */
class Pod {
  readonly #watch = new ArrivalWatch();
  #atMs = 1_000_000;
  #received = 5e9;
  #sent = 4e9;
  #seen = 3e9;
  ends = '7';
  rate = CAP;

  constructor() {
    this.look();
  }

  /** Goes on at a pace; gives after how many seconds it is told of, undefined for never. */
  run(
    seconds: number,
    { by = 0, past = 0, unseen = 0 }: Pace,
    everySeconds = LOOK_SECONDS,
  ): number | undefined {
    let told: number | undefined;
    for (let now = everySeconds; now <= seconds; now += everySeconds) {
      this.#atMs += everySeconds * 1000;
      this.#seen += by * everySeconds;
      this.#sent += (by + unseen) * everySeconds;
      this.#received += (by + unseen + past) * everySeconds;
      this.look();
      if (this.arrival() !== undefined) told ??= now;
    }
    return told;
  }

  /** Counters move without time. */
  move(received: number, sent: number, seen = sent): void {
    this.#received += received;
    this.#sent += sent;
    this.#seen += seen;
  }

  look(receivedMore = 0): void {
    this.#watch.add(ID, {
      ...{ atMs: this.#atMs, ends: this.ends, rateBytesPerSec: this.rate },
      ...{ receivedBytes: this.#received + receivedMore, sentBytes: this.#sent },
      seenBytes: this.#seen,
    });
  }

  forget(): void {
    this.#watch.keep(new Set());
  }

  isSuspect(): boolean {
    return this.#watch.isSuspect(ID);
  }

  arrival(): Arrival | undefined {
    return this.#watch.arrivals().get(ID);
  }
}

test('twice the cap past the host interface is told of at the second look', (t) => {
  const pod = new Pod();
  t.is(pod.run(20, { by: CAP }), undefined);
  t.is(pod.run(20, { by: CAP, past: CAP }), 4);
  t.deepEqual(pod.arrival(), { way: 'past', bytesPerSec: CAP });
});

test('a helper that has just begun tells of it as soon', (t) => {
  t.is(new Pod().run(20, { past: 2 * CAP }), 4);
});

test('a twentieth of the cap is the limit, averaged over ten seconds', (t) => {
  t.is(new Pod().run(60, { by: CAP, past: 0.049 * CAP }), undefined);
  const told = new Pod().run(60, { by: CAP, past: 0.055 * CAP });
  t.true(told !== undefined && told <= 15, `${told} s`);
});

test('a half of the cap for a second is told of, a fifth is not', (t) => {
  const [half, fifth] = [new Pod(), new Pod()];
  half.run(10, { by: CAP });
  fifth.run(10, { by: CAP });
  half.move(CAP * 0.7, 0);
  fifth.move(CAP * 0.4, 0);
  t.is(half.run(20, { by: CAP }), 4);
  t.is(fifth.run(20, { by: CAP }), undefined);
});

test('it ends within ten seconds, and two looks, of the last that came so', (t) => {
  const pod = new Pod();
  pod.run(20, { past: CAP });
  pod.run(12, { by: CAP });
  t.is(pod.arrival(), undefined);
  t.false(pod.isSuspect());
});

test('what pods in turn are looked at for every 8 s is told of as well', (t) => {
  const told = new Pod().run(80, { by: CAP, past: CAP }, 8);
  t.is(told, 16);
});

test('one look that comes between the two readings is nothing', (t) => {
  const pod = new Pod();
  pod.run(20, { by: CAP });
  pod.look(3 * CAP);
  t.is(pod.arrival(), undefined);
  t.is(pod.run(30, { by: CAP }), undefined);
});

test('what is exempt may come at any rate, and be read a little later', (t) => {
  const pod = new Pod();
  const exempt = 1.25e9;
  for (let look = 0; look < 20; look += 1) {
    pod.run(LOOK_SECONDS, { by: exempt });
    t.is(pod.arrival(), undefined);
    // 100 ms of it.
    pod.move(0.1 * exempt, 0);
    pod.look();
    pod.move(0, 0.1 * exempt);
    t.is(pod.arrival(), undefined);
  }
});

test('other ends count anew, and so do counters that begin anew', (t) => {
  const pod = new Pod();
  pod.run(20, { by: CAP });
  pod.ends = '7,9';
  pod.move(1e9, 0);
  t.is(pod.run(20, { by: CAP }), undefined);
  pod.move(-5e9, 0);
  t.is(pod.run(20, { by: CAP }), undefined);
  pod.move(0, -4e9);
  t.is(pod.run(20, { by: CAP }), undefined);
});

test('of a cap that was changed meanwhile the larger counts', (t) => {
  const pod = new Pod();
  pod.rate = 100 * CAP;
  pod.run(10, { by: CAP, past: CAP });
  pod.rate = CAP;
  t.is(pod.run(6, { by: CAP, past: CAP }), undefined);
  t.not(pod.run(10, { by: CAP, past: CAP }), undefined);
});

test('who is forgotten begins anew', (t) => {
  const pod = new Pod();
  pod.run(20, { past: CAP });
  pod.forget();
  t.is(pod.arrival(), undefined);
  t.is(pod.run(2, { past: CAP }), undefined);
});

test('what the program at the host interface does not see is told of at the third look', (t) => {
  const pod = new Pod();
  t.is(pod.run(20, { by: CAP }), undefined);
  t.is(pod.run(20, { by: CAP, unseen: CAP }), 6);
  t.deepEqual(pod.arrival(), { way: 'unseen', bytesPerSec: CAP });
  pod.run(LOOK_SECONDS, { by: CAP });
  t.is(pod.arrival(), undefined);
});

test('not what was not seen while the program was gone, for two looks', (t) => {
  const pod = new Pod();
  pod.run(20, { by: CAP });
  t.is(pod.run(4, { unseen: 2 * CAP }), undefined);
  t.is(pod.run(20, { by: CAP }), undefined);
});

test('not the headers of segments, which the program counts, and what fq holds', (t) => {
  const pod = new Pod();
  const queue = 0.05 * CAP;
  for (let look = 0; look < 20; look += 1) {
    pod.move(0, 0, look % 2 === 0 ? queue : -queue);
    t.is(pod.run(LOOK_SECONDS, { by: CAP }), undefined);
    pod.move(0, 0, 0.04 * CAP);
  }
});
