// Others who stand before podpace's programs: when to step in front of them, and what to tell of
// them. Pure.
//
// The verdict of whoever comes before may end a packet's way through the hook, so that podpace's
// program never sees it.

import type { Occupant } from '../wire/hook-place.ts';

/** Who stands before podpace's program at a place, and whether there is a place before them. */
export interface InFront {
  readonly occupants: readonly Occupant[];
  readonly canPass: boolean;
}

/**
 * Whom to step in front of at a place: nobody where there is no place, or where somebody insists.
 */
export function toPass(
  place: string,
  inFront: ReadonlyMap<string, InFront>,
  contested: ReadonlySet<string> = new Set(),
): readonly Occupant[] {
  const found = inFront.get(place);
  return found === undefined || !found.canPass || contested.has(place) ? [] : found.occupants;
}

function nameOfOccupant(occupant: Occupant): string {
  return occupant.kind === 'program'
    ? `program "${occupant.name}" (id ${occupant.id})`
    : `filter "${occupant.type}" (priority ${occupant.priority})`;
}

/** Those who stand in front, in a sentence. */
export function nameOfOccupants(occupants: readonly Occupant[]): string {
  return occupants.map(nameOfOccupant).join(', ');
}
