// What bpf/podpace.bpf.c consists of, by the names that everybody else calls it by.

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

/** Maps that the helper knows. */
export const MAP_NAMES = [
  'aggregateConfig',
  'hostInterfaces',
  'upperExits',
  'exemptions',
  'routedPods',
  'podAddresses',
  'nodePlace',
  'unsignedTraffic',
  /** Where programs go on in others: see CONTINUE_RECEIVE. */
  'continuations',
] as const;

/** Those of them whose elements stand in pages. */
export const PAGED_MAP_NAMES = ['aggregateState', 'aggregateCounters', 'aggregateBooks'] as const;

/** The name of a map there, and of a program after `podpace_`. */
export function inSource(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
