// The flags of `podpaced set`. Pure.

import { ConfigError } from '../config.ts';
import type { CapChanges, SetParams } from '../protocol/messages.ts';
import { CAP_RANGES } from '../protocol/ranges.ts';
import {
  formatDuration,
  formatRate,
  parseBurst,
  parseDuration,
  parseRate,
} from '../shaping/units.ts';

/** As commander gives them. */
export interface SetFlags {
  readonly egress?: true;
  readonly ingress?: true;
  readonly rate?: string;
  readonly burst?: string;
  readonly horizon?: string;
  readonly aqmTarget?: string;
  readonly aqmInterval?: string;
  readonly reset?: true;
}

interface Setting {
  readonly flag: keyof Omit<SetFlags, 'egress' | 'ingress' | 'reset'>;
  readonly title: string;
  readonly parse: (text: string) => number;
  readonly format: (value: number) => string;
}

const SETTINGS: { readonly [K in keyof Required<CapChanges>]: Setting } = {
  rateBitsPerSec: { flag: 'rate', title: '--rate', parse: parseRate, format: formatRate },
  burstBits: {
    flag: 'burst',
    title: '--burst',
    parse: parseBurst,
    format: (bits) => `${bits} bit`,
  },
  horizonNs: { flag: 'horizon', title: '--horizon', parse: parseDuration, format: formatDuration },
  aqmTargetNs: {
    flag: 'aqmTarget',
    title: '--aqm-target',
    parse: (text) => (text === 'off' ? 0 : parseDuration(text)),
    format: formatDuration,
  },
  aqmIntervalNs: {
    flag: 'aqmInterval',
    title: '--aqm-interval',
    parse: parseDuration,
    format: formatDuration,
  },
};

function directionOf({ egress, ingress }: SetFlags): SetParams['direction'] {
  if (egress === true && ingress === undefined) return 'egress';
  if (ingress === true && egress === undefined) return 'ingress';
  throw new ConfigError('Cannot tell which direction to set: give either --egress or --ingress');
}

function valueOf(name: keyof CapChanges, text: string): number | null {
  const { title, parse, format } = SETTINGS[name];
  if (text === 'default') return null;
  const value = parse(text);
  const [least, most] = CAP_RANGES[name];
  if (value >= least && value <= most) return value;
  throw new ConfigError(`${title} must be from ${format(least)} to ${format(most)}, got ${text}`);
}

/**
 * What the flags ask for. Throws ConfigError or UnitError, naming the flag or the text, when they
 * cannot be used.
 */
export function parseSetFlags(flags: SetFlags): Pick<SetParams, 'direction' | 'reset' | 'changes'> {
  const direction = directionOf(flags);
  const changes: { -readonly [K in keyof CapChanges]: number | null } = {};
  for (const name of Object.keys(SETTINGS) as (keyof CapChanges)[]) {
    const text = flags[SETTINGS[name].flag];
    if (text !== undefined) changes[name] = valueOf(name, text);
  }
  if (flags.reset === true) return { direction, reset: true, changes };
  if (Object.keys(changes).length > 0) return { direction, changes };
  const titles = Object.values(SETTINGS).map(({ title }) => title);
  throw new ConfigError(`Nothing to set: give at least one of ${titles.join(', ')}, --reset`);
}
