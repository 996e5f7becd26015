// Which versions of the protocol there are, and how two releases find one that both speak. Pure.
//
// The number changes only with what an older reader would misunderstand. Within one number fields
// are added: whoever does not know one ignores it, and a message without it means what it meant
// before. What must not be ignored is named in `needs`, and refused by a helper that does not know
// the name.

import type { AttachParams, ParsedRequest } from './requests.ts';
import { integer, isJsonObject, list, object, text, where, type Read } from './shape.ts';

const bounds = object({ least: integer(1), most: integer(1) });

/** Versions that somebody speaks, both ends included. */
export type VersionRange = Read<typeof bounds>;

export const versionRange = where(
  bounds,
  ({ least, most }) => least <= most,
  'a range of protocol versions',
);

/**
 * What this release speaks, as a caller and as a helper.
 * - 2 brought host routing, and `notices`, which plugins of that version require.
 * - 3 brought `needs`.
 */
export const PROTOCOL: VersionRange = { least: 1, most: 3 };

/**
 * Version of an answer to what names no version that we serve. Plugins of that version take an
 * error in no other; later ones take it in any.
 */
const FALLBACK = 2;

/** The newest version that both speak; undefined when there is none. */
export function newestCommon(a: VersionRange, b: VersionRange): number | undefined {
  const newest = Math.min(a.most, b.most);
  return newest >= Math.max(a.least, b.least) ? newest : undefined;
}

export function isServed(version: number): boolean {
  return Number.isInteger(version) && version >= PROTOCOL.least && version <= PROTOCOL.most;
}

/** Version to answer a message in: its own, if we serve it. */
export function answerVersion(message: unknown): number {
  const version = isJsonObject(message) ? message['version'] : undefined;
  return typeof version === 'number' && isServed(version) ? version : FALLBACK;
}

/** For people: `2`, or `1 to 3`. */
export function describeVersions({ least, most }: VersionRange): string {
  return least === most ? String(least) : `${least} to ${most}`;
}

/**
 * What a request may need: additions that must not be ignored, since less than what was asked for
 * would be done, without a word. Each with the version from which on every helper knows it, or says
 * that it does not. A request is sent in no lower one.
 */
export const NEEDS = {
  /** Packets that pass the node's IP stack by. */
  hostRouting: 2,
  /**
   * Further interfaces of a pod, those that cannot be held among them. Helpers of version 2 that
   * know them say what they hold.
   */
  beside: 2,
  /** `uninstall` that keeps what pods were to have. */
  keep: 3,
} as const;
export type Need = keyof typeof NEEDS;

function attachNeeds({ hostRouting, beside = [], unheld = [] }: AttachParams): Need[] {
  const isRouted = hostRouting !== undefined || beside.some((pair) => pair.hostRouting);
  return [
    ...(isRouted ? ['hostRouting' as const] : []),
    ...(beside.length + unheld.length > 0 ? ['beside' as const] : []),
  ];
}

/** What a request needs. */
export function needsOf({ method, params }: ParsedRequest): Need[] {
  if (method === 'attach' || method === 'check') return attachNeeds(params);
  return method === 'uninstall' && params.forget !== true ? ['keep'] : [];
}

/** From here on a helper reads `needs`. */
const NEEDS_ARE_READ = 3;

/** As they stand in a request of this version; absent when there are none. */
export function namedNeeds(needs: readonly Need[], version: number): { needs?: readonly Need[] } {
  return needs.length > 0 && version >= NEEDS_ARE_READ ? { needs } : {};
}

/** The needs that a helper of this version cannot be trusted with. */
export function needsBeyond(needs: readonly Need[], version: number): Need[] {
  return needs.filter((need) => NEEDS[need] > version);
}

const names = list(text);

/** Names in `needs` that we do not know. Throws ShapeError for what is no list of names. */
export function unknownNeeds(needs: unknown): string[] {
  if (needs === undefined) return [];
  return names(needs, 'needs').filter((name) => !Object.hasOwn(NEEDS, name));
}
