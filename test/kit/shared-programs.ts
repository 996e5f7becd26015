// podpace's programs and the one that sends packets through them, loaded once a process: what the
// verifier takes for them is seconds on an emulated processor. Each who takes them finds their maps
// as a load would leave them.

import fs from 'node:fs';
import path from 'node:path';
import {
  deleteElement,
  MAP_TYPE,
  mapInfo,
  mapKeys,
  updateBatch,
  updateElement,
} from '../../helper/kernel/bpf.ts';
import { closeObject, loadObject, type LoadedObject } from '../../helper/kernel/bpf-loader.ts';
import { possibleCpus } from '../../helper/kernel/cpus.ts';
import { parseBpfObject } from '../../helper/wire/bpf-object.ts';
import { buildBpf, buildBpfObject } from '../../scripts/lib/bpf-build.ts';
import { required } from '../bed/programs.ts';
import { mountTemporaryBpffs } from '../bed/temporary-bpffs.ts';

interface SharedPrograms {
  readonly podpace: LoadedObject;
  /** test/bpf/enter.bpf.c. */
  readonly enter: LoadedObject;
}

export const programFd = ({ programs }: LoadedObject, name: string): number =>
  required(programs, name).fd;

export const mapFd = ({ maps }: LoadedObject, name: string): number => required(maps, name);

/**
 * Has packets into a pod go on in the program behind ingress caps, which stands there when the
 * programs have been loaded.
 */
export function putContinuation(podpace: LoadedObject): void {
  const program = Buffer.alloc(4);
  program.writeUInt32LE(programFd(podpace, 'podpace_receive'));
  updateElement(mapFd(podpace, 'continuations'), Buffer.alloc(4), program);
}

/** Loads both. No pin is left: they are gone with the process's descriptors. */
function load(): SharedPrograms {
  const bpffs = mountTemporaryBpffs();
  const loaded: LoadedObject[] = [];
  const loadFile = (file: string, name: string): LoadedObject => {
    const object = loadObject(
      parseBpfObject(fs.readFileSync(file)),
      path.join(bpffs.directory, name),
    );
    loaded.push(object);
    return object;
  };
  try {
    const enter = path.join(import.meta.dirname, '../bpf/enter.bpf.c');
    return {
      podpace: loadFile(buildBpf(), 'podpace'),
      enter: loadFile(buildBpfObject(enter), 'enter'),
    };
  } catch (error) {
    for (const object of loaded) closeObject(object);
    throw error;
  } finally {
    bpffs.remove();
  }
}

/** Writes zeros to all elements of an array. */
function zero(fd: number, valueSize: number, count: number): void {
  const keys = Buffer.alloc(4 * count);
  for (let index = 0; index < count; index += 1) keys.writeUInt32LE(index, 4 * index);
  updateBatch(fd, { keys, values: Buffer.alloc(valueSize * count), count });
}

/** Leaves a map as it is when it has been made. */
function empty(fd: number): void {
  const { type, keySize, valueSize, maxEntries } = mapInfo(fd);
  if (type === MAP_TYPE.ARRAY) zero(fd, valueSize, maxEntries);
  else if (type === MAP_TYPE.PERCPU_ARRAY)
    zero(fd, Math.ceil(valueSize / 8) * 8 * possibleCpus().length, maxEntries);
  else for (const key of mapKeys(fd, keySize)) deleteElement(fd, key);
}

/** Leaves all maps as a load does. */
function emptyMaps({ podpace, enter }: SharedPrograms): void {
  for (const pages of podpace.pages.values())
    for (const number of pages.known) pages.remove(number);
  for (const [name, fd] of podpace.maps) if (!podpace.pages.has(name)) empty(fd);
  for (const fd of enter.maps.values()) empty(fd);
  putContinuation(podpace);
}

let shared: SharedPrograms | undefined;
let isTaken = false;

/**
 * The programs, on empty maps; for one at a time, until giveBackPrograms. Throws KernelError when
 * the kernel refuses them.
 */
export function takePrograms(): SharedPrograms {
  if (isTaken) throw new Error('the programs are in use, with what stands in their maps');
  if (shared === undefined) shared = load();
  else emptyMaps(shared);
  isTaken = true;
  return shared;
}

/** They stay loaded for who comes next. */
export function giveBackPrograms(): void {
  isTaken = false;
}
