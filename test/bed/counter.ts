// Counts frames at the peer, by test/bpf/count.bpf.c: what was on the wire, whatever the sender
// believes.

import path from 'node:path';
import { deleteElement, lookupElement, mapKeys } from '../../helper/kernel/bpf.ts';
import { ensureClsact, replaceBpfFilter } from '../../helper/kernel/filters.ts';
import { findLink } from '../../helper/kernel/links.ts';
import { openNetns } from '../../helper/kernel/netns.ts';
import { openRt } from '../../helper/kernel/open-rt.ts';
import { buildBpfObject } from '../../scripts/lib/bpf-build.ts';
import { buildDirectory, projectRoot } from '../../scripts/lib/paths.ts';
import { loadUnpinned, required } from './programs.ts';
import { seriesBySource } from './series.ts';
import type { ByteSeries, IntervalCount } from './series.ts';
import type { UndoStack } from './undo.ts';

/** Where `compileCounter` puts the program. */
const COUNTER_OBJECT = path.join(buildDirectory, 'bpf/count.bpf.o');

/** Lengths of what the maps of test/bpf/count.bpf.c hold. */
const SOURCE_BYTES = 4;
const INTERVAL_KEY_BYTES = 8;
const COUNT_BYTES = 8;
const TIME_BYTES = 8;

/** A counter at work. It counts as long as its namespace lives. */
export interface Counter {
  /** Forgets everything; the next full frame of a sender begins its series. */
  reset(): void;
  /**
   * Frames since the last reset, by the sender's IPv4 address; in intervals of INTERVAL_MS unless
   * told otherwise.
   */
  readWire(intervalMs?: number): Map<string, ByteSeries>;
  /** The payload in those frames. */
  readPayload(intervalMs?: number): Map<string, ByteSeries>;
  /** When a sender's series began, on the monotonic clock; undefined when it has none. */
  firstFrameNs(source: string): bigint | undefined;
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

function readSeries(fd: number, intervalMs?: number): Map<string, ByteSeries> {
  const counts: IntervalCount[] = [];
  for (const key of mapKeys(fd, INTERVAL_KEY_BYTES)) {
    const value = lookupElement(fd, key, COUNT_BYTES);
    if (value !== undefined) counts.push(decodeCount(key, value));
  }
  return seriesBySource(counts, intervalMs);
}

/**
 * Starts counting the frames that come in on a device of a namespace. Throws KernelError.
 */
export async function attachCounter(
  place: { readonly netns: string; readonly device: string },
  undo: UndoStack,
): Promise<Counter> {
  const { maps, programs } = loadUnpinned(COUNTER_OBJECT, undo);
  const programFd = required(programs, 'count');
  const firstFrame = required(maps, 'first_frame');
  const [wireBytes, payloadBytes] = [required(maps, 'wire_bytes'), required(maps, 'payload_bytes')];
  const netns = openNetns(place.netns);
  const rt = openRt(netns);
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
    readWire: (intervalMs) => readSeries(wireBytes, intervalMs),
    readPayload: (intervalMs) => readSeries(payloadBytes, intervalMs),
    firstFrameNs: (source) =>
      lookupElement(
        firstFrame,
        Buffer.from(source.split('.').map(Number)),
        TIME_BYTES,
      )?.readBigUInt64LE(),
  };
}
