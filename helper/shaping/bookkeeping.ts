// Looks at the books now and then, and remembers what the watch over them has found.

import { readSentBytes } from '../kernel/device-counters.ts';
import { listLinks } from '../kernel/links.ts';
import type { Datapath } from './datapath.ts';
import { BookWatch, type AggregateSample, type Leak } from './book-watch.ts';
import { talliesOf } from './books.ts';
import { nameOf } from './effective.ts';
import { devicesWithoutProgram, type Exit } from './exits.ts';
import type { Problem } from './judgement.ts';
import { hostInterfaceIndexesOf, hostInterfacesOf, type AttachmentRecord } from './records.ts';
import { formatRate } from './units.ts';

/** What a look takes in. */
export interface BooksOf {
  readonly attachments: readonly AttachmentRecord[];
  /** Where programs stand. */
  readonly exits: Iterable<Exit>;
}

function problemOf({ bytesPerSec, devices }: Leak, record: AttachmentRecord): Problem {
  const names = devices.join(', ');
  const places = hostInterfacesOf(record).map(({ hostInterface }) => hostInterface);
  return {
    text:
      `${formatRate(Math.round(bytesPerSec * 8))} of what ${nameOf(record)} sends vanish between ${places.join(' or ')} and the exits, ` +
      `and ${names}, without a program of podpace, sends more since: look for what routes or redirects packets to ${names}`,
    place: record.hostInterface,
    scopes: [{ of: 'attachment', key: record, direction: 'egress' }],
  };
}

export class Bookkeeping {
  readonly #datapath: Datapath;
  readonly #log: (level: 'error' | 'info', message: string) => void;
  readonly #watch = new BookWatch();
  /** By the name of the attachment. */
  #problems: ReadonlyMap<string, Problem> = new Map();

  constructor(datapath: Datapath, log: (level: 'error' | 'info', message: string) => void) {
    this.#datapath = datapath;
    this.#log = log;
  }

  /** What the last look has found. */
  problems(): Problem[] {
    return [...this.#problems.values()];
  }

  /** Compares what vanishes of capped pods' packets with what devices without a program send. */
  async look({ attachments, exits }: BooksOf): Promise<void> {
    const senders = new Map<number, AttachmentRecord>();
    for (const record of attachments)
      if (record.egressAggregateId !== undefined) senders.set(record.egressAggregateId, record);
    if (senders.size === 0) return this.#tell(new Map());
    const aggregates = new Map([...senders.keys()].map((id) => [id, this.#sampleOf(id)]));
    const sample = { atMs: performance.now(), aggregates, sentBytes: readSentBytes() };
    const vanishing = this.#watch.add(sample);
    // Which devices there are is asked only when it matters.
    const devices = vanishing.length === 0 ? [] : await this.#devices(attachments, [...exits]);
    const leaks = this.#watch.judge(vanishing, devices);
    this.#tell(
      new Map(
        leaks.flatMap((leak) => {
          const record = senders.get(leak.id);
          return record === undefined ? [] : [[nameOf(record), problemOf(leak, record)] as const];
        }),
      ),
    );
  }

  #sampleOf(id: number): AggregateSample {
    const { seen, settled } = talliesOf(this.#datapath.readBook(id));
    return { seen, settled, rateBytesPerSec: this.#datapath.readConfig(id).rateBytesPerSec };
  }

  async #devices(attachments: readonly AttachmentRecord[], exits: readonly Exit[]): Promise<string[]> {
    const hostInterfaces = new Set(attachments.flatMap(hostInterfaceIndexesOf));
    return devicesWithoutProgram(await listLinks(this.#datapath.rt), exits, hostInterfaces);
  }

  /** Logs what comes and what goes, once each. */
  #tell(problems: ReadonlyMap<string, Problem>): void {
    for (const [name, { text }] of problems) if (!this.#problems.has(name)) this.#log('error', text);
    for (const name of this.#problems.keys())
      if (!problems.has(name)) this.#log('info', `Solved: what ${name} sends leaves by the exits again`);
    this.#problems = problems;
  }
}
