// Which CPUs the kernel may ever have: per-CPU maps hold one value for each, present or not.

import fs from 'node:fs';

const POSSIBLE_CPUS = '/sys/devices/system/cpu/possible';

let possible: readonly number[] | undefined;

/**
 * The numbers in a list such as `0-3,5`, as the kernel writes sets of CPUs. Throws RangeError for
 * anything else.
 */
export function parseCpuList(text: string): number[] {
  return text
    .trim()
    .split(',')
    .flatMap((range) => {
      const [, first, last = first] = /^(\d+)(?:-(\d+))?$/.exec(range) ?? [];
      if (first === undefined)
        throw new RangeError(`Cannot read the list of CPUs ${JSON.stringify(text)}`);
      const length = Number(last) - Number(first) + 1;
      return Array.from({ length: Math.max(0, length) }, (_, index) => Number(first) + index);
    });
}

/** The numbers of all possible CPUs, ascending. They never change while the kernel runs. */
export function possibleCpus(): readonly number[] {
  possible ??= parseCpuList(fs.readFileSync(POSSIBLE_CPUS, 'utf8'));
  return possible;
}
