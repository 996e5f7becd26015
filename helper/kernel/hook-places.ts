// Where programs stand, and what an implementation of hooks promises: shared by both of them.

import fs from 'node:fs';
import type { FilterLists } from './filters.ts';
import { placeFromName, type Occupant, type Place } from '../wire/hook-place.ts';

/** A program as far as attaching needs it. */
export interface AttachableProgram {
  readonly fd: number;
  readonly name: string;
}

/** How podpace's program stands at a place. */
export interface Standing {
  /** Undefined where the link has ended and its pin is left. */
  readonly programId: number | undefined;
  /**
   * What runs before it, in that order. Always empty at the last hooks, where the others are to
   * come first.
   */
  readonly inFront: readonly Occupant[];
  /** Whether there is a place in front of these. */
  readonly canPass: boolean;
}

/** The programs that podpace has at device hooks. */
export interface Hooks {
  /** How programs are attached on this kernel. */
  readonly kind: 'tcx' | 'clsact';
  /** Id of podpace's program at a place; undefined when there is none. */
  attachedProgramId(place: Place): Promise<number | undefined>;
  /**
   * How podpace's programs stand at many places, in their order; undefined where there is none.
   * `known`: filters that have just been listed, which need not be asked for again.
   */
  standings(places: readonly Place[], known?: FilterLists): Promise<(Standing | undefined)[]>;
  /**
   * Puts a program at a place, replacing podpace's former one there without a gap; a new one comes
   * first, or last.
   */
  attach(place: Place, program: AttachableProgram): Promise<void>;
  /**
   * The same in front of whoever is there. No packet meets podpace's program twice: one that comes
   * in the gap, between two system calls, or two parts of one, meets none.
   */
  comeFirst(place: Place, program: AttachableProgram): Promise<void>;
  /** Takes podpace's program away; does nothing when there is none. */
  detach(place: Place): Promise<void>;
  /** Devices at whose hooks podpace has left something, living or not. */
  knownPlaces(): Place[];
}

export function placesIn(directory: string): Place[] {
  return fs.existsSync(directory) ? fs.readdirSync(directory).flatMap(placeFromName) : [];
}
