// The oracle's flow table: which flows of an aggregate are told apart. As in bpf/departure.h, sets
// of eight ways, and one entry for all that find their set full of flows with packets yet to
// depart.

const SETS = 16;
const WAYS = 8;

/** One flow. */
export interface Flow {
  /** Its latest departure. */
  lastNs: bigint;
  sparseClockNs: bigint;
  fairClockNs: bigint;
  /** In which it was last counted as a bulk flow. */
  round: number;
  /** When the AQM dropped one of its packets, in units of 2^16 ns, of 32 bits. */
  droppedAt: bigint;
}

/** What an entry's times mean at present, as far as they can be true. */
export interface Readings {
  readonly lastOf: (flow: Flow) => bigint;
  /** How far it is ahead of its fair share. */
  readonly fairExcessOf: (flow: Flow) => bigint;
}

interface FlowSet {
  readonly ways: { tag: number; flow: Flow }[];
  readonly shared: Flow;
}

function newFlow(): Flow {
  return { lastNs: 0n, sparseClockNs: 0n, fairClockNs: 0n, round: 0, droppedAt: 0n };
}

function newSet(): FlowSet {
  return {
    ways: Array.from({ length: WAYS }, () => ({ tag: 0, flow: newFlow() })),
    shared: newFlow(),
  };
}

export class FlowTable {
  readonly #sets = Array.from({ length: SETS }, newSet);

  /** The entry of a flow by its 32-bit hash. */
  find(hash: number, nowNs: bigint, { lastOf, fairExcessOf }: Readings): Flow {
    const { ways, shared } = this.#sets[hash % SETS] ?? newSet();
    const tag = Math.floor(hash / (2 * SETS)) + 1;
    const known = ways.find((way) => way.tag === tag);
    if (known !== undefined) return known.flow;
    if (lastOf(shared) > nowNs) return shared;

    const quiet = ways.filter(({ flow }) => lastOf(flow) <= nowNs);
    const owesNothing = ({ flow }: { flow: Flow }): boolean =>
      flow.sparseClockNs <= nowNs && fairExcessOf(flow) === 0n;
    const victim = quiet.findLast(owesNothing) ?? quiet[0];
    if (victim === undefined) return shared;
    victim.tag = tag;
    victim.flow = newFlow();
    return victim.flow;
  }
}
