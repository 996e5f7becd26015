// What is to be on a node in memory.

import { aggregatesOf } from '../../helper/shaping/aggregates.ts';
import type { Desired } from '../../helper/shaping/plan.ts';
import { DEFAULTS } from '../../helper/shaping/rates.ts';
import type { Change } from '../../helper/shaping/records.ts';

/** What is wanted and nothing else, with the aggregates that its attachments name. */
export function desiredOf(
  wanted: Omit<Partial<Desired>, 'aggregates'>,
  { defaults = DEFAULTS, changes = [] as readonly Change[] } = {},
): Desired {
  const { attachments = [], exempt = [], ...rest } = wanted;
  return {
    ...{ attachments, exempt, exits: [], arrivals: [], foreignQdisc: 'respect', ...rest },
    aggregates: aggregatesOf(attachments, { defaults, exempt }, changes),
  };
}
