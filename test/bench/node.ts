// A node of each system, all alike but for what holds the cap: each has a peer behind an uplink and
// one pod.

import type { Counters } from '../../helper/protocol/messages.ts';
import { capture } from '../../scripts/lib/process.ts';
import { attachCounter } from '../bed/counter.ts';
import type { Counter } from '../bed/counter.ts';
import type { BackgroundProcess } from '../bed/background.ts';
import { PODPACED, startHelper } from '../bed/helper.ts';
import { startServer } from '../bed/iperf.ts';
import {
  addressOf,
  bandwidthArguments,
  callPlugins,
  hostInterfaceOf,
  podpaceWith,
} from '../bed/plugins.ts';
import type { Network, OwnNetwork, PodCaps } from '../bed/plugins.ts';
import { makeTestBed } from '../bed/testbed.ts';
import type { TestBed } from '../bed/testbed.ts';
import type { UndoStack } from '../bed/undo.ts';
import { UPLINK, UPLINK_QUEUES } from '../bed/uplink.ts';
import { startEdtFifo } from './edt-fifo.ts';
import type { EdtFifo } from './edt-fifo.ts';
import { WIRINGS } from './names.ts';
import type { System } from './names.ts';
import { receiveByFlow, servedAsBulk, spreadTransmitQueues } from './processors.ts';
import { startAnswering } from './requests.ts';

/** TBF needs a burst that is set: this one delays nobody, and is 1 ms at 1 Gbit/s. */
const TBF_BURST_BITS = 1_000_000;

/** The capability arguments of a pod on a node of a system: caps, where its plugins hold them. */
export function argumentsFor(system: System, caps: PodCaps): string {
  if (system === 'podpace') return bandwidthArguments(caps);
  return bandwidthArguments(system === 'tbf' ? { ...caps, burstBits: TBF_BURST_BITS } : {});
}

const NETWORKS: Readonly<Record<System, Network>> = {
  podpace: 'podpace',
  tbf: 'tbf',
  'edt-fifo': 'ptp',
  none: 'ptp',
};

function networkOf(system: System, { folder, wiring }: NodeOptions): Network | OwnNetwork {
  if (system !== 'podpace' || wiring === undefined) return NETWORKS[system];
  return podpaceWith(folder, wiring, WIRINGS.get(wiring) ?? {});
}

/** What a node needs from outside. */
export interface NodeOptions {
  /** Folder for files of its own. */
  readonly folder: string;
  /**
   * Whether each processor has transmit queues of its own; otherwise a flow's hash chooses queue
   * and receiver.
   */
  readonly hasQueuesPerProcessor: boolean;
  /** How podpace joins pods to the node, one of WIRINGS; undefined: as its network list says. */
  readonly wiring: string | undefined;
  /** Ends the making early. */
  readonly signal: AbortSignal;
}

/**
 * The system's own part: its processes, its caps where no plugin sets them; and the peer's server
 * for bulk.
 */
interface Machinery {
  readonly bulkServer: BackgroundProcess;
  /** Adds and removes the pod. */
  readonly network: Network | OwnNetwork;
  readonly helper?: BackgroundProcess;
  readonly edtFifo?: EdtFifo;
}

/** Of podpace's counters those that the benches use. */
export type PodCounters = Required<
  Pick<Counters, 'ceMarked' | 'droppedHorizon' | 'droppedAqm' | 'droppedFlow'>
>;

/** A node with one pod at a time. */
export class BenchNode {
  readonly system: System;
  readonly bed: TestBed<'pod'>;
  readonly counter: Counter;
  readonly options: NodeOptions;
  readonly #machinery: Machinery;

  private constructor(
    system: System,
    bed: TestBed<'pod'>,
    counter: Counter,
    options: NodeOptions,
    machinery: Machinery,
  ) {
    this.system = system;
    this.bed = bed;
    this.counter = counter;
    this.options = options;
    this.#machinery = machinery;
  }

  /**
   * Makes a node, its peer with servers for bulk and requests, and starts the system. `undo` takes
   * it all away.
   */
  static async make(system: System, options: NodeOptions, undo: UndoStack): Promise<BenchNode> {
    const { signal, folder, hasQueuesPerProcessor } = options;
    const bed = await makeTestBed(['pod'], undo, signal, { label: `${system}-` });
    const counter = await attachCounter({ netns: bed.peer, device: UPLINK }, undo);
    const server = await startServer(bed.peer, undo, signal);
    await startAnswering(bed.peer, folder, undo, signal);
    for (const netns of [bed.node, bed.peer]) {
      if (hasQueuesPerProcessor) await spreadTransmitQueues(netns, UPLINK_QUEUES);
      else await receiveByFlow(netns);
    }
    const machinery = {
      bulkServer: server,
      network: networkOf(system, options),
      ...(system === 'podpace' && { helper: await startHelper(bed, undo, signal) }),
      ...(system === 'edt-fifo' && { edtFifo: await startEdtFifo(bed.node, undo) }),
    };
    return new BenchNode(system, bed, counter, options, machinery);
  }

  /** Path of the pod's namespace. */
  get pod(): string {
    return this.bed.pods.get('pod') ?? '';
  }

  async #call(verb: 'add' | 'del', caps: PodCaps): Promise<string> {
    return await callPlugins(verb, {
      network: this.#machinery.network,
      bed: this.bed,
      netns: this.pod,
      capabilityArguments: argumentsFor(this.system, caps),
    });
  }

  /** Adds the pod with caps, which the uncapped node disregards; returns its IPv4 address. */
  async addPod(caps: PodCaps): Promise<string> {
    const result = await this.#call('add', caps);
    if (caps.egressMbit !== undefined)
      await this.#machinery.edtFifo?.cap(hostInterfaceOf(result), caps.egressMbit);
    return addressOf(result);
  }

  /** Takes the pod away; also one whose adding failed. */
  async removePod(caps: PodCaps): Promise<void> {
    await this.#call('del', caps);
  }

  /**
   * Runs an operator's command on the node and returns what it prints. Throws CommandError with its
   * words.
   */
  async podpaced(...args: readonly string[]): Promise<string> {
    return await capture(...this.bed.onNode(PODPACED, ...args));
  }

  /** The pod's attachment as the operator's commands name it. */
  async attachmentKey(): Promise<string> {
    const list = JSON.parse(await this.podpaced('list', '--json')) as {
      readonly attachments: readonly { readonly containerId: string; readonly ifname: string }[];
    };
    const [attachment] = list.attachments;
    if (attachment === undefined) throw new Error('Cannot measure podpace: it lists no attachment');
    return `${attachment.containerId}/${attachment.ifname}`;
  }

  /**
   * What podpace has counted of what the pod sent or received; undefined on the node of another
   * system.
   */
  async counters(direction: 'egress' | 'ingress' = 'egress'): Promise<PodCounters | undefined> {
    if (this.system !== 'podpace') return undefined;
    const { attachments } = JSON.parse(await this.podpaced('counters', '--json')) as {
      readonly attachments: readonly Partial<
        Record<typeof direction, { readonly total: PodCounters }>
      >[];
    };
    const total = attachments[0]?.[direction]?.total;
    if (total === undefined)
      throw new Error('Cannot measure podpace: it counts nothing of the pod');
    return total;
  }

  /** Runs something while the peer serves bulk on the processor of bulk only. */
  async withBulkApart<T>(work: () => Promise<T>): Promise<T> {
    return await servedAsBulk(this.#machinery.bulkServer.pid, work);
  }

  /**
   * Halts the system's own processes, so that they cost others nothing while those are measured.
   */
  pause(): void {
    this.#machinery.helper?.pause();
  }

  resume(): void {
    this.#machinery.helper?.resume();
  }
}
