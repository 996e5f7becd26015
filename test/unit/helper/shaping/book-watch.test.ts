// The watch over the books, look by look: 2 s apart, in bytes per second of what vanishes and of
// what devices send.

import test from 'ava';
import {
  BookWatch,
  type AggregateSample,
  type BookSample,
} from '../../../../helper/shaping/book-watch.ts';

const LOOK_MS = 2000;
const ID = 4100;
const OTHER = 4102;
/** 10 Mbit/s. */
const CAP = 1_250_000;
const FRAME = 1514;

interface Moves {
  readonly settles?: number;
  readonly vanishes?: number;
  /** Vanishes, and the classifier has not seen it. */
  readonly unseen?: number;
}

interface Pace {
  /** By aggregate: what reaches the exits and what vanishes. */
  readonly pods?: Readonly<Record<number, Moves>>;
  readonly devices?: Readonly<Record<string, number>>;
}

/** A node whose clock runs by looks. */
class Node {
  readonly #watch = new BookWatch();
  readonly #books = new Map<number, AggregateSample>();
  readonly #sent = new Map<string, number>();
  readonly rates = new Map<number, number>();
  atMs = 1_000_000;

  /**
   * Goes on at a pace; returns for each look the devices by which something leaks, by aggregate.
   */
  run(seconds: number, pace: Pace, lookMs = LOOK_MS): Record<number, readonly string[]>[] {
    const looks: Record<number, readonly string[]>[] = [];
    for (let ms = lookMs; ms <= seconds * 1000; ms += lookMs) {
      this.atMs += lookMs;
      this.#pass(pace, lookMs / 1000);
      looks.push(this.look());
    }
    return looks;
  }

  look(): Record<number, readonly string[]> {
    const sample: BookSample = {
      atMs: this.atMs,
      aggregates: new Map(this.#books),
      sentBytes: new Map(this.#sent),
    };
    const vanishing = this.#watch.add(sample);
    const leaks = this.#watch.judge(vanishing, {
      ofAll: [...this.#sent.keys()].filter((way) => way !== 'uplink'),
      ofUnseen: ['uplink'],
    });
    return Object.fromEntries(leaks.map(({ id, ways }) => [id, ways]));
  }

  /** A book that is empty again, and a device whose counter is. */
  reset(): void {
    this.#books.clear();
    for (const device of this.#sent.keys()) this.#sent.set(device, 0);
  }

  /** Bytes that are seen now and settled later. */
  hold(id: number, bytes: number): void {
    this.#add(id, 0, bytes);
  }

  #pass({ pods = {}, devices = {} }: Pace, seconds: number): void {
    for (const [id, { settles = 0, vanishes = 0, unseen = 0 }] of Object.entries(pods))
      this.#add(Number(id), settles * seconds, vanishes * seconds, unseen * seconds);
    for (const [device, bytesPerSec] of Object.entries(devices))
      this.#sent.set(device, (this.#sent.get(device) ?? 0) + bytesPerSec * seconds);
  }

  #add(id: number, settles: number, vanishes: number, unseen = 0): void {
    const {
      seen,
      settled,
      unseenBytes = 0,
    }: Omit<AggregateSample, 'rateBytesPerSec'> = this.#books.get(id) ?? {
      ...{ seen: { frames: 0, bytes: 0 }, settled: { frames: 0, bytes: 0 } },
    };
    const more = ({ frames, bytes }: AggregateSample['seen'], by: number) => {
      return { frames: frames + by / FRAME, bytes: bytes + by };
    };
    this.#books.set(id, {
      seen: more(seen, settles + vanishes + unseen),
      unseenBytes: unseenBytes + unseen,
      settled: more(settled, settles),
      rateBytesPerSec: this.rates.get(id) ?? CAP,
    });
  }
}

const QUIET: Pace = { pods: { [ID]: { settles: CAP } }, devices: { eth1: 0, leak0: 1000 } };
const LEAK: Pace = {
  pods: { [ID]: { vanishes: 1.5 * CAP } },
  devices: { eth1: 0, leak0: 1.5 * CAP },
};
/** Ten times the cap into a firewall. */
const DROP: Pace = { pods: { [ID]: { vanishes: 10 * CAP } }, devices: { eth1: 0, leak0: 1000 } };

/** What is sent past the classifier, and leaves by a device with a program. */
const UNSEEN: Pace = { pods: { [ID]: { unseen: 1.5 * CAP } }, devices: { uplink: 1.5 * CAP } };

function quietNode(seconds = 40): Node {
  const node = new Node();
  node.run(seconds, QUIET);
  return node;
}

function firstAt(looks: readonly Record<number, readonly string[]>[], id = ID): number {
  const index = looks.findIndex((look) => look[id] !== undefined);
  return index < 0 ? Infinity : ((index + 1) * LOOK_MS) / 1000;
}

function neverTold(node: Node, seconds: number, pace: Pace): boolean {
  return node.run(seconds, pace).every((look) => Object.keys(look).length === 0);
}

test('what leaves by a device without a program is told within two looks, for as long as it lasts', (t) => {
  const node = quietNode();
  const looks = node.run(120, LEAK);
  t.is(firstAt(looks), 4);
  t.true(looks.slice(2).every((look) => look[ID]?.join(' ') === 'leak0'));
  const after = node.run(20, QUIET);
  t.deepEqual(after.at(-1), {});
});

test('what the classifier has not seen may have left by any device, and the rest by none with a program', (t) => {
  t.true(firstAt(quietNode().run(30, UNSEEN)) <= 6);
  t.true(firstAt(new Node().run(30, UNSEEN)) <= 14);
  const seen = { pods: { [ID]: { vanishes: 1.5 * CAP } }, devices: { uplink: 1.5 * CAP } };
  t.true(neverTold(quietNode(), 60, seen));
  // An XDP program that drops.
  t.true(neverTold(quietNode(), 60, { ...UNSEEN, devices: { uplink: 0 } }));
});

test('a leak from the first look of a helper on is told within 15 seconds', (t) => {
  const node = new Node();
  t.true(firstAt(node.run(30, LEAK)) <= 14);
  const later = new Node();
  later.run(4, QUIET);
  t.true(firstAt(later.run(40, LEAK)) <= 22);
});

test('a leak of a part of what is sent, beside what the cap holds', (t) => {
  const part = {
    pods: { [ID]: { settles: CAP, vanishes: 0.1 * CAP } },
    devices: { leak0: 1000 + 0.1 * CAP },
  };
  t.true(firstAt(quietNode().run(30, part)) <= 14);
  const little = {
    pods: { [ID]: { settles: CAP, vanishes: 0.04 * CAP } },
    devices: { leak0: 1000 + 0.04 * CAP },
  };
  t.true(neverTold(quietNode(), 60, little));
});

test('pods that leak by one device are told of each, and who is only dropped is not', (t) => {
  const node = quietNode();
  node.run(40, { pods: { [OTHER]: { vanishes: 10 * CAP } }, devices: { leak0: 1000 } });
  const both = { [ID]: { vanishes: CAP }, [OTHER]: { vanishes: 10 * CAP } };
  const looks = node.run(60, { pods: both, devices: { leak0: CAP } });
  t.is(firstAt(looks), 4);
  t.is(firstAt(looks, OTHER), Infinity);
});

interface Harmless {
  readonly title: string;
  readonly node?: () => Node;
  readonly paces: readonly (readonly [seconds: number, pace: Pace])[];
}

const HARMLESS: readonly Harmless[] = [
  { title: 'ten times the cap into a firewall', paces: [[120, DROP]] },
  {
    title: 'the same from the first look of a helper on',
    node: () => new Node(),
    paces: [[120, DROP]],
  },
  {
    title: 'the same beside a device that always sends as much and more',
    node: () => {
      const node = new Node();
      node.run(40, { ...QUIET, devices: { eth1: 20 * CAP } });
      return node;
    },
    paces: [[120, { ...DROP, devices: { eth1: 20 * CAP } }]],
  },
  {
    title: 'the same when the helper starts',
    node: () => new Node(),
    paces: [[120, { ...DROP, devices: { eth1: 20 * CAP } }]],
  },
  {
    title: 'a device that begins to send while a firewall drops',
    paces: [
      [60, DROP],
      [60, { ...DROP, devices: { eth1: 20 * CAP } }],
    ],
  },
  {
    title: 'a device that begins to send while all is held',
    paces: [[60, { ...QUIET, devices: { eth1: 20 * CAP } }]],
  },
];

for (const { title, node = quietNode, paces } of HARMLESS) {
  test(`no alarm: ${title}`, (t) => {
    const scene = node();
    for (const [seconds, pace] of paces) t.true(neverTold(scene, seconds, pace));
  });
}

test('no alarm: a merged packet that is on its way at a look, under the smallest cap', (t) => {
  const node = new Node();
  node.rates.set(ID, 1250);
  const slow = { pods: { [ID]: { settles: 1250 } }, devices: { leak0: 1250 } };
  node.run(40, slow);
  node.hold(ID, 65_226);
  t.deepEqual(node.run(2, slow), [{}]);
  node.hold(ID, -65_226);
  t.true(neverTold(node, 40, slow));
});

test('no alarm: books and devices that begin anew', (t) => {
  const node = quietNode();
  node.reset();
  t.true(neverTold(node, 40, QUIET));
  node.run(10, { ...QUIET, devices: { eth1: 5 * CAP } });
  node.reset();
  t.true(neverTold(node, 40, DROP));
});

test('no alarm: a cap that `set` has lowered, by what vanished under the larger one', (t) => {
  const node = quietNode();
  const some = {
    pods: { [ID]: { settles: CAP, vanishes: 0.04 * CAP } },
    devices: { leak0: 1000 + 0.04 * CAP },
  };
  node.run(20, some);
  node.rates.set(ID, CAP / 100);
  t.true(neverTold(node, 4, { pods: { [ID]: { settles: CAP / 100 } }, devices: { leak0: 1000 } }));
});

test('no alarm: looks that are late, and one that comes twice', (t) => {
  const node = quietNode();
  t.true(node.run(60, DROP, 20_000).every((look) => Object.keys(look).length === 0));
  t.deepEqual(node.look(), {});
  t.true(neverTold(node, 20, QUIET));
});

test('a leak is told by late looks as well', (t) => {
  const node = quietNode();
  t.deepEqual(node.run(60, LEAK, 12_000).at(-1), { [ID]: ['leak0'] });
});

test('a device that comes with the leak is found', (t) => {
  const node = new Node();
  node.run(40, { pods: { [ID]: { settles: CAP } } });
  t.true(firstAt(node.run(40, { ...LEAK, devices: { new0: 1.5 * CAP } })) <= 6);
});
