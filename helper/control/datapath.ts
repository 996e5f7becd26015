// The loaded programs and maps together with the sockets to reach the node: what observing and
// applying act on.

import path from 'node:path';
import { deleteBatch, lookupBatches, updateBatch } from '../kernel/bpf.ts';
import {
  CONTINUE_RECEIVE,
  loadPodpace,
  type LoadedPodpace,
  type PodpaceMaps,
} from '../kernel/bpf-loader.ts';
import { possibleCpus } from '../kernel/cpus.ts';
import { readUntouchedFq } from '../kernel/untouched-fq.ts';
import { openHooks, type Hooks } from '../kernel/hooks.ts';
import { NodeHook } from '../kernel/node-hook.ts';
import { openBlockingRt } from '../kernel/blocking-rt.ts';
import { openRt } from '../kernel/open-rt.ts';
import type { RtSocket } from '../kernel/rtnetlink.ts';
import {
  AGGREGATE_COUNTERS,
  aggregateIndex,
  AGGREGATES_PER_PAGE,
  decodeAggregateClock,
  decodeIdleCreditNs,
  sumCounterWords,
  type AggregateCounters,
  type CounterSums,
} from '../wire/aggregate.ts';
import {
  decodeAggregateBook,
  decodeUnsignedBytes,
  unsignedPlaceOf,
  type AggregateBook,
} from '../wire/book.ts';
import { EXEMPTION_KEY_SIZE, EXEMPTION_SIZE, exemptionListOf } from '../wire/exemption.ts';
import { ExemptionDigests } from '../wire/exemption-digest.ts';
import { HOOK_MARKS, LINK_PINS } from '../protocol/state-files.ts';
import { BookPages } from './book-pages.ts';
import { changeOver } from './change-over.ts';
import { DeviceWatch } from './device-watch.ts';
import type { ClockAhead } from '../shaping/counters.ts';
import { digestOf, listEntries } from '../shaping/exemptions.ts';
import { ROUTING_MAPS, type RoutingEntry } from '../shaping/host-routing.ts';
import type { Directories } from './layout.ts';
import { PROGRAM_NAMES, type ProgramName } from '../wire/datapath-names.ts';
import { OuterWatch } from './outer-watch.ts';
import { Policing } from './policing.ts';
import { RouteWatch } from './route-watch.ts';
import { Unseen } from '../shaping/unseen.ts';

function joined(texts: readonly string[]): Buffer {
  return Buffer.from(texts.join(''), 'latin1');
}

function textAt(bytes: Buffer, offset: number, length: number): string {
  return bytes.toString('latin1', offset, offset + length);
}

/**
 * A walk through a long map exemptions is followed by a pause of so many times its length: it takes
 * a fiftieth of the time. A short one is walked each time, however long this machine keeps the
 * helper waiting meanwhile.
 */
const EXEMPTION_PAUSE = 49;
const EXEMPTIONS_SHORT = 1000;

export class Datapath {
  readonly rt: RtSocket;
  /** For many small questions: the caller waits for each, which takes a fifth of the time. */
  readonly promptRt: RtSocket;
  readonly routes: RouteWatch;
  readonly outer: OuterWatch;
  readonly devices: DeviceWatch;
  readonly hooks: Hooks;
  readonly policing: Policing;
  readonly maps: PodpaceMaps;
  readonly unseen = new Unseen();
  readonly #loaded: LoadedPodpace;
  readonly #bookPages: BookPages;
  /**
   * Digests of the lists of exemptions, and until when they are taken for true: ms of
   * performance.now().
   */
  #digests: { readonly byList: Map<number, string>; readonly untilMs: number } | undefined;

  /** What lists of exemptions are known to be made of. */
  readonly #texts = new Map<number, readonly string[]>();

  #untouchedFq: Buffer | undefined;

  /**
   * Loads the programs, reusing pinned maps, so that clocks and configuration outlive the helper;
   * those of a former layout are replaced, and `changeOver` has to be called before anything else
   * then. Throws KernelError when the kernel refuses, with the verifier's log.
   */
  constructor(directories: Directories, release: string) {
    this.#loaded = loadPodpace(directories.pins, release);
    this.maps = this.#loaded.maps;
    this.#bookPages = new BookPages(this.#loaded.pages.aggregateBooks);
    this.rt = openRt();
    this.promptRt = openBlockingRt();
    this.routes = RouteWatch.of(this.rt);
    this.outer = new OuterWatch(this.rt);
    this.devices = new DeviceWatch(this.rt);
    const links = path.join(directories.pins, LINK_PINS);
    const marks = path.join(directories.state, HOOK_MARKS);
    this.hooks = openHooks(this.rt, { links, marks });
    this.policing = new Policing(new NodeHook(links, this.maps.nodePlace), this.#loaded.police);
  }

  /**
   * TCA_OPTIONS of an fq of which nobody has chosen any, as this kernel has them; undefined where
   * it makes no fq.
   */
  async untouchedFq(): Promise<Buffer | undefined> {
    this.#untouchedFq ??= await readUntouchedFq().catch(() => undefined);
    return this.#untouchedFq;
  }

  /** Goes on from programs and maps of a former layout, as changeOver does. */
  changeOver(): ReturnType<typeof changeOver> {
    return changeOver(this.#loaded, this.hooks, this.policing);
  }

  program(name: ProgramName): LoadedPodpace['programs'][ProgramName] {
    return this.#loaded.programs[name];
  }

  /** Name of a loaded program by its kernel id; undefined for any other program. */
  programNameOf(id: number): ProgramName | undefined {
    return PROGRAM_NAMES.find((name) => this.program(name).id === id);
  }

  /** Whether a page of aggregates is there, for their state, their counters and their books. */
  hasPage(number: number): boolean {
    return Object.values(this.#loaded.pages).every((pages) => pages.has(number));
  }

  /** Makes a page, empty, or what of it is missing. */
  makePage(number: number): void {
    for (const pages of Object.values(this.#loaded.pages)) pages.make(number);
  }

  /** Pages that this helper has seen. */
  get knownPages(): Set<number> {
    return new Set(Object.values(this.#loaded.pages).flatMap(({ known }) => known));
  }

  /** Gives back the memory of a page that this helper has seen. */
  removePage(number: number): void {
    for (const pages of Object.values(this.#loaded.pages)) pages.remove(number);
  }

  /** Makes an aggregate unused: no configuration, nothing in its state and its counters. */
  clearAggregate(aggregateId: number): void {
    this.maps.aggregateConfig.clear(aggregateId);
    const index = aggregateIndex(aggregateId);
    for (const pages of Object.values(this.#loaded.pages)) pages.clear(index);
  }

  /** How far an aggregate's clock is ahead of now; nothing when its page is not there. */
  readAhead(aggregateId: number): ClockAhead {
    const state = this.#loaded.pages.aggregateState.get(aggregateIndex(aggregateId));
    if (state === undefined) return { backlogNs: 0, throttlingNs: 0 };
    const aheadNs = Number(decodeAggregateClock(state).lastNs - process.hrtime.bigint());
    return {
      backlogNs: Math.max(0, aheadNs),
      throttlingNs: Math.max(0, aheadNs - decodeIdleCreditNs(state)),
    };
  }

  /**
   * Counters of an aggregate by CPU number, for all possible CPUs; empty when its page is not
   * there.
   */
  readCounters(aggregateId: number): Map<number, AggregateCounters> {
    const values = this.#loaded.pages.aggregateCounters.getEachCpu(aggregateIndex(aggregateId));
    const cpus = possibleCpus();
    return new Map(
      values.map((value, index) => [cpus[index] ?? index, AGGREGATE_COUNTERS.decode(value)]),
    );
  }

  /** Sums over all CPUs of the counters of a page's aggregates, by id; none without the page. */
  readPageOfCounters(number: number, ids: readonly number[]): Map<number, CounterSums> {
    const image = this.#loaded.pages.aggregateCounters.image(number);
    if (image === undefined) return new Map();
    const cpus = possibleCpus().length;
    const bytes = cpus * AGGREGATE_COUNTERS.size;
    return new Map(
      ids.map((id) => {
        const at = (aggregateIndex(id) % AGGREGATES_PER_PAGE) * bytes;
        return [id, sumCounterWords(image.subarray(at, at + bytes), cpus)];
      }),
    );
  }

  /**
   * What was seen of an aggregate's packets and what became of them; all zero when its page is not
   * there.
   */
  readBook(aggregateId: number): AggregateBook {
    const { aggregateBooks } = this.#loaded.pages;
    return decodeAggregateBook(aggregateBooks.getEachCpu(aggregateIndex(aggregateId)));
  }

  /** The same of many, by their ids. */
  readBooks(ids: Iterable<number>): Map<number, AggregateBook> {
    return this.#bookPages.read(ids);
  }

  /**
   * Bytes of other devices' packets that have left by each of some exits without a sign, by the
   * exit's index.
   */
  readUnsignedBytes(exits: readonly number[]): Map<number, number> {
    const places = [...new Set(exits.map(unsignedPlaceOf))];
    const read = (place: number): number =>
      decodeUnsignedBytes(this.maps.unsignedTraffic.getEachCpu(place));
    const byPlace = new Map(places.map((place) => [place, read(place)]));
    return new Map(exits.map((ifindex) => [ifindex, byPlace.get(unsignedPlaceOf(ifindex)) ?? 0]));
  }

  /**
   * All entries of the maps of host routing: for this the kernel goes through tens of thousands of
   * empty places.
   */
  routingEntries(): RoutingEntry[] {
    return ROUTING_MAPS.flatMap((map) =>
      this.maps[map].entries().map(([key, value]) => ({ map, key, value })),
    );
  }

  /** Writes entries of the map exemptions: keys and values, a character for each byte. */
  writeExemptions(entries: readonly (readonly [string, string])[]): void {
    updateBatch(this.maps.exemptions.fd, {
      keys: joined(entries.map(([key]) => key)),
      values: joined(entries.map(([, value]) => value)),
      count: entries.length,
    });
  }

  removeExemptions(keys: readonly string[]): void {
    const batch = { keys: joined(keys), values: Buffer.alloc(0), count: keys.length };
    deleteBatch(this.maps.exemptions.fd, batch);
  }

  /**
   * The entries of a list of the map exemptions, a character for each byte. Where it is not known
   * what they are the whole map is gone through: there may be a hundred thousand.
   */
  exemptionEntries(list: number): ReadonlyMap<string, string> {
    const digest = this.#digests?.byList.get(list);
    if (this.#digests !== undefined && digest === undefined) return new Map();
    const texts = this.#texts.get(list);
    if (texts !== undefined && digestOf(texts) === digest) return listEntries(list, texts);
    const entries = new Map<string, string>();
    for (const batch of this.#exemptionBatches()) {
      for (let at = 0; at < batch.count; at++) {
        const keyAt = at * EXEMPTION_KEY_SIZE;
        if (exemptionListOf(batch.keys, keyAt) !== list) continue;
        const key = textAt(batch.keys, keyAt, EXEMPTION_KEY_SIZE);
        entries.set(key, textAt(batch.values, at * EXEMPTION_SIZE, EXEMPTION_SIZE));
      }
    }
    return entries;
  }

  /** The same as they were at the last walk through the map, with what was written since. */
  knownExemptionDigests(): ReadonlyMap<number, string> {
    return this.#digests?.byList ?? this.exemptionDigests();
  }

  /**
   * Digests of the lists of the map exemptions that have entries: as they are, or, where there are
   * more than EXEMPTIONS_SHORT, as they were not long ago.
   */
  exemptionDigests(): ReadonlyMap<number, string> {
    const startMs = performance.now();
    if (this.#digests !== undefined && startMs < this.#digests.untilMs) return this.#digests.byList;
    const digests = new ExemptionDigests();
    let entries = 0;
    for (const { keys, values, count } of this.#exemptionBatches()) {
      digests.add(keys, values, count);
      entries += count;
    }
    const byList = digests.digests();
    const endMs = performance.now();
    const pauseMs = entries > EXEMPTIONS_SHORT ? (endMs - startMs) * EXEMPTION_PAUSE : 0;
    this.#digests = { byList, untilMs: endMs + pauseMs };
    return byList;
  }

  /**
   * Takes note of the digest that a list has now, undefined for none, and of the texts that it is
   * of.
   */
  noteExemptionDigest(list: number, digest: string | undefined, texts: readonly string[]): void {
    if (digest === undefined) {
      this.#digests?.byList.delete(list);
      this.#texts.delete(list);
      return;
    }
    this.#digests?.byList.set(list, digest);
    this.#texts.set(list, texts);
  }

  /** Whether deliver goes on in the program for ingress caps. The kernel gives the program's id. */
  goesOnInReceive(): boolean {
    return this.maps.continuations.get(CONTINUE_RECEIVE) === this.#loaded.programs.receive.id;
  }

  /** Has deliver go on in the program for ingress caps. */
  continueInReceive(): void {
    this.maps.continuations.set(CONTINUE_RECEIVE, this.#loaded.programs.receive.fd);
  }

  close(): void {
    this.rt.close();
    this.promptRt.close();
  }

  #exemptionBatches(): ReturnType<typeof lookupBatches> {
    return lookupBatches(this.maps.exemptions.fd, EXEMPTION_KEY_SIZE, EXEMPTION_SIZE);
  }
}
