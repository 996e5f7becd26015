// What podpace must show in the lab, and the comparison with what was measured. Pure.

import type { Verdict } from './verdict.ts';

/** The loads of the lab: each pod by itself, then all of them together. */
export const SCENARIOS = [
  '10M',
  '100M',
  'uncapped',
  'together-10M',
  'together-100M',
  'together-uncapped',
] as const;

export type Scenario = (typeof SCENARIOS)[number];

/** `tbf` is the CNI `bandwidth` plugin, whose shaper is the kernel's token bucket filter. */
export const SYSTEMS = ['podpace', 'tbf'] as const;

export type System = (typeof SYSTEMS)[number];

/** The figures of one pod under one load. */
export interface Measurement {
  readonly scenario: Scenario;
  readonly system: System;
  /** Payload in the frames that reached the peer, per second. */
  readonly goodputMbit: number;
  /** Rate on the wire in the first second from the first data frame. */
  readonly firstSecondMbit: number;
  /** Segments that the sender's TCP sent again. */
  readonly retransmits: number;
}

/** Cap of the pod that a scenario loads, in Mbit/s; undefined for the uncapped one. */
export function capMbit(scenario: Scenario): number | undefined {
  if (scenario.endsWith('uncapped')) return undefined;
  return scenario.endsWith('100M') ? 100 : 10;
}

interface Limits {
  readonly goodputMbit: readonly [least: number, most: number];
  readonly firstSecondMbit: number;
}

/**
 * Frames of 1514 bytes carry 1448 bytes of payload, so a cap that is held and used gives 95.6 % of
 * itself as goodput; the first second may hold 5 % more than the cap.
 */
const LIMITS = new Map<number, Limits>([
  [10, { goodputMbit: [9.4, 9.6], firstSecondMbit: 10.5 }],
  [100, { goodputMbit: [94.0, 95.7], firstSecondMbit: 105 }],
]);

/** How much faster than the sum of the caps the uncapped pod must be beside the capped ones. */
const UNCAPPED_TIMES_SUM_OF_CAPS = 3;

function capVerdicts(measurement: Measurement, limits: Limits): Verdict<Scenario>[] {
  const { scenario, goodputMbit, firstSecondMbit } = measurement;
  const [least, most] = limits.goodputMbit;
  return [
    {
      scenario,
      met: goodputMbit >= least && goodputMbit <= most,
      text: `${scenario}: goodput ${goodputMbit.toFixed(2)} Mbit/s, must be ${least.toFixed(2)} to ${most.toFixed(2)}`,
    },
    {
      scenario,
      met: firstSecondMbit <= limits.firstSecondMbit,
      text: `${scenario}: first second ${firstSecondMbit.toFixed(2)} Mbit/s, must be at most ${limits.firstSecondMbit.toFixed(2)}`,
    },
  ];
}

/**
 * Every requirement on podpace's measurements. A scenario that was not measured has a verdict that
 * is not met.
 */
export function judge(measurements: readonly Measurement[]): Verdict<Scenario>[] {
  return SCENARIOS.flatMap((scenario): Verdict<Scenario>[] => {
    const measurement = measurements.find(
      (each) => each.system === 'podpace' && each.scenario === scenario,
    );
    if (measurement === undefined)
      return [{ scenario, met: false, text: `${scenario}: not measured` }];
    const limits = LIMITS.get(capMbit(scenario) ?? 0);
    if (limits !== undefined) return capVerdicts(measurement, limits);
    if (scenario !== 'together-uncapped') return [];
    const least = UNCAPPED_TIMES_SUM_OF_CAPS * (10 + 100);
    const { goodputMbit } = measurement;
    return [
      {
        scenario,
        met: goodputMbit >= least,
        text: `${scenario}: goodput ${goodputMbit.toFixed(0)} Mbit/s, must be at least ${least} (3 times the sum of the caps)`,
      },
    ];
  });
}
