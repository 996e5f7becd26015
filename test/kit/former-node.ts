// An aggregate whose packets go through podpace's programs in a layout that never was, to be
// upgraded to today's.

import path from 'node:path';
import type { ExecutionContext } from 'ava';
import { lookupElement, updateElement } from '../../helper/kernel/bpf.ts';
import {
  closeObject,
  loadObject,
  typedMaps,
  type LoadedObject,
  type LoadedPodpace,
  type LoadedProgram,
} from '../../helper/kernel/bpf-loader.ts';
import { inSource } from '../../helper/wire/datapath-names.ts';
import type { Hooks } from '../../helper/kernel/hooks.ts';
import type { Place } from '../../helper/wire/hook-place.ts';
import { pinLayout } from '../../helper/kernel/layout-pin.ts';
import {
  AGGREGATE_CONFIG,
  AGGREGATE_COUNTERS,
  aggregateIndex,
  aggregatePage,
  AGGREGATE_ID_MIN,
  decodeAggregateClock,
  AGGREGATE_KEY,
  HOST_INTERFACE,
  INTERFACE_KEY,
  sumAggregateCounters,
  type AggregateConfig,
  type AggregateCounters,
} from '../../helper/wire/aggregate.ts';
import { required } from '../bed/programs.ts';
import { TC_ACT_UNSPEC } from './datapath.ts';
import { otherLayouts, presentObject, type OtherLayout } from './other-layout.ts';
import { mountTemporaryBpffs } from '../bed/temporary-bpffs.ts';
import { sendThrough, type TestOutcome } from '../bed/test-packet.ts';

/** A test run's packets are on loopback. */
const IFINDEX = 1;
const PLACE: Place = { ifindex: IFINDEX, hook: 'egress' };
const ID = AGGREGATE_ID_MIN + 70;
const WIRE_LEN = 10_000;
/** A packet takes a millisecond. */
export const CONFIG = {
  ...{
    rateBytesPerSec: 10_000_000,
    horizonNs: 50_000_000,
    idleCreditNs: 250_000,
    sparseCreditNs: 750_000,
  },
  ...{ targetNs: 0, intervalNs: 100_000_000, exemptions: 0 },
};
export const LAYOUTS = ['larger', 'smaller', 'unknown'] as const;

/** The programs that a packet into a pod meets: others would only take time to load. */
function intoPod(object: ReturnType<typeof presentObject>): ReturnType<typeof presentObject> {
  return {
    ...object,
    programs: object.programs.filter(({ name }) => /deliver|receive/.test(name)),
  };
}

function fdOf({ maps }: LoadedObject, name: string): number {
  return maps.get(name) ?? -1;
}

const deliverOf = ({ programs }: LoadedObject): LoadedProgram =>
  required(programs, 'podpace_deliver');

/** As loadPodpace returns it, as far as changing over needs it. */
export function asPodpace(object: LoadedObject): LoadedPodpace {
  const deliver = deliverOf(object);
  const maps = typedMaps((name) => fdOf(object, inSource(name)));
  const pages = {
    aggregateState: object.pages.get('aggregate_state'),
    aggregateCounters: object.pages.get('aggregate_counters'),
  };
  return { ...object, maps, pages, programs: { deliver } } as unknown as LoadedPodpace;
}

export function clockNs(object: LoadedObject, offset: number): bigint {
  const value = object.pages.get('aggregate_state')?.get(aggregateIndex(ID));
  return value === undefined ? 0n : decodeAggregateClock(value.subarray(offset)).lastNs;
}

export function countersOf(object: LoadedObject): AggregateCounters {
  const values = object.pages.get('aggregate_counters')?.getEachCpu(aggregateIndex(ID)) ?? [];
  return sumAggregateCounters(values.map((each) => AGGREGATE_COUNTERS.decode(each)));
}

/** The settings that an object's programs go by. */
export function configOf(object: LoadedObject): AggregateConfig | undefined {
  const value = lookupElement(
    fdOf(object, 'aggregate_config'),
    AGGREGATE_KEY.encode(ID),
    AGGREGATE_CONFIG.size,
  );
  return value && AGGREGATE_CONFIG.decode(value);
}

/**
 * A node of a former layout with one aggregate, whose packets go through the program that stands at
 * one place.
 */
export class FormerNode {
  readonly pins: string;
  readonly former: LoadedObject;
  /** Where the clock stands in the former layout. */
  readonly clockOffset: number;
  /** The program that stands there. */
  standing: LoadedProgram;
  /** Packets that were not dropped. */
  passed = 0;
  #flows = 0;
  readonly #other: OtherLayout;

  constructor(t: ExecutionContext, layout: (typeof LAYOUTS)[number]) {
    const bpffs = mountTemporaryBpffs();
    t.teardown(() => bpffs.remove());
    this.pins = path.join(bpffs.directory, 'podpace');
    this.#other = otherLayouts()[layout];
    this.clockOffset = layout === 'smaller' ? 0 : 8;
    this.former = loadObject(intoPod(this.#other.object), this.pins);
    t.teardown(() => closeObject(this.former));
    pinLayout(this.pins, { layout: 1, release: '0.0.1' });
    for (const pages of this.former.pages.values())
      for (const page of [0, aggregatePage(ID)]) pages.make(page);
    const config = AGGREGATE_CONFIG.encode(CONFIG);
    updateElement(fdOf(this.former, 'aggregate_config'), AGGREGATE_KEY.encode(ID), config);
    const entry = HOST_INTERFACE.encode({ egressId: 0, ingressId: ID });
    updateElement(fdOf(this.former, 'host_interfaces'), INTERFACE_KEY.encode(IFINDEX), entry);
    this.standing = deliverOf(this.former);
  }

  /** Loads today's object in the place of the former one. */
  loadOurs(): LoadedObject {
    const to = {
      release: '9.9.9',
      conversions: (from: number) => (from === 1 ? this.#other.conversions : new Map()),
    };
    return loadObject(intoPod(presentObject()), this.pins, to);
  }

  /** Sends packets of flows of their own through the program that stands there. */
  send(count: number): TestOutcome[] {
    const sent = Array.from({ length: count }, (_, packet) =>
      sendThrough(this.standing.fd, { flow: this.#flows + packet, wireLen: WIRE_LEN }),
    );
    this.passed += sent.filter(({ verdict }) => verdict === TC_ACT_UNSPEC).length;
    this.#flows += count;
    return sent;
  }

  /** The node's one place; `attaching` is called before and after the program there is replaced. */
  hooks(ours: LoadedObject, attaching: () => void): Hooks {
    return {
      kind: 'tcx',
      standings: async (places) =>
        places.map(() => ({ programId: this.standing.id, inFront: [], canPass: true })),
      comeFirst: async () => undefined,
      knownPlaces: () => [PLACE],
      attachedProgramId: async () => this.standing.id,
      detach: async () => undefined,
      attach: async () => {
        attaching();
        this.standing = deliverOf(ours);
        attaching();
      },
    };
  }
}
