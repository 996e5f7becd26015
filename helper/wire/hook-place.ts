// Where programs stand, and who else may: the names of hooks, of places, and of the marks that
// podpace leaves of them. Pure.

import type { TcHook } from './tc-message.ts';

/**
 * Hooks by the name that podpace has for them: `peer` is what the far end of a netkit sends, seen
 * from this end; the last ones come after the programs of others.
 */
export const HOOK_NAMES = ['ingress', 'egress', 'ingressLast', 'peer', 'peerLast'] as const;

export type HookName = (typeof HOOK_NAMES)[number];

/** A place for a program: a hook of a device. */
export interface Place {
  readonly ifindex: number;
  readonly hook: HookName;
}

/** Whoever else stands at a hook: a program, or a filter of another kind than a program. */
export type Occupant =
  | { readonly kind: 'program'; readonly id: number; readonly name: string }
  | { readonly kind: 'filter'; readonly type: string; readonly priority: number };

/** A filter that sends packets away by another device (`mirred egress redirect`). */
export interface Redirect {
  readonly hook: TcHook;
  /** Kind of the filter. */
  readonly type: string;
  readonly priority: number;
  /** The other device. */
  readonly ifindex: number;
  readonly name: string;
  /** Whether that one gives packets back to where they came from: an ifb. */
  readonly comesBack: boolean;
}

/** A program that sees what a device receives before everybody else. */
export interface XdpProgram {
  readonly id: number;
  readonly name: string;
}

/** Whether podpace's program comes after those of others there, and not before them. */
export function isLast(hook: HookName): boolean {
  return hook === 'ingressLast' || hook === 'peerLast';
}

const PLACE_NAME = new RegExp(`^(\\d+)-(${HOOK_NAMES.join('|')})$`);

/** The place that a mark is of; none of another name. */
export function placeFromName(name: string): Place[] {
  return PLACE_NAME.test(name) ? [placeNamed(name)] : [];
}

/** Whether a name is one that hooks give, to pinned links and to notes on filters. */
export function isHookMark(name: string): boolean {
  return placeFromName(name).length > 0 || /^\d+-clsact$/.test(name);
}

export function nameOfPlace({ ifindex, hook }: Place): string {
  return `${ifindex}-${hook}`;
}

/** Whether a place, by its name, is at this hook of a device. */
export function isAt(name: string, hook: HookName): boolean {
  return name.endsWith(`-${hook}`);
}

/** The place of a name that `nameOfPlace` has given. */
export function placeNamed(name: string): Place {
  const [ifindex, hook] = name.split('-');
  return { ifindex: Number(ifindex), hook: hook as HookName };
}
