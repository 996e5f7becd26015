// Turns the compiled object into kernel objects: maps, pinned by name and reused as long as they are compatible,
// and programs, loaded afresh. Maps outlive the helper, so a restart or an upgrade resets no clock.

import fs from 'node:fs';
import path from 'node:path';
import { linkMaps, parseBpfObject, type BpfMapDefinition, type BpfObject } from '../wire/bpf-object.ts';
import { readAsset } from './assets.ts';
import {
  createMap,
  loadBtf,
  loadProgram,
  MAP_TYPE,
  mapInfo,
  openPinned,
  pinObject,
  programInfo,
  updateElement,
  PROG_TYPE_SCHED_CLS,
  type MapInfo,
} from './bpf.ts';
import { hasErrno } from './errors.ts';
import { MapPages } from './map-pages.ts';

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
}

/** The maps and programs of bpf/podpace.bpf.c. */
export interface LoadedPodpace {
  readonly maps: {
    readonly aggregateConfig: number;
    readonly hostInterfaces: number;
    readonly upperExits: number;
    readonly exemptions: number;
    readonly routedPods: number;
    readonly podAddresses: number;
  };
  readonly pages: {
    readonly aggregateState: MapPages;
    readonly aggregateCounters: MapPages;
  };
  readonly programs: {
    readonly classify: LoadedProgram;
    readonly depart: LoadedProgram;
    readonly departUpper: LoadedProgram;
    readonly deliver: LoadedProgram;
    readonly forward: LoadedProgram;
    readonly arrive: LoadedProgram;
  };
}

/** What must be equal for a pinned map to be used again. */
const MAP_PROPERTIES = ['type', 'keySize', 'valueSize', 'maxEntries', 'flags'] as const;

/** How a pinned map differs from its definition; undefined when it does not. */
function mapDifference(pinned: MapInfo, wanted: BpfMapDefinition): string | undefined {
  const differences = MAP_PROPERTIES.filter((property) => pinned[property] !== wanted[property]).map(
    (property) => `${property} is ${pinned[property]}, not ${wanted[property]}`,
  );
  return differences.length === 0 ? undefined : differences.join(', ');
}

/** How the pages of a pinned map differ from their definition; undefined when they do not, or when it has none. */
function pageDifference(pinned: number, { inner }: BpfMapDefinition): string | undefined {
  if (inner === undefined) return undefined;
  const pages = new MapPages(pinned, inner);
  try {
    // The helper always has the first one.
    return pages.has(0) ? mapDifference(mapInfo(pages.openPages[0] ?? -1), inner) : undefined;
  } finally {
    pages.close();
  }
}

function reuseMap(pin: string, definition: BpfMapDefinition): number | undefined {
  let fd: number;
  try {
    fd = openPinned(pin);
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
  const difference = mapDifference(mapInfo(fd), definition) ?? pageDifference(fd, definition);
  if (difference === undefined) return fd;
  fs.closeSync(fd);
  throw new Error(
    `Cannot use the map pinned at ${pin}: its ${difference}: it is of another version of podpace; ` +
      'run `podpaced uninstall`, then start again',
  );
}

/** Map types that know what keys and values are made of; others, such as arrays of programs, refuse to be told. */
const TYPED_MAPS: ReadonlySet<number> = new Set([
  MAP_TYPE.HASH,
  MAP_TYPE.ARRAY,
  MAP_TYPE.PERCPU_HASH,
  MAP_TYPE.PERCPU_ARRAY,
]);

function createDefinedMap(definition: BpfMapDefinition, btfFd: number): number {
  const { keyTypeId, valueTypeId, inner } = definition;
  const types = TYPED_MAPS.has(definition.type) ? { btfFd, keyTypeId, valueTypeId } : undefined;
  if (inner === undefined) return createMap(definition, types);
  const innerFd = createMap(inner);
  try {
    return createMap(definition, types, innerFd);
  } finally {
    fs.closeSync(innerFd);
  }
}

function createPinnedMap(pin: string, definition: BpfMapDefinition, btfFd: number): number {
  const fd = createDefinedMap(definition, btfFd);
  try {
    pinObject(fd, pin);
    return fd;
  } catch (error) {
    fs.closeSync(fd);
    throw error;
  }
}

/** Pins a program in place of the one of a former run. (bpffs refuses names with a dot: EPERM.) */
function replacePin(fd: number, pin: string): void {
  const staged = `${pin}_new`;
  fs.rmSync(staged, { force: true });
  pinObject(fd, staged);
  fs.renameSync(staged, pin);
}

function openMaps(object: BpfObject, directory: string, opened: number[]): Map<string, number> {
  const maps = new Map<string, number>();
  // Maps that are made hold the types on their own.
  const btfFd = loadBtf(object.btf);
  try {
    for (const definition of object.maps) {
      const pin = path.join(directory, definition.name);
      const fd = reuseMap(pin, definition) ?? createPinnedMap(pin, definition, btfFd);
      opened.push(fd);
      maps.set(definition.name, fd);
    }
  } finally {
    fs.closeSync(btfFd);
  }
  return maps;
}

function pagesOf({ maps }: BpfObject, fds: ReadonlyMap<string, number>): Map<string, MapPages> {
  return new Map(
    maps.flatMap(({ name, inner }) =>
      inner === undefined ? [] : [[name, new MapPages(required(fds, name), inner)]],
    ),
  );
}

/** Where programs go on in others: by index in the map `continuations`. */
const CONTINUATIONS = ['podpace_receive'] as const;

function fillContinuations(
  maps: ReadonlyMap<string, number>,
  programs: ReadonlyMap<string, LoadedProgram>,
): void {
  const map = maps.get('continuations');
  if (map === undefined) return;
  for (const [index, name] of CONTINUATIONS.entries()) {
    const [key, value] = [Buffer.alloc(4), Buffer.alloc(4)];
    key.writeUInt32LE(index);
    value.writeUInt32LE(required(programs, name).fd);
    updateElement(map, key, value);
  }
}

function loadInto(object: BpfObject, directory: string, opened: number[]): LoadedObject {
  const maps = openMaps(object, directory, opened);
  const pages = pagesOf(object, maps);
  const programs = new Map<string, LoadedProgram>();
  for (const program of object.programs) {
    const fd = loadProgram({
      type: PROG_TYPE_SCHED_CLS,
      name: program.name,
      license: object.license,
      instructions: linkMaps(program, maps),
    });
    opened.push(fd);
    const { id, tag } = programInfo(fd);
    programs.set(program.name, { fd, id, tag, name: program.name });
  }
  fillContinuations(maps, programs);
  // Last, when nothing can be refused any more: pins of programs are for operators, hooks hold their own.
  for (const { name, fd } of programs.values()) replacePin(fd, path.join(directory, name));
  return { maps, pages, programs };
}

/**
 * Loads the tc programs of an object and pins them and its maps, each under its name, in a directory on bpffs,
 * which is made when missing. A map that is pinned there already is used as it is.
 * Throws Error when a pinned map is of another shape, KernelError (with the verifier's log) when the kernel refuses.
 * Nothing stays open then; maps that were made stay pinned.
 */
export function loadObject(object: BpfObject, directory: string): LoadedObject {
  fs.mkdirSync(directory, { recursive: true, mode: 0o700 });
  const opened: number[] = [];
  try {
    return loadInto(object, directory, opened);
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

/** Loads podpace's own object, as loadObject does. May be called again at any time, in any process. */
export function loadPodpace(pinDirectory: string): LoadedPodpace {
  const { maps, pages, programs } = loadObject(parseBpfObject(readAsset('podpace.bpf.o')), pinDirectory);
  return {
    maps: {
      aggregateConfig: required(maps, 'aggregate_config'),
      hostInterfaces: required(maps, 'host_interfaces'),
      upperExits: required(maps, 'upper_exits'),
      exemptions: required(maps, 'exemptions'),
      routedPods: required(maps, 'routed_pods'),
      podAddresses: required(maps, 'pod_addresses'),
    },
    pages: {
      aggregateState: required(pages, 'aggregate_state'),
      aggregateCounters: required(pages, 'aggregate_counters'),
    },
    programs: {
      classify: required(programs, 'podpace_classify'),
      depart: required(programs, 'podpace_depart'),
      departUpper: required(programs, 'podpace_depart_upper'),
      deliver: required(programs, 'podpace_deliver'),
      forward: required(programs, 'podpace_forward'),
      arrive: required(programs, 'podpace_arrive'),
    },
  };
}
