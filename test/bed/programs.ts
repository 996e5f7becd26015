// BPF programs of the measuring itself: loaded without pins, so that they are gone with this
// process at the latest.

import fs from 'node:fs';
import { createMap, loadProgram, PROG_TYPE_SCHED_CLS } from '../../helper/kernel/bpf.ts';
import { linkMaps, parseBpfObject } from '../../helper/wire/bpf-object.ts';
import type { UndoStack } from './undo.ts';

/** Descriptors of an object's maps and programs, by name. */
export interface Unpinned {
  readonly maps: ReadonlyMap<string, number>;
  readonly programs: ReadonlyMap<string, number>;
}

/**
 * Loads the tc programs of a compiled object with maps of their own; `undo` closes them. Throws
 * KernelError.
 */
export function loadUnpinned(objectFile: string, undo: UndoStack): Unpinned {
  const object = parseBpfObject(fs.readFileSync(objectFile));
  const keep = (fd: number): number => {
    undo.defer(`close a descriptor of ${objectFile}`, () => fs.closeSync(fd));
    return fd;
  };
  const maps = new Map(object.maps.map((map) => [map.name, keep(createMap(map))]));
  const programs = object.programs.map((program): [string, number] => {
    const instructions = linkMaps(program, maps);
    const { license } = object;
    return [
      program.name,
      keep(loadProgram({ type: PROG_TYPE_SCHED_CLS, name: program.name, license, instructions })),
    ];
  });
  return { maps, programs: new Map(programs) };
}

/**
 * The descriptor under a name. Throws Error when the object has none: then it is not the one it
 * should be.
 */
export function required<T>(found: ReadonlyMap<string, T>, name: string): T {
  const fd = found.get(name);
  if (fd === undefined)
    throw new Error(
      `Cannot measure: the compiled object has no "${name}"; delete build/bpf and start again`,
    );
  return fd;
}
