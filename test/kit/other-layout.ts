// podpace's programs in a layout that never was: the source with other sizes and places of what
// stands in its maps.

import fs from 'node:fs';
import path from 'node:path';
import { parseBpfObject, type BpfObject } from '../../helper/wire/bpf-object.ts';
import { SOJOURN_BUCKETS } from '../../helper/wire/aggregate.ts';
import type { ConvertValue } from '../../helper/wire/layout.ts';
import { buildBpf, buildBpfObject } from '../../scripts/lib/bpf-build.ts';
import { buildDirectory, projectRoot } from '../../scripts/lib/paths.ts';

export interface OtherLayout {
  readonly object: BpfObject;
  /** How values of its maps become those of today's. */
  readonly conversions: ReadonlyMap<string, ConvertValue>;
}

/** Changes to the text of a source file: each must apply. */
type Patches = Readonly<Record<string, readonly (readonly [from: string, to: string])[]>>;

const WORD = 8;
/** struct departure_flow_set is so long: bpf/departure-state.h. */
const FLOW_SET_BYTES = 328;
const OTHER_BUCKETS = 8;

/** A word in front of the clock, and one in front of the counters. */
const LARGER: Patches = {
  'departure-state.h': [['\t__u64 t_last; /*', '\t__u64 in_front;\n\t__u64 t_last; /*']],
  'aggregates.h': [['\t__u64 packets; /*', '\t__u64 in_front;\n\t__u64 packets; /*']],
};

/** Half the flows, and half the buckets. */
const SMALLER: Patches = {
  'departure-state.h': [['#define FLOW_SETS 16', '#define FLOW_SETS 8']],
  'aggregates.h': [
    [`#define SOJOURN_BUCKETS ${SOJOURN_BUCKETS}`, `#define SOJOURN_BUCKETS ${OTHER_BUCKETS}`],
  ],
};

function withoutFirstWord(value: Buffer): Buffer {
  return Buffer.from(value.subarray(WORD));
}

/** Behind the flow sets stands what the latest packet was told. */
function withMoreFlows(value: Buffer): Buffer {
  const LATEST = 24;
  const sets = Buffer.alloc(8 * FLOW_SET_BYTES);
  return Buffer.concat([value.subarray(0, -LATEST), sets, value.subarray(-LATEST)]);
}

function writeIfOther(file: string, text: string): void {
  // What is older than its object is not compiled again.
  if (!fs.existsSync(file) || fs.readFileSync(file, 'utf8') !== text) fs.writeFileSync(file, text);
}

function patched(name: string, patches: Patches): BpfObject {
  const source = path.join(projectRoot, 'bpf');
  const directory = path.join(buildDirectory, 'other-layouts', name);
  fs.mkdirSync(directory, { recursive: true });
  const main = path.join(directory, `layout-${name}.bpf.c`);
  for (const file of fs.readdirSync(source).filter((each) => /\.[ch]$/.test(each))) {
    let text = fs.readFileSync(path.join(source, file), 'utf8');
    for (const [from, to] of patches[file] ?? []) {
      if (!text.includes(from)) throw new Error(`${file} has no ${JSON.stringify(from)}`);
      text = text.replace(from, to);
    }
    writeIfOther(file === 'podpace.bpf.c' ? main : path.join(directory, file), text);
  }
  return parseBpfObject(fs.readFileSync(buildBpfObject(main)));
}

/** Today's object. */
export function presentObject(): BpfObject {
  return parseBpfObject(fs.readFileSync(buildBpf()));
}

/** Layouts whose values are longer or shorter than today's; and one of which nothing is known. */
export function otherLayouts(): Readonly<Record<'larger' | 'smaller' | 'unknown', OtherLayout>> {
  const larger = patched('larger', LARGER);
  return {
    larger: {
      object: larger,
      conversions: new Map([
        ['aggregate_state', withoutFirstWord],
        ['aggregate_counters', withoutFirstWord],
      ]),
    },
    smaller: {
      object: patched('smaller', SMALLER),
      // Counters that only get longer go on by themselves.
      conversions: new Map([['aggregate_state', withMoreFlows]]),
    },
    unknown: { object: larger, conversions: new Map() },
  };
}
