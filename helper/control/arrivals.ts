// Looks now and then at what comes into capped pods past their host interfaces, or past the program
// there, and remembers what was found.

import { Breaks } from '../kernel/breaks.ts';
import { readDeviceBytes } from '../kernel/device-counters.ts';
import { findLink, readFarCounter, type FarDevice } from '../kernel/links.ts';
import { nameOf } from '../protocol/pod-names.ts';
import { sharersByAggregate } from '../shaping/aggregates.ts';
import { ArrivalWatch, type Arrival, type ArrivalWay } from '../shaping/arrival-watch.ts';
import type { Problem } from '../shaping/judgement.ts';
import {
  hostInterfaceIndexesOf,
  hostInterfacesOf,
  type AttachmentRecord,
  type HostInterfaceRecord,
} from '../shaping/records.ts';
import { formatRate } from '../shaping/units.ts';
import { hasErrno } from '../wire/errors.ts';
import type { Datapath } from './datapath.ts';
import { ToldProblems } from './told-problems.ts';

/**
 * Pods that one look asks the kernel for, each by a request of its own;
 * those beyond take turns, and whom something was found with is asked for each time.
 */
const PODS_PER_LOOK = 125;

/** What is to be looked for, by the way that it comes. */
const ADVICE: Readonly<Record<ArrivalWay, (places: string) => string>> = {
  past: (places) =>
    `come past ${places}, and so past the cap: look for another's program that redirects them to ` +
    "the pod's end of the pair (bpf_redirect_peer), at tc ingress of the devices that they come in by",
  unseen: (places) =>
    `are sent by ${places} and not seen by the program at its egress: look for an XDP program that ` +
    `redirects them to ${places}, or a packet socket that sends past qdiscs (PACKET_QDISC_BYPASS)`,
};

function problemOf(record: AttachmentRecord, { way, bytesPerSec }: Arrival): Problem {
  const rate = formatRate(Math.round(bytesPerSec * 8));
  const places = hostInterfacesOf(record).map(({ hostInterface }) => hostInterface);
  return {
    code: 'ingress-unseen',
    text: `${rate} of what ${nameOf(record)} receives ${ADVICE[way](places.join(' and '))}`,
    place: record.hostInterface,
    scopes: [{ of: 'attachment', key: record, direction: 'ingress' }],
  };
}

type Receiver = readonly [id: number, sharers: readonly AttachmentRecord[]];

export class Arrivals {
  readonly #datapath: Datapath;
  readonly #told: ToldProblems;
  readonly #watch = new ArrivalWatch();
  /** The pods' ends, by the index of the host interface. */
  readonly #ends = new Map<number, FarDevice>();
  #position = 0;

  constructor(datapath: Datapath, log: (level: 'error' | 'info', message: string) => void) {
    this.#datapath = datapath;
    this.#told = new ToldProblems(log, (name) => `what ${name} receives comes by its cap again`);
  }

  /** What the last look has found. */
  problems(): Problem[] {
    return this.#told.problems();
  }

  /**
   * Compares what pods with a cap on it have received with what their host interfaces sent, and
   * that with what the program there has seen.
   */
  async look(attachments: readonly AttachmentRecord[]): Promise<void> {
    const sharers = sharersByAggregate(attachments, 'ingress');
    const receivers = [...sharers];
    this.#watch.keep(new Set(sharers.keys()));
    const indexes = new Set(
      receivers.flatMap(([, records]) => records.flatMap(hostInterfaceIndexesOf)),
    );
    for (const index of this.#ends.keys()) if (!indexes.has(index)) this.#ends.delete(index);
    if (receivers.length > 0) {
      // Before the pods' counters: what comes between the two readings is then too much for one
      // look, and does not lessen what the next ones find.
      const { sent } = readDeviceBytes();
      const breaks = new Breaks();
      for (const receiver of this.#next(receivers)) {
        await this.#lookAt(receiver, sent);
        await breaks.mayCome();
      }
    }
    this.#told.tell(
      [...this.#watch.arrivals()].flatMap(([id, arrival]) =>
        (sharers.get(id) ?? []).map((record) => ({
          record,
          problem: problemOf(record, arrival),
        })),
      ),
      attachments,
    );
  }

  /** Those to ask for now. */
  #next(receivers: readonly Receiver[]): readonly Receiver[] {
    if (receivers.length <= PODS_PER_LOOK) return receivers;
    const begin = this.#position < receivers.length ? this.#position : 0;
    this.#position = begin + PODS_PER_LOOK;
    const turn = receivers.slice(begin, this.#position);
    const asked = new Set(turn);
    const others = receivers.filter((each) => !asked.has(each));
    return [...turn, ...others.filter(([id]) => this.#watch.isSuspect(id))];
  }

  async #lookAt([id, sharers]: Receiver, sent: ReadonlyMap<string, number>): Promise<void> {
    let [receivedBytes, sentBytes] = [0, 0];
    const ends: string[] = [];
    for (const way of sharers.flatMap(hostInterfacesOf)) {
      const toPod = sent.get(way.hostInterface);
      const received = toPod === undefined ? undefined : await this.#receivedAt(way);
      if (toPod === undefined || received === undefined) continue;
      sentBytes += toPod;
      receivedBytes += received;
      ends.push(String(way.hostInterfaceIndex));
    }
    if (ends.length === 0) return;
    this.#watch.add(id, {
      ...{ atMs: performance.now(), ends: ends.join(), receivedBytes, sentBytes },
      seenBytes: this.#seenBytes(id),
      rateBytesPerSec: this.#datapath.maps.aggregateConfig.at(id).rateBytesPerSec,
    });
  }

  /** What the program at the host interface's egress has let through to a pod. */
  #seenBytes(id: number): number {
    const charged = [...this.#datapath.readCounters(id).values()];
    return charged.reduce(
      (sum, { bytes }) => sum + Number(bytes),
      Number(this.#datapath.readBook(id).exempt.bytes),
    );
  }

  /**
   * What the pod's end of a pair has received; undefined where that cannot be told: no pair, its
   * end has been moved, a namespace that asks for more privileges.
   */
  async #receivedAt({ hostInterfaceIndex }: HostInterfaceRecord): Promise<number | undefined> {
    try {
      const end = this.#ends.get(hostInterfaceIndex) ?? (await this.#endOf(hostInterfaceIndex));
      if (end === undefined) return undefined;
      const counter = await readFarCounter(this.#datapath.promptRt, end);
      if (counter?.linkIndex === hostInterfaceIndex) {
        this.#ends.set(hostInterfaceIndex, end);
        return counter.receivedBytes;
      }
      this.#ends.delete(hostInterfaceIndex);
    } catch (error) {
      if (!hasErrno(error, 'EPERM')) throw error;
    }
    return undefined;
  }

  async #endOf(index: number): Promise<FarDevice | undefined> {
    const link = await findLink(this.#datapath.promptRt, { index });
    return link?.linkIndex === undefined || link.linkNetnsId === undefined
      ? undefined
      : { netnsId: link.linkNetnsId, index: link.linkIndex };
  }
}
