// The layout of what outlives a helper: pinned maps, and records. It is one number, counted up by
// hand.
//
// Count it up, here and nowhere else, with any change after which bytes that a former release left
// would be misread: another shape of a map (its type, sizes, number of entries, flags), another
// meaning of bytes in a map whose shape stays, another meaning of a record. A map that is new does
// not count: it is made when it is missing. Neither does a field of a record that may be absent.
//
// Where values of a map that stays in use change, CONVERSIONS says how they are read, or else what
// they held starts anew: settings and entries are written from the records, counters begin with
// zero, clocks with the worst that the former one can have promised. Counters that more of
// them follow need no conversion (GROWING_MAPS). Ids of aggregates mean the same in all layouts:
// they are on packets that are under way.

import { Struct, U32 } from './struct.ts';

/**
 * 1: the first, which nothing names. 2: programs cannot write to maps whose entries the helper
 * finds by a key (BPF_F_RDONLY_PROG), by which podpaced of layout 1, which knows no layouts,
 * refuses them and leaves the node as it is.
 */
export const LAYOUT = 2;

/** What stands with pins and with records: their layout, and the release that made it so. */
export interface LayoutMark {
  readonly layout: number;
  readonly release: string;
}

/** Of pins and records that no mark stands with. */
export const FIRST_MARK: LayoutMark = { layout: 1, release: '0.1.0' };

/** A mark in a map; later layouts may make it longer. A text ends with a NUL. */
const MARK = new Struct('layout', { layout: 'u32', release: 60 });
export const LAYOUT_MARK_SIZE = MARK.size;

/** The mark as the one value of a map. A release that is too long is cut. */
export function encodeLayoutMark({ layout, release }: LayoutMark): Buffer {
  const text = Buffer.from(release, 'latin1').subarray(0, LAYOUT_MARK_SIZE - U32.size - 1);
  return MARK.encode({ layout, release: text });
}

/** Reads a mark of this length or a longer one. */
export function decodeLayoutMark(value: Buffer): LayoutMark {
  const { layout, release } = MARK.decode(value.subarray(0, LAYOUT_MARK_SIZE));
  return { layout, release: release.toString('latin1').replace(/\0.*$/s, '') };
}

/** Reads the mark of a state directory. Throws Error for what is none. */
export function parseLayoutMark(text: string): LayoutMark {
  const mark = JSON.parse(text) as Partial<Record<keyof LayoutMark, unknown>> | null;
  const { layout, release } = mark ?? {};
  if (typeof layout !== 'number' || !Number.isSafeInteger(layout) || layout < FIRST_MARK.layout)
    throw new RangeError(`"layout" is ${JSON.stringify(layout)}, expected a whole number from 1`);
  return { layout, release: typeof release === 'string' ? release : 'unknown' };
}

/** What a map looks like to the kernel. */
export interface MapShape {
  /** `enum bpf_map_type` of linux/bpf.h. */
  readonly type: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  /** BPF_F_* of linux/bpf.h. */
  readonly flags: number;
  /** Of a map whose values are maps. */
  readonly inner?: MapShape;
}

function shape(
  type: number,
  sizes: readonly [key: number, value: number, entries: number],
  flags = 0,
): MapShape {
  return { type, keySize: sizes[0], valueSize: sizes[1], maxEntries: sizes[2], flags };
}

/** The maps of the first layout, by which it is known. */
export const FIRST_LAYOUT_MAPS: ReadonlyMap<string, MapShape> = new Map([
  ['aggregate_config', shape(2, [4, 32, 16_384])],
  ['aggregate_gates', shape(2, [4, 16, 16_384])],
  ['aggregate_state', { ...shape(12, [4, 4, 256]), inner: shape(2, [4, 5520, 64]) }],
  ['aggregate_counters', { ...shape(12, [4, 4, 256]), inner: shape(6, [4, 208, 64]) }],
  ['host_interfaces', shape(1, [4, 8, 16_384], 1)],
  ['upper_exits', shape(1, [4, 16, 4096], 1)],
  ['continuations', shape(3, [4, 4, 1])],
  ['exemptions', shape(11, [24, 8, 2_097_152], 1)],
  ['routed_pods', shape(1, [4, 20, 16_384], 1)],
  ['pod_addresses', shape(1, [16, 20, 65_536], 1)],
]);

/** Makes of a map's value, of one CPU's where there is one for each, the same in another layout. */
export type ConvertValue = (former: Buffer) => Buffer;

/** By the name of the map. */
export type Conversions = ReadonlyMap<string, ConvertValue>;

/**
 * For a layout: of the maps whose values are not those of the layout before, how one comes from the
 * other. Such a map is made anew, also when its shape is the same.
 */
const CONVERSIONS: ReadonlyMap<number, Conversions> = new Map();

/** Maps whose values only get longer: what a former layout did not have at their end is 0. */
export const GROWING_MAPS: ReadonlySet<string> = new Set(['aggregate_counters']);

/** What turns values of a former layout into those of this one. */
export function conversionsFrom(former: number): Conversions {
  const all = new Map<string, ConvertValue>();
  for (let layout = former + 1; layout <= LAYOUT; layout++) {
    for (const [name, convert] of CONVERSIONS.get(layout) ?? []) {
      const before = all.get(name);
      all.set(name, before === undefined ? convert : (value) => convert(before(value)));
    }
  }
  return all;
}
