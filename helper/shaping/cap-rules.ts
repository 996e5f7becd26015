// What the operator says of caps by namespace: one for pods that ask for none, and the most that
// one may ask for. The first rule whose pattern fits holds, as in a list of routes or a firewall: the
// order is there to be read, and how specific a pattern is would have to be explained. Pure.

import type { Cap, Caps, Direction } from '../protocol/messages.ts';
import { isOfNamespace, type CapSource, type CapSources } from '../protocol/cap-sources.ts';
import { DIRECTIONS } from '../protocol/requests.ts';
import type { AttachmentRecord } from './records.ts';

/** Of one direction, bits per second. */
export interface CapLimits {
  /** For a pod that asks for none. */
  readonly default?: number;
  /** What an annotation above it is cut to. */
  readonly most?: number;
}

export interface CapRule {
  /** Pattern of namespaces. */
  readonly namespace: string;
  readonly egress?: CapLimits;
  readonly ingress?: CapLimits;
}

/** The rule of a namespace; undefined where none fits. */
export function ruleOf(rules: readonly CapRule[], namespace: string = ''): CapRule | undefined {
  return rules.find((rule) => isOfNamespace(rule.namespace, namespace));
}

/** What is asked for, and by whom; a plugin of a former release does not say that. */
export interface Asked {
  readonly caps: Caps;
  readonly by?: CapSource;
}

/** Caps that count, with where they come from. */
export type Resolved = Pick<AttachmentRecord, 'caps' | 'capSources'>;

function resolveDirection(
  asked: Cap | undefined,
  { default: standard, most = Infinity }: CapLimits,
): { readonly cap?: Cap; readonly source?: NonNullable<CapSources[Direction]> } {
  if (asked === undefined) {
    if (standard === undefined) return {};
    return { cap: { rateBitsPerSec: standard }, source: { source: 'default' } };
  }
  const { rateBitsPerSec } = asked;
  if (rateBitsPerSec <= most) return { cap: asked, source: { source: 'annotation' } };
  return {
    cap: { ...asked, rateBitsPerSec: most },
    source: { source: 'annotation', askedBitsPerSec: rateBitsPerSec },
  };
}

/** The caps that count where these are asked for. */
export function resolveCaps({ caps, by }: Asked, rule: CapRule | undefined): Resolved {
  const sources: { [D in Direction]?: NonNullable<CapSources[D]> } = {};
  if (by === 'conflist') {
    for (const direction of DIRECTIONS) sources[direction] = { source: 'conflist' };
    return { caps, capSources: sources };
  }
  const resolved: { [D in Direction]?: Cap } = {};
  for (const direction of DIRECTIONS) {
    const { cap, source } = resolveDirection(caps[direction], rule?.[direction] ?? {});
    if (cap !== undefined) resolved[direction] = cap;
    // Of what nobody knows who has asked for it nothing is said.
    if (source !== undefined && (by !== undefined || source.source === 'default'))
      sources[direction] = source;
    else if (source?.askedBitsPerSec !== undefined) sources[direction] = source;
  }
  return { caps: resolved, ...(Object.keys(sources).length > 0 && { capSources: sources }) };
}

/** What was asked for where these caps count: defaults are left out, and nothing is cut. */
export function askedOf({ caps, capSources = {} }: Resolved): Asked {
  const sources = DIRECTIONS.flatMap((direction) => capSources[direction] ?? []);
  if (sources.some(({ source }) => source === 'conflist')) return { caps, by: 'conflist' };
  const asked: { [D in Direction]?: Cap } = {};
  for (const direction of DIRECTIONS) {
    const [cap, source] = [caps[direction], capSources[direction]];
    if (cap === undefined || source?.source === 'default') continue;
    const rateBitsPerSec = source?.askedBitsPerSec ?? cap.rateBitsPerSec;
    asked[direction] = { ...cap, rateBitsPerSec };
  }
  const isKnown = DIRECTIONS.every((direction) => {
    const isSaid = capSources[direction] !== undefined;
    return isSaid || caps[direction] === undefined;
  });
  return { caps: asked, ...(isKnown && { by: 'annotation' as const }) };
}

/** What a pod's annotations say of a direction: a rate, none, or nothing that can be used. */
export type Annotated = { readonly [D in Direction]: number | undefined | 'malformed' };

/**
 * What is asked for once the annotations say this; what they say in a way that cannot be used stays
 * as it was asked before. Undefined where the annotations do not count: beside keys of the network
 * list, and, of caps of which nobody knows who has asked for them, without any annotation.
 */
export function askedByAnnotations(former: Asked, annotated: Annotated): Asked | undefined {
  if (former.by === 'conflist') return undefined;
  const isBare = DIRECTIONS.every((direction) => annotated[direction] === undefined);
  if (former.by === undefined && isBare) return undefined;
  const caps: { [D in Direction]?: Cap } = {};
  for (const direction of DIRECTIONS) {
    const [before, now] = [former.caps[direction], annotated[direction]];
    const stays = now === 'malformed' || now === before?.rateBitsPerSec;
    if (stays && before !== undefined) caps[direction] = before;
    else if (typeof now === 'number') caps[direction] = { rateBitsPerSec: now };
  }
  return { caps, by: 'annotation' };
}

/** Whether these are the same caps, of the same sources. */
export function isSameResolved(a: Resolved, b: Resolved): boolean {
  return DIRECTIONS.every((direction) => {
    const [one, other] = [a, b].map(({ caps, capSources }) => {
      const { source, askedBitsPerSec } = capSources?.[direction] ?? {};
      const { rateBitsPerSec, burstBits } = caps[direction] ?? {};
      return [source, askedBitsPerSec, rateBitsPerSec, burstBits].join(' ');
    });
    return one === other;
  });
}
