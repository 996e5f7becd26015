// Looks at the books now and then, and remembers what the watch over them has found.

import { readDeviceBytes } from '../kernel/device-counters.ts';
import type { Datapath } from './datapath.ts';
import { ToldProblems } from './told-problems.ts';
import { sharersByAggregate } from '../shaping/aggregates.ts';
import { BookWatch, type AggregateSample, type Leak, type Ways } from '../shaping/book-watch.ts';
import { talliesOf } from '../shaping/books.ts';
import { nameOf } from '../protocol/pod-names.ts';
import { aggregateIndex } from '../wire/aggregate.ts';
import { devicesWithoutProgram, type Exit } from '../shaping/exits.ts';
import type { Problem } from '../shaping/judgement.ts';
import {
  hostInterfaceIndexesOf,
  hostInterfacesOf,
  type AttachmentRecord,
} from '../shaping/records.ts';
import { formatRate } from '../shaping/units.ts';

/** What a look takes in. */
export interface BooksOf {
  readonly attachments: readonly AttachmentRecord[];
  /** Where programs stand. */
  readonly exits: Iterable<Exit>;
}

/**
 * Names of ways in looks: a device by its own name, an exit by one that no device has
 * (dev_valid_name in net/core/dev.c).
 */
const EXIT_WAY = 'unsigned/';

const NO_WAYS: Ways = { ofAll: [], ofUnseen: [] };

/** What is to be looked for, of the ways that a leak has. */
function adviceOf({ ways, isUnseen }: Leak, hostInterface: string): string[] {
  const exits = ways
    .filter((way) => way.startsWith(EXIT_WAY))
    .map((way) => way.slice(EXIT_WAY.length));
  const devices = ways.filter((way) => !way.startsWith(EXIT_WAY));
  const [exit, device] = [exits.join(', '), devices.join(', ')];
  if (isUnseen)
    return [
      `the classifier has not seen them, and ${device || exit} sends more since: look for what takes packets before the ` +
        `classifier on ${hostInterface} (XDP), or has taken it away`,
    ];
  return [
    ...(devices.length === 0
      ? []
      : [
          `${device}, without a program of podpace, sends more since: look for what routes or redirects packets to ${device}`,
        ]),
    ...(exits.length === 0
      ? []
      : [
          `more leaves by ${exit} without a sign of podpace since: look for what makes other packets of them on the way to ${exit}`,
        ]),
  ];
}

function problemOf(leak: Leak, record: AttachmentRecord): Problem {
  const rate = formatRate(Math.round(leak.bytesPerSec * 8));
  const places = hostInterfacesOf(record)
    .map(({ hostInterface }) => hostInterface)
    .join(' or ');
  return {
    code: 'egress-unaccounted',
    text:
      `${rate} of what ${nameOf(record)} sends vanish between ${places} and the exits, and ` +
      adviceOf(leak, places).join('; '),
    place: record.hostInterface,
    scopes: [{ of: 'attachment', key: record, direction: 'egress' }],
  };
}

export class Bookkeeping {
  readonly #datapath: Datapath;
  readonly #told: ToldProblems;
  readonly #now: () => number;
  readonly #watch = new BookWatch();

  /** `now`: milliseconds of a clock that only goes forward. */
  constructor(
    datapath: Datapath,
    log: (level: 'error' | 'info', message: string) => void,
    now = () => performance.now(),
  ) {
    this.#datapath = datapath;
    this.#now = now;
    this.#told = new ToldProblems(log, (name) => `what ${name} sends leaves by the exits again`);
  }

  /** What the last look has found. */
  problems(): Problem[] {
    return this.#told.problems();
  }

  /** Compares what vanishes of capped pods' packets with what devices without a program send. */
  async look({ attachments, exits }: BooksOf): Promise<void> {
    const senders = sharersByAggregate(attachments, 'egress');
    if (senders.size === 0) return this.#told.tell([], attachments);
    const places = [...exits];
    // Before the books: what comes between the two readings was seen too often, and not unseen.
    const { received, sent } = readDeviceBytes();
    const aggregates = this.#samplesOf(senders, received);
    const unsigned = this.#datapath.readUnsignedBytes(places.map(({ ifindex }) => ifindex));
    for (const { ifindex, name } of places)
      sent.set(`${EXIT_WAY}${name}`, unsigned.get(ifindex) ?? 0);
    const vanishing = this.#watch.add({ atMs: this.#now(), aggregates, sentBytes: sent });
    // Which devices there are is asked only when it matters.
    const ways = vanishing.length === 0 ? NO_WAYS : await this.#ways(attachments, places);
    const leaks = this.#watch.judge(vanishing, ways);
    this.#told.tell(
      leaks.flatMap((leak) =>
        (senders.get(leak.id) ?? []).map((record) => ({
          record,
          problem: problemOf(leak, record),
        })),
      ),
      attachments,
    );
  }

  #samplesOf(
    senders: ReadonlyMap<number, readonly AttachmentRecord[]>,
    received: ReadonlyMap<string, number>,
  ): Map<number, AggregateSample> {
    const read = this.#datapath.readBooks(senders.keys());
    const books = [...read].map(([id, book]) => ({ id, sharers: senders.get(id) ?? [], book }));
    const { unseen } = this.#datapath;
    unseen.add(
      new Map(
        books.map(({ id, sharers, book }) => {
          const ways = sharers
            .flatMap(hostInterfacesOf)
            .filter(({ hostInterface }) => received.has(hostInterface));
          const receivedBytes = ways.reduce(
            (sum, each) => sum + (received.get(each.hostInterface) ?? 0),
            0,
          );
          const devices = ways.map(({ hostInterfaceIndex }) => hostInterfaceIndex).join();
          return [id, { devices, receivedBytes, seenBytes: Number(book.seen.bytes) }] as const;
        }),
      ),
    );
    const places = [...senders.keys()].map(aggregateIndex);
    const most = places.reduce((last, place) => Math.max(last, place), -1) + 1;
    const configs = this.#datapath.maps.aggregateConfig.first(most);
    return new Map(
      books.map(({ id, book }) => {
        const unseenBytes = unseen.bytesOf(id);
        const rateBytesPerSec = configs[aggregateIndex(id)]?.rateBytesPerSec ?? 0;
        return [id, { ...talliesOf(book, unseenBytes), unseenBytes, rateBytesPerSec }];
      }),
    );
  }

  async #ways(attachments: readonly AttachmentRecord[], exits: readonly Exit[]): Promise<Ways> {
    const hostInterfaces = new Set(attachments.flatMap(hostInterfaceIndexesOf));
    const without = devicesWithoutProgram(
      await this.#datapath.devices.links(),
      exits,
      hostInterfaces,
    );
    const names = exits
      .filter(({ ifindex }) => !hostInterfaces.has(ifindex))
      .map(({ name }) => name);
    return {
      ofAll: [...without, ...exits.map(({ name }) => `${EXIT_WAY}${name}`)],
      ofUnseen: names,
    };
  }
}
