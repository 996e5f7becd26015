// What a bench has measured: one record for each run, kept in a file as soon as the run is over,
// and the rows that are the medians of the runs.

import fs from 'node:fs';
import path from 'node:path';
import { SYSTEMS } from './names.ts';
import type { Bench, ControlSystem, System } from './names.ts';
import { median, medianCurve } from '../bed/statistics.ts';

/** One figure, in the form that all of the project's benchmarks share. */
export interface Row {
  readonly bench: string;
  readonly scenario: string;
  readonly system: string;
  readonly metric: string;
  readonly unit: string;
  readonly value: number;
}

/** One figure of one run. */
export interface Metric {
  readonly metric: string;
  readonly unit: string;
  readonly value: number;
}

export const metric = (name: string, unit: string, value: number): Metric => ({
  metric: name,
  unit,
  value,
});

/** What one run has to show. */
export interface Measured {
  readonly metrics: readonly Metric[];
  /**
   * For how long the machine itself stood still at most meanwhile; undefined where that was not
   * watched.
   */
  readonly stallMs?: number;
  /** Distribution of round-trip times in microseconds, at CURVE_PERCENTS. */
  readonly curveUs?: readonly number[];
  /** Mbit/s on the wire in every INTERVAL_MS from the first data frame on. */
  readonly ratesMbit?: readonly number[];
}

/** Which run it is. */
export interface RunKey {
  readonly scenario: string;
  readonly system: System | ControlSystem;
  /** From 0 on. */
  readonly repeat: number;
}

/** One run of a scenario on a system. */
export interface RunRecord extends RunKey, Measured {}

/** All that a bench has measured, and where. */
export interface Part {
  readonly bench: Bench;
  readonly kernel: string;
  readonly cpus: number;
  readonly cpuModel: string;
  readonly quick: boolean;
  /** What the clock of its VM counted; absent: time. */
  readonly clock?: 'instructions';
  /** How podpace joined pods to their nodes, where it was told. */
  readonly wiring?: string;
  /** Commit of the former revision beside podpace, where one was asked for. */
  readonly baseline?: string;
  /** Of podpace, where git knows it. */
  readonly revision?: string;
  /** ISO 8601: when its first run was over. */
  readonly measuredAt: string;
  readonly records: readonly RunRecord[];
}

function groupsOf(records: readonly RunRecord[]): RunRecord[][] {
  const groups = new Map<string, RunRecord[]>();
  for (const record of records) {
    const key = `${record.scenario} ${record.system}`;
    const group = groups.get(key) ?? [];
    groups.set(key, group);
    group.push(record);
  }
  return [...groups.values()];
}

/** The figures of a part: for each scenario, system and metric the median over the repeats. */
export function rowsOf({ bench, records }: Pick<Part, 'bench' | 'records'>): Row[] {
  return groupsOf(records).flatMap((group) => {
    const names = new Map(
      group.flatMap(({ metrics }) => metrics.map(({ metric, unit }) => [metric, unit])),
    );
    return Array.from(names, ([metric, unit]): Row => {
      const values = group.flatMap(({ metrics }) =>
        metrics.filter((each) => each.metric === metric),
      );
      const { scenario, system } = group[0] ?? { scenario: '', system: '' };
      return {
        bench,
        scenario,
        system,
        metric,
        unit,
        value: median(values.map(({ value }) => value)),
      };
    });
  });
}

/** A line of a chart: the runs of one system under one scenario, put together. */
export interface Curve {
  readonly scenario: string;
  readonly system: System;
  readonly values: readonly number[];
}

/** Only systems that send packets are drawn. */
function isDrawn(system: RunKey['system']): system is System {
  return (SYSTEMS as readonly string[]).includes(system);
}

/** Distributions of round-trip times: at each percentage the median over the repeats. */
export function curvesOf({ records }: Pick<Part, 'records'>): Curve[] {
  return groupsOf(records).flatMap((group): Curve[] => {
    const curves = group.flatMap(({ curveUs }) => (curveUs === undefined ? [] : [curveUs]));
    const [first] = group;
    if (first === undefined || !isDrawn(first.system) || curves.length === 0) return [];
    return [{ scenario: first.scenario, system: first.system, values: medianCurve(curves) }];
  });
}

/** Rates over time: those of the first run. */
export function ratesOf({ records }: Pick<Part, 'records'>): Curve[] {
  return groupsOf(records).flatMap((group): Curve[] => {
    const [first] = group;
    if (first?.ratesMbit === undefined || !isDrawn(first.system)) return [];
    return [{ scenario: first.scenario, system: first.system, values: first.ratesMbit }];
  });
}

function isSameRun(a: RunKey, b: RunKey): boolean {
  return a.scenario === b.scenario && a.system === b.system && a.repeat === b.repeat;
}

/** Reads what a bench has kept; undefined when it has kept nothing. */
export function readPart(file: string): Part | undefined {
  if (!fs.existsSync(file)) return undefined;
  return JSON.parse(fs.readFileSync(file, 'utf8')) as Part;
}

/**
 * Keeps the runs of a bench in a file; a bench that is started again goes on where the last one
 * ended.
 */
export class Recorder {
  readonly #file: string;
  #part: Part;

  constructor(file: string, part: Omit<Part, 'records' | 'measuredAt'>) {
    this.#file = file;
    this.#part = readPart(file) ?? { ...part, measuredAt: new Date().toISOString(), records: [] };
  }

  /** Whether a run is over already. */
  has(key: RunKey): boolean {
    return this.#part.records.some((record) => isSameRun(record, key));
  }

  /** Keeps a run. The file is replaced whole: its reader never sees half of it. */
  add(record: RunRecord): void {
    this.#part = { ...this.#part, records: [...this.#part.records, record] };
    fs.mkdirSync(path.dirname(this.#file), { recursive: true });
    const staged = `${this.#file}.new`;
    fs.writeFileSync(staged, JSON.stringify(this.#part));
    fs.renameSync(staged, this.#file);
  }
}
