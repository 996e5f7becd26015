// bpf(2), typed: maps, types, programs and pins. Each function is one command; descriptors are
// plain numbers that the caller closes with fs.closeSync.

import {
  BATCH,
  BpfAttr,
  BTF_LOAD,
  COMMAND,
  ELEMENT,
  GET_FD,
  INFO,
  MAP_CREATE,
  OBJ,
  PROG_LOAD,
} from './bpf-attr.ts';
import { possibleCpus } from './cpus.ts';
import { closing } from './descriptors.ts';
import { hasErrno, unlessErrno } from '../wire/errors.ts';
import { Struct } from '../wire/struct.ts';

/** `enum bpf_map_type` of linux/bpf.h, as far as used. */
export const MAP_TYPE = {
  HASH: 1,
  ARRAY: 2,
  PROG_ARRAY: 3,
  PERCPU_HASH: 5,
  PERCPU_ARRAY: 6,
  LPM_TRIE: 11,
  ARRAY_OF_MAPS: 12,
} as const;

/** `enum bpf_prog_type`: a program for the tc hooks. */
export const PROG_TYPE_SCHED_CLS = 3;
/** The same for what sockets of a control group take. */
export const PROG_TYPE_CGROUP_SKB = 8;

/** A map to create, or what the kernel says of one. */
export interface MapAttributes {
  readonly type: number;
  /** The kernel keeps the first 15 characters. */
  readonly name: string;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags: number;
}

/** Types of a map's keys and values: what a lock in a value needs, and bpftool prints values by. */
export interface MapTypes {
  /** Descriptor of the BTF that holds the types. */
  readonly btfFd: number;
  readonly keyTypeId: number;
  readonly valueTypeId: number;
}

/** What the kernel says of a map. */
export interface MapInfo extends MapAttributes {
  readonly id: number;
}

/** A program to load. */
export interface ProgramAttributes {
  readonly type: number;
  /** The kernel keeps the first 15 characters. */
  readonly name: string;
  readonly license: string;
  /** struct bpf_insn[], 8 bytes each, maps' descriptors in place. */
  readonly instructions: Buffer;
}

/** What the kernel says of a program. */
export interface ProgramInfo {
  readonly id: number;
  /** Digest of the instructions, 16 hexadecimal digits: equal for equal programs. */
  readonly tag: string;
  readonly name: string;
  readonly type: number;
}

/**
 * Loads types into the kernel and returns their descriptor. Throws KernelError whose detail is the
 * end of the kernel's log, which is asked for only after a refusal: it lists all types.
 */
export function loadBtf(btf: Buffer): number {
  const loading = (): BpfAttr =>
    new BpfAttr().pointer(BTF_LOAD.btf, btf).u32(BTF_LOAD.btfSize, btf.length);
  try {
    return loading().call('load BTF', COMMAND.BTF_LOAD);
  } catch (error) {
    if (hasErrno(error, 'EPERM')) throw error;
    const log = Buffer.alloc(LOG_SIZE);
    return loading()
      .pointer(BTF_LOAD.btfLogBuf, log)
      .u32(BTF_LOAD.btfLogSize, log.length)
      .u32(BTF_LOAD.btfLogLevel, 1)
      .call('load BTF', COMMAND.BTF_LOAD, () => logText(log));
  }
}

/**
 * Creates a map and returns its descriptor. A map of maps learns from `innerFd`, a map that may be
 * closed afterwards, what its values have to be like.
 */
export function createMap(map: MapAttributes, types?: MapTypes, innerFd?: number): number {
  const attr = new BpfAttr();
  if (innerFd !== undefined) attr.u32(MAP_CREATE.innerMapFd, innerFd);
  if (types !== undefined)
    attr
      .u32(MAP_CREATE.btfFd, types.btfFd)
      .u32(MAP_CREATE.btfKeyTypeId, types.keyTypeId)
      .u32(MAP_CREATE.btfValueTypeId, types.valueTypeId);
  return attr
    .u32(MAP_CREATE.mapType, map.type)
    .u32(MAP_CREATE.keySize, map.keySize)
    .u32(MAP_CREATE.valueSize, map.valueSize)
    .u32(MAP_CREATE.maxEntries, map.maxEntries)
    .u32(MAP_CREATE.mapFlags, map.flags)
    .name(MAP_CREATE.mapName, map.name)
    .call(`create BPF map "${map.name}"`, COMMAND.MAP_CREATE);
}

function elementAttr(fd: number, key: Buffer, value: Buffer): BpfAttr {
  const attr = new BpfAttr().u32(ELEMENT.mapFd, fd);
  return attr.pointer(ELEMENT.key, key).pointer(ELEMENT.value, value);
}

/** The value under a key; undefined when there is none. `valueSize` must be the map's. */
export function lookupElement(fd: number, key: Buffer, valueSize: number): Buffer | undefined {
  const value = Buffer.alloc(valueSize);
  const attr = elementAttr(fd, key, value);
  const result = attr.callUnless('ENOENT', 'look up a BPF map element', COMMAND.MAP_LOOKUP_ELEM);
  return result === undefined ? undefined : value;
}

/**
 * The values under a key of a per-CPU map, one for each CPU that the kernel may ever have, in the
 * order of their numbers; undefined when there is none. `valueSize` must be the map's.
 */
export function lookupPerCpu(fd: number, key: Buffer, valueSize: number): Buffer[] | undefined {
  const stride = Math.ceil(valueSize / 8) * 8;
  const all = lookupElement(fd, key, stride * possibleCpus().length);
  if (all === undefined) return undefined;
  return possibleCpus().map((_, index) => all.subarray(index * stride, index * stride + valueSize));
}

/** Writes a value under a key. `flags` are BPF_ANY (0), BPF_NOEXIST, BPF_EXIST of linux/bpf.h. */
export function updateElement(fd: number, key: Buffer, value: Buffer, flags = 0): void {
  elementAttr(fd, key, value)
    .u64(ELEMENT.flags, BigInt(flags))
    .call('update a BPF map element', COMMAND.MAP_UPDATE_ELEM);
}

/** Writes a value under a key of a per-CPU map, the same for each CPU. */
export function updatePerCpu(fd: number, key: Buffer, value: Buffer): void {
  const stride = Math.ceil(value.length / 8) * 8;
  const all = Buffer.alloc(stride * possibleCpus().length);
  for (let at = 0; at < all.length; at += stride) value.copy(all, at);
  updateElement(fd, key, all);
}

/** Writes a value for each CPU under a key of a per-CPU map, in the order of lookupPerCpu. */
export function updateEachCpu(fd: number, key: Buffer, values: readonly Buffer[]): void {
  const padded = values.map((value) => Buffer.concat([value, Buffer.alloc(-value.length & 7)]));
  updateElement(fd, key, Buffer.concat(padded));
}

/** Removes a key; false when it was not there. */
export function deleteElement(fd: number, key: Buffer): boolean {
  const attr = elementAttr(fd, key, Buffer.alloc(0));
  const operation = 'delete a BPF map element';
  return attr.callUnless('ENOENT', operation, COMMAND.MAP_DELETE_ELEM) !== undefined;
}

/** Elements of a map, keys and values each in one Buffer without gaps. */
export interface MapBatch {
  readonly keys: Buffer;
  readonly values: Buffer;
  readonly count: number;
}

/**
 * How many elements one system call is to take or give: enough that the call itself does not count.
 */
const BATCH_LENGTH = 4096;

/** The part of a batch that begins at an element. */
function batchFrom({ keys, values, count }: MapBatch, first: number): MapBatch {
  return {
    keys: keys.subarray((keys.length / count) * first),
    values: values.subarray((values.length / count) * first),
    count: count - first,
  };
}

function batchAttr(fd: number, { keys, values, count }: MapBatch): BpfAttr {
  const attr = new BpfAttr().pointer(BATCH.keys, keys).pointer(BATCH.values, values);
  return attr.u32(BATCH.count, count).u32(BATCH.mapFd, fd);
}

/** Writes many elements. Those before one that the kernel refuses stay written. */
export function updateBatch(fd: number, batch: MapBatch): void {
  for (let rest = batch; rest.count > 0;) {
    const attr = batchAttr(fd, rest);
    try {
      attr.call(`update ${rest.count} BPF map elements`, COMMAND.MAP_UPDATE_BATCH);
      return;
    } catch (error) {
      const done = attr.readU32(BATCH.count);
      // The stock of entries is filled up again meanwhile.
      if (!hasErrno(error, 'ENOMEM', 'EAGAIN') || done === 0) throw error;
      rest = batchFrom(rest, done);
    }
  }
}

/** Removes many keys; `values` is of no account. Those that are not there are passed over. */
export function deleteBatch(fd: number, batch: MapBatch): void {
  for (let rest = batch; rest.count > 0;) {
    const attr = batchAttr(fd, { ...rest, values: Buffer.alloc(0) });
    try {
      attr.call(`delete ${rest.count} BPF map elements`, COMMAND.MAP_DELETE_BATCH);
      return;
    } catch (error) {
      if (!hasErrno(error, 'ENOENT')) throw error;
      rest = batchFrom(rest, attr.readU32(BATCH.count) + 1);
    }
  }
}

/**
 * All elements of a map, in batches whose Buffers are used again for the next one. The sizes must
 * be the map's. `length`: how many elements a system call gives at most.
 */
export function* lookupBatches(
  fd: number,
  keySize: number,
  valueSize: number,
  length = BATCH_LENGTH,
): Generator<MapBatch> {
  const keys = Buffer.alloc(keySize * length);
  const values = Buffer.alloc(valueSize * length);
  for (let position = Buffer.alloc(0); ;) {
    const next = Buffer.alloc(keySize);
    const attr = batchAttr(fd, { keys, values, count: length })
      .pointer(BATCH.inBatch, position)
      .pointer(BATCH.outBatch, next);
    const operation = 'list the elements of a BPF map';
    const isLast = attr.callUnless('ENOENT', operation, COMMAND.MAP_LOOKUP_BATCH) === undefined;
    const count = attr.readU32(BATCH.count);
    yield {
      keys: keys.subarray(0, count * keySize),
      values: values.subarray(0, count * valueSize),
      count,
    };
    if (isLast) return;
    position = next;
  }
}

/** A map, and how long its keys and values are. */
export interface SizedMap {
  readonly fd: number;
  readonly keySize: number;
  readonly valueSize: number;
}

/**
 * The bytes of a map's elements: the same as long as nobody changes one. `least`: of an array so
 * many of the first are enough.
 */
export function mapImage({ fd, keySize, valueSize }: SizedMap, least = Infinity): Buffer {
  const parts: Buffer[] = [];
  let count = 0;
  for (const batch of lookupBatches(fd, keySize, valueSize)) {
    // The next batch is written over this one.
    parts.push(Buffer.concat([batch.keys, batch.values]));
    count += batch.count;
    if (count >= least) break;
  }
  return Buffer.concat(parts);
}

/** The values of all CPUs of the first elements of a per-CPU array, one element behind the other. */
export function perCpuImage(fd: number, valueSize: number, count: number): Buffer {
  const stride = Math.ceil(valueSize / 8) * 8;
  const [batch] = lookupBatches(fd, 4, stride * possibleCpus().length, count);
  return batch?.values ?? Buffer.alloc(0);
}

/**
 * The same one by one, of those that are wanted by the bytes of their value, which begin at `at`:
 * an array has thousands of elements that nobody uses, and to cut each out is most of a walk.
 */
export function* mapElements(
  fd: number,
  keySize: number,
  valueSize: number,
  isWanted: (values: Buffer, at: number) => boolean = () => true,
): Generator<readonly [key: Buffer, value: Buffer]> {
  for (const { keys, values, count } of lookupBatches(fd, keySize, valueSize))
    for (let index = 0; index < count; index += 1) {
      const [keyAt, at] = [index * keySize, index * valueSize];
      if (!isWanted(values, at)) continue;
      yield [keys.subarray(keyAt, keyAt + keySize), values.subarray(at, at + valueSize)];
    }
}

/**
 * The keys of a map, in the kernel's order. Taken whole before the first is handed out, so that the
 * caller may delete while it goes through them; keys that others add or delete meanwhile may be
 * missed.
 */
export function mapKeys(fd: number, keySize: number): Iterable<Buffer> {
  const keys: Buffer[] = [];
  const { maxEntries } = mapInfo(fd);
  let key = Buffer.alloc(0);
  // When a key vanishes under the walk the kernel starts again from the first: hence the bound.
  while (keys.length < maxEntries) {
    const next = Buffer.alloc(keySize);
    const [attr, operation] = [elementAttr(fd, key, next), 'list the keys of a BPF map'];
    if (attr.callUnless('ENOENT', operation, COMMAND.MAP_GET_NEXT_KEY) === undefined) break;
    keys.push(next);
    key = next;
  }
  return new Map(keys.map((found) => [found.toString('latin1'), found])).values();
}

/** Of the verifier's log the end matters: it says what was refused. */
const LOG_TAIL_CHARS = 4096;
const LOG_SIZE = 1 << 20;
/** The verifier gives up with EAGAIN when a signal is pending. */
const LOAD_ATTEMPTS = 20;

function loadAttr(program: ProgramAttributes): BpfAttr {
  return new BpfAttr()
    .u32(PROG_LOAD.progType, program.type)
    .u32(PROG_LOAD.insnCnt, program.instructions.length / 8)
    .pointer(PROG_LOAD.insns, program.instructions)
    .string(PROG_LOAD.license, program.license)
    .name(PROG_LOAD.progName, program.name);
}

function logText(log: Buffer): string {
  const end = log.indexOf(0);
  const text = log.toString('latin1', 0, end < 0 ? log.length : end).trim();
  return text.length > LOG_TAIL_CHARS ? `...${text.slice(-LOG_TAIL_CHARS)}` : text;
}

function loadWithLog(operation: string, program: ProgramAttributes): number {
  const log = Buffer.alloc(LOG_SIZE);
  return loadAttr(program)
    .u32(PROG_LOAD.logLevel, 1)
    .u32(PROG_LOAD.logSize, log.length)
    .pointer(PROG_LOAD.logBuf, log)
    .call(operation, COMMAND.PROG_LOAD, () => logText(log));
}

/**
 * Loads a program and returns its descriptor. Throws KernelError whose detail is the end of the
 * verifier's log, which is asked for only after a refusal.
 */
export function loadProgram(program: ProgramAttributes): number {
  const operation = `load BPF program "${program.name}"`;
  for (let attempt = 1; attempt <= LOAD_ATTEMPTS; attempt++) {
    try {
      return loadAttr(program).call(operation, COMMAND.PROG_LOAD);
    } catch (error) {
      if (hasErrno(error, 'EAGAIN')) continue;
      if (hasErrno(error, 'EPERM')) throw error;
      break;
    }
  }
  return loadWithLog(operation, program);
}

/** Pins a map, program or link at a path on bpffs. KernelError EEXIST when something is there. */
export function pinObject(fd: number, path: string): void {
  const attr = new BpfAttr().string(OBJ.pathname, path).u32(OBJ.bpfFd, fd);
  attr.call(`pin a BPF object at ${path}`, COMMAND.OBJ_PIN);
}

/** Descriptor of a pinned object. KernelError ENOENT when there is none. */
export function openPinned(path: string): number {
  return new BpfAttr()
    .string(OBJ.pathname, path)
    .call(`open the BPF object pinned at ${path}`, COMMAND.OBJ_GET);
}

/**
 * BPF_OBJ_GET_INFO_BY_FD: fills the info struct of the object's kind, as far as the kernel knows
 * it.
 */
export function objectInfo(fd: number, what: string, size: number): Buffer {
  const info = Buffer.alloc(size);
  new BpfAttr()
    .u32(INFO.bpfFd, fd)
    .u32(INFO.infoLen, info.length)
    .pointer(INFO.info, info)
    .call(`describe a BPF ${what}`, COMMAND.OBJ_GET_INFO_BY_FD);
  return info;
}

function nameIn(name: Buffer): string {
  return name.toString('latin1').replace(/\0.*$/s, '');
}

/** struct bpf_prog_info of linux/bpf.h, as far as used. */
export const PROG_INFO = new Struct('program', {
  ...{ type: 'u32', id: 'u32', tag: 8, jitedProgLen: 'u32', xlatedProgLen: 'u32' },
  ...{ jitedProgInsns: 'u64', xlatedProgInsns: 'u64', loadTime: 'u64' },
  ...{ createdByUid: 'u32', nrMapIds: 'u32', mapIds: 'u64', name: 16 },
});

export function programInfo(fd: number): ProgramInfo {
  const { type, id, tag, name } = PROG_INFO.decode(objectInfo(fd, 'program', PROG_INFO.size));
  return { type, id, tag: tag.toString('hex'), name: nameIn(name) };
}

/** struct bpf_map_info, as far as used. */
export const MAP_INFO = new Struct('map', {
  ...{ type: 'u32', id: 'u32', keySize: 'u32', valueSize: 'u32', maxEntries: 'u32' },
  ...{ mapFlags: 'u32', name: 16 },
});

export function mapInfo(fd: number): MapInfo {
  const { mapFlags, name, ...info } = MAP_INFO.decode(objectInfo(fd, 'map', MAP_INFO.size));
  return { ...info, flags: mapFlags, name: nameIn(name) };
}

/** Descriptor of a map by its id. KernelError ENOENT when it is gone. */
export function mapFdById(id: number): number {
  return new BpfAttr().u32(GET_FD.mapId, id).call(`open BPF map ${id}`, COMMAND.MAP_GET_FD_BY_ID);
}

/** Descriptor of a loaded program by its id. KernelError ENOENT when it is gone. */
export function programFdById(id: number): number {
  return new BpfAttr()
    .u32(GET_FD.progId, id)
    .call(`open BPF program ${id}`, COMMAND.PROG_GET_FD_BY_ID);
}

/** Name of a program by its id; undefined when it is gone. */
export function nameOfProgram(id: number): string | undefined {
  const fd = unlessErrno(['ENOENT'], () => programFdById(id));
  return fd === undefined ? undefined : closing(fd, programInfo).name;
}
