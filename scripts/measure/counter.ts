// Counts frames at the peer, by test/bpf/count.bpf.c: what was on the wire, whatever the sender believes.

import fs from 'node:fs';
import path from 'node:path';
import {
  createMap,
  deleteElement,
  loadProgram,
  lookupElement,
  mapKeys,
  PROG_TYPE_SCHED_CLS,
} from '../../helper/kernel/bpf.ts';
import { ensureClsact, replaceBpfFilter } from '../../helper/kernel/filters.ts';
import { findLink } from '../../helper/kernel/links.ts';
import { openNetns } from '../../helper/kernel/netns.ts';
import { RtSocket } from '../../helper/kernel/rtnetlink.ts';
import { linkMaps, parseBpfObject } from '../../helper/wire/bpf-object.ts';
import { buildBpfObject } from '../lib/bpf-build.ts';
import { buildDirectory, projectRoot } from '../lib/paths.ts';
import { seriesBySource } from './series.ts';
import type { ByteSeries, IntervalCount } from './series.ts';
import type { UndoStack } from './undo.ts';

/** Where `compileCounter` puts the program. */
const COUNTER_OBJECT = path.join(buildDirectory, 'bpf/count.bpf.o');

/** Lengths of what the maps of test/bpf/count.bpf.c hold. */
const SOURCE_BYTES = 4;
const INTERVAL_KEY_BYTES = 8;
const COUNT_BYTES = 8;

/** A counter at work. It counts as long as its namespace lives. */
export interface Counter {
  /** Forgets everything; the next full frame of a sender begins its series. */
  reset(): void;
  /** Frames since the last reset, by the sender's IPv4 address. */
  readWire(): Map<string, ByteSeries>;
  /** The payload in those frames. */
  readPayload(): Map<string, ByteSeries>;
}

/** Compiles the program, unless that has been done. Throws Error; clang's messages go to stderr. */
export function compileCounter(): void {
  buildBpfObject(path.join(projectRoot, 'test/bpf/count.bpf.c'));
}

/** One element of the maps `wire_bytes` and `payload_bytes`: struct interval and a count. */
export function decodeCount(key: Buffer, value: Buffer): IntervalCount {
  return {
    source: key.subarray(0, SOURCE_BYTES).join('.'),
    interval: key.readUInt32LE(SOURCE_BYTES),
    bytes: Number(value.readBigUInt64LE()),
  };
}

function emptyMap(fd: number, keySize: number): void {
  for (const key of mapKeys(fd, keySize)) deleteElement(fd, key);
}

function readSeries(fd: number): Map<string, ByteSeries> {
  const counts: IntervalCount[] = [];
  for (const key of mapKeys(fd, INTERVAL_KEY_BYTES)) {
    const value = lookupElement(fd, key, COUNT_BYTES);
    if (value !== undefined) counts.push(decodeCount(key, value));
  }
  return seriesBySource(counts);
}

/** Loads the program; what it holds of the kernel's is let go by `undo`. */
function loadCounter(undo: UndoStack): {
  programFd: number;
  firstFrame: number;
  wireBytes: number;
  payloadBytes: number;
} {
  const { programs, maps, license } = parseBpfObject(fs.readFileSync(COUNTER_OBJECT));
  const keep = (fd: number): number => {
    undo.defer("close the counter's descriptors", () => fs.closeSync(fd));
    return fd;
  };
  const fds = new Map(maps.map((map) => [map.name, keep(createMap(map))]));
  const [program] = programs;
  const firstFrame = fds.get('first_frame');
  const [wireBytes, payloadBytes] = [fds.get('wire_bytes'), fds.get('payload_bytes')];
  const isWhole = firstFrame !== undefined && wireBytes !== undefined && payloadBytes !== undefined;
  if (program === undefined || !isWhole) {
    throw new Error(
      `Cannot count frames: ${COUNTER_OBJECT} lacks the program or a map; delete it and start again`,
    );
  }
  const instructions = linkMaps(program, fds);
  const programFd = keep(
    loadProgram({ type: PROG_TYPE_SCHED_CLS, name: program.name, license, instructions }),
  );
  return { programFd, firstFrame, wireBytes, payloadBytes };
}

/**
 * Starts counting the frames that come in on a device of a namespace. Throws KernelError.
 */
export async function attachCounter(
  place: { readonly netns: string; readonly device: string },
  undo: UndoStack,
): Promise<Counter> {
  const { programFd, firstFrame, wireBytes, payloadBytes } = loadCounter(undo);
  const netns = openNetns(place.netns);
  const rt = RtSocket.open(netns);
  try {
    const link = await findLink(rt, { name: place.device });
    if (link === undefined)
      throw new Error(`Cannot count frames: ${place.netns} has no device "${place.device}"`);
    await ensureClsact(rt, link.index);
    const filter = { ifindex: link.index, hook: 'ingress', priority: 1, handle: 1 } as const;
    await replaceBpfFilter(rt, { ...filter, programFd, name: 'count' });
  } finally {
    rt.close();
    netns.close();
  }
  return {
    reset(): void {
      emptyMap(firstFrame, SOURCE_BYTES);
      for (const map of [wireBytes, payloadBytes]) emptyMap(map, INTERVAL_KEY_BYTES);
    },
    readWire: () => readSeries(wireBytes),
    readPayload: () => readSeries(payloadBytes),
  };
}
