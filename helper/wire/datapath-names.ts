// What bpf/podpace.bpf.c consists of, by the names that everybody else calls it by.

import {
  AGGREGATE_CONFIG,
  AGGREGATE_KEY,
  FRAME_OVERHEAD,
  HOST_INTERFACE,
  INTERFACE_KEY,
} from './aggregate.ts';
import { UNSIGNED_TALLY_SIZE } from './book.ts';
import { EXEMPTION_KEY_SIZE, EXEMPTION_SIZE } from './exemption.ts';
import { NODE_PLACE } from './node-place.ts';
import {
  POD_ADDRESS_KEY_SIZE,
  POD_ADDRESS_SIZE,
  ROUTED_POD_KEY_SIZE,
  ROUTED_POD_SIZE,
} from './routing.ts';
import { bytesOf, U32 } from './struct.ts';

/** Programs that stand at hooks of devices. */
export const PROGRAM_NAMES = [
  'classify',
  'depart',
  'departUpper',
  'deliver',
  'forward',
  'arrive',
] as const;

export type ProgramName = (typeof PROGRAM_NAMES)[number];

/** Keys and values of the maps that the helper knows. */
export const MAPS = {
  aggregateConfig: { key: AGGREGATE_KEY, value: AGGREGATE_CONFIG },
  hostInterfaces: { key: INTERFACE_KEY, value: HOST_INTERFACE },
  upperExits: { key: INTERFACE_KEY, value: FRAME_OVERHEAD },
  exemptions: { key: bytesOf(EXEMPTION_KEY_SIZE), value: bytesOf(EXEMPTION_SIZE) },
  routedPods: { key: bytesOf(ROUTED_POD_KEY_SIZE), value: bytesOf(ROUTED_POD_SIZE) },
  podAddresses: { key: bytesOf(POD_ADDRESS_KEY_SIZE), value: bytesOf(POD_ADDRESS_SIZE) },
  nodePlace: { key: U32, value: NODE_PLACE },
  /** Of each CPU. */
  unsignedTraffic: { key: U32, value: bytesOf(UNSIGNED_TALLY_SIZE) },
  /**
   * Where programs go on in others: see CONTINUE_RECEIVE. A program is put in by its descriptor.
   */
  continuations: { key: U32, value: U32 },
} as const;

/** Maps whose elements stand in pages. */
export const PAGED_MAP_NAMES = ['aggregateState', 'aggregateCounters', 'aggregateBooks'] as const;

/** The name of a map there, and of a program after `podpace_`. */
export function inSource(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
