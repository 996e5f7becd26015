// Turns the compiled object into kernel objects: maps, pinned by name and reused as long as they
// are compatible, and programs, loaded afresh. Maps outlive the helper, so a restart or an upgrade
// resets no clock.

import fs from 'node:fs';
import path from 'node:path';
import {
  inSource,
  MAPS,
  PAGED_MAP_NAMES,
  PROGRAM_NAMES,
  type ProgramName,
} from '../wire/datapath-names.ts';
import { linkMaps, parseBpfObject, type BpfObject } from '../wire/bpf-object.ts';
import { U32 } from '../wire/struct.ts';
import { readAsset } from './assets.ts';
import {
  loadBtf,
  loadProgram,
  programInfo,
  updateElement,
  PROG_TYPE_CGROUP_SKB,
  PROG_TYPE_SCHED_CLS,
} from './bpf.ts';
import { closing } from './descriptors.ts';
import { MapPages } from './map-pages.ts';
import { MapUpgrade, type UpgradeTo } from './map-upgrade.ts';
import { createDefinedMap, openOrCreateMap } from './pinned-maps.ts';
import { replacePin } from './pins.ts';
import { TypedMap, type ElementCodec } from './typed-map.ts';

/** A program in the kernel. */
export interface LoadedProgram {
  readonly fd: number;
  readonly id: number;
  /** Digest of the instructions, 16 hexadecimal digits. */
  readonly tag: string;
  /** Its name in the source; the kernel shows the first 15 characters. */
  readonly name: string;
}

/** An object in the kernel: descriptors of its maps and its programs, by name. */
export interface LoadedObject {
  readonly maps: ReadonlyMap<string, number>;
  /** Those of the maps that have maps for values. */
  readonly pages: ReadonlyMap<string, MapPages>;
  readonly programs: ReadonlyMap<string, LoadedProgram>;
  /** Why the kernel refuses those that it does not have to take. */
  readonly refusals: ReadonlyMap<string, Error>;
  /** While maps of a former layout have to be let go of. */
  readonly upgrade?: MapUpgrade;
}

/** The maps that the helper knows, by what their keys and values mean. */
export type PodpaceMaps = {
  readonly [N in keyof typeof MAPS]: (typeof MAPS)[N] extends ElementCodec<infer K, infer V>
    ? TypedMap<K, V>
    : never;
};

/** The maps and programs of bpf/podpace.bpf.c. */
export interface LoadedPodpace extends Pick<LoadedObject, 'upgrade'> {
  readonly maps: PodpaceMaps;
  readonly pages: Readonly<Record<(typeof PAGED_MAP_NAMES)[number], MapPages>>;
  /** `receive` stands at no hook: what `deliver` goes on in. */
  readonly programs: Readonly<Record<ProgramName | 'receive', LoadedProgram>>;
  /**
   * Stands at a control group and not at a device: what the node itself takes from pods. Or why the
   * kernel refuses it.
   */
  readonly police: LoadedProgram | Error;
}

/** Where an object is pinned; with `upgrade` in place of maps of a former layout. */
interface PinPlace {
  readonly directory: string;
  readonly upgrade?: MapUpgrade | undefined;
}

function openMaps(
  object: BpfObject,
  { directory, upgrade }: PinPlace,
  opened: number[],
): Map<string, number> {
  const maps = new Map<string, number>();
  // Maps that are made hold the types on their own.
  return closing(loadBtf(object.btf), (btfFd) => {
    if (upgrade !== undefined) return upgrade.openMaps(object, btfFd, opened);
    for (const definition of object.maps) {
      const fd = openOrCreateMap(directory, definition, btfFd);
      opened.push(fd);
      maps.set(definition.name, fd);
    }
    return maps;
  });
}

function pagesOf({ maps }: BpfObject, fds: ReadonlyMap<string, number>): Map<string, MapPages> {
  return new Map(
    maps.flatMap(({ name, inner }) =>
      inner === undefined ? [] : [[name, new MapPages(required(fds, name), inner)]],
    ),
  );
}

/** Index of podpace_receive in the map `continuations`. */
export const CONTINUE_RECEIVE = 0;
/** Where programs go on in others: by index in that map. */
const CONTINUATIONS = ['podpace_receive'] as const;

function fillContinuations(
  maps: ReadonlyMap<string, number>,
  programs: ReadonlyMap<string, LoadedProgram>,
): void {
  const map = maps.get('continuations');
  if (map === undefined) return;
  for (const [index, name] of CONTINUATIONS.entries())
    updateElement(map, U32.encode(index), U32.encode(required(programs, name).fd));
}

/**
 * Section of the programs that a kernel may refuse without harm to the others: each is a way of its
 * own.
 */
const CGROUP_SECTION = 'cgroup_skb/ingress';

/**
 * Loads the programs of an object; their descriptors are added to `opened` as they come. What may
 * be missing may be refused.
 */
function loadPrograms(
  object: BpfObject,
  maps: ReadonlyMap<string, number>,
  opened: number[],
  refusals = new Map<string, Error>(),
): Map<string, LoadedProgram> {
  const programs = new Map<string, LoadedProgram>();
  for (const program of object.programs) {
    const isOptional = program.section === CGROUP_SECTION;
    const attributes = {
      type: isOptional ? PROG_TYPE_CGROUP_SKB : PROG_TYPE_SCHED_CLS,
      ...{ name: program.name, license: object.license, instructions: linkMaps(program, maps) },
    };
    let fd: number;
    try {
      fd = loadProgram(attributes);
    } catch (error) {
      if (!isOptional) throw error;
      refusals.set(program.name, error as Error);
      continue;
    }
    opened.push(fd);
    const { id, tag } = programInfo(fd);
    programs.set(program.name, { fd, id, tag, name: program.name });
  }
  return programs;
}

function loadInto(object: BpfObject, place: PinPlace, opened: number[]): LoadedObject {
  const maps = openMaps(object, place, opened);
  const pages = pagesOf(object, maps);
  const refusals = new Map<string, Error>();
  const programs = loadPrograms(object, maps, opened, refusals);
  fillContinuations(maps, programs);
  // Last, when nothing can be refused any more: pins of programs are for operators, hooks hold
  // their own.
  place.upgrade?.pin();
  for (const { name, fd } of programs.values()) replacePin(fd, path.join(place.directory, name));
  return {
    maps,
    pages,
    programs,
    refusals,
    ...(place.upgrade !== undefined && { upgrade: place.upgrade }),
  };
}

/**
 * Loads podpace's programs, with maps of their own, and lets go of them. Throws KernelError, with
 * the verifier's log.
 */
export function tryPodpace(): void {
  const object = parseBpfObject(readAsset('podpace.bpf.o'));
  const opened: number[] = [];
  try {
    const btfFd = loadBtf(object.btf);
    opened.push(btfFd);
    const maps = new Map<string, number>();
    for (const definition of object.maps) {
      const fd = createDefinedMap(definition, btfFd);
      opened.push(fd);
      maps.set(definition.name, fd);
    }
    loadPrograms(object, maps, opened);
  } finally {
    for (const fd of opened) fs.closeSync(fd);
  }
}

/**
 * Loads the tc programs of an object and pins them and its maps, each under its name, in a
 * directory on bpffs, which is made when missing. A map that is pinned there already is used as it
 * is. With the name of this release the pins are marked with its layout, and maps of a former one
 * replaced: `upgrade` is what remains to be done then. Throws Error when a pinned map is of another
 * shape, KernelError (with the verifier's log) when the kernel refuses. Nothing stays open then,
 * and no map has been replaced; maps that were made stay pinned.
 */
export function loadObject(object: BpfObject, directory: string, to?: UpgradeTo): LoadedObject {
  fs.mkdirSync(directory, { recursive: true, mode: 0o700 });
  const opened: number[] = [];
  try {
    const upgrade = to === undefined ? undefined : MapUpgrade.begin(directory, object, to);
    return loadInto(object, { directory, upgrade }, opened);
  } catch (error) {
    for (const fd of opened) fs.closeSync(fd);
    throw error;
  }
}

/** Closes what loadObject opened. Pins and attached programs stay. */
export function closeObject({ maps, pages, programs }: LoadedObject): void {
  for (const each of pages.values()) each.close();
  for (const fd of maps.values()) fs.closeSync(fd);
  for (const { fd } of programs.values()) fs.closeSync(fd);
}

function required<T>(found: ReadonlyMap<string, T>, name: string): T {
  const value = found.get(name);
  if (value === undefined) throw new Error(`Cannot load podpace.bpf.o: it has no "${name}"`);
  return value;
}

function named<N extends string, T>(names: readonly N[], of: (name: N) => T): Record<N, T> {
  return Object.fromEntries(names.map((name) => [name, of(name)])) as Record<N, T>;
}

/** `fdOf`: the descriptor of a map by its name here. */
export function typedMaps(fdOf: (name: keyof typeof MAPS) => number): PodpaceMaps {
  const names = Object.keys(MAPS) as (keyof typeof MAPS)[];
  const of = (name: keyof typeof MAPS) => new TypedMap<unknown, unknown>(fdOf(name), MAPS[name]);
  return named(names, of) as PodpaceMaps;
}

/**
 * Loads podpace's own object, as loadObject does. May be called again at any time, in any process.
 */
export function loadPodpace(pinDirectory: string, release?: string): LoadedPodpace {
  const object = parseBpfObject(readAsset('podpace.bpf.o'));
  const { maps, pages, programs, refusals, upgrade } = loadObject(
    object,
    pinDirectory,
    release === undefined ? undefined : { release },
  );
  return {
    ...(upgrade !== undefined && { upgrade }),
    police: refusals.get('podpace_police') ?? required(programs, 'podpace_police'),
    maps: typedMaps((name) => required(maps, inSource(name))),
    pages: named(PAGED_MAP_NAMES, (name) => required(pages, inSource(name))),
    programs: named([...PROGRAM_NAMES, 'receive'], (name) =>
      required(programs, `podpace_${inSource(name)}`),
    ),
  };
}
