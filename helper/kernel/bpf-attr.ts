// `union bpf_attr` of linux/bpf.h: what bpf(2) takes, and the structs that it fills in. The tables
// say where members stand, by their names there; a command has a struct of its own in the union.

import { addressOf, bpf, bpfUnless } from './ffi.ts';

/** `enum bpf_cmd` of linux/bpf.h, as far as used. */
export const COMMAND = {
  MAP_CREATE: 0,
  MAP_LOOKUP_ELEM: 1,
  MAP_UPDATE_ELEM: 2,
  MAP_DELETE_ELEM: 3,
  MAP_GET_NEXT_KEY: 4,
  PROG_LOAD: 5,
  OBJ_PIN: 6,
  OBJ_GET: 7,
  PROG_TEST_RUN: 10,
  PROG_GET_FD_BY_ID: 13,
  MAP_GET_FD_BY_ID: 14,
  OBJ_GET_INFO_BY_FD: 15,
  PROG_QUERY: 16,
  BTF_LOAD: 18,
  MAP_LOOKUP_BATCH: 24,
  MAP_UPDATE_BATCH: 26,
  MAP_DELETE_BATCH: 27,
  LINK_CREATE: 28,
  LINK_UPDATE: 29,
  LINK_DETACH: 34,
} as const;

/** Members of the unnamed structs in the union, by what they are for. */
export const MAP_CREATE = {
  mapType: 0,
  keySize: 4,
  valueSize: 8,
  maxEntries: 12,
  mapFlags: 16,
  innerMapFd: 20,
  mapName: 28,
  btfFd: 48,
  btfKeyTypeId: 52,
  btfValueTypeId: 56,
} as const;
/** Of MAP_*_ELEM, and of MAP_GET_NEXT_KEY, whose `next_key` stands where they have `value`. */
export const ELEMENT = { mapFd: 0, key: 8, value: 16, flags: 24 } as const;
export const PROG_LOAD = {
  progType: 0,
  insnCnt: 4,
  insns: 8,
  license: 16,
  logLevel: 24,
  logSize: 28,
  logBuf: 32,
  progName: 48,
} as const;
/** Of OBJ_PIN and OBJ_GET. */
export const OBJ = { pathname: 0, bpfFd: 8 } as const;
/** Of *_GET_FD_BY_ID. */
export const GET_FD = { progId: 0, mapId: 0 } as const;
export const BTF_LOAD = {
  btf: 0,
  btfLogBuf: 8,
  btfSize: 16,
  btfLogSize: 20,
  btfLogLevel: 24,
} as const;

/** Members of the structs that have a name there, which is `test` for TEST and so on. */
export const BATCH = {
  inBatch: 0,
  outBatch: 8,
  keys: 16,
  values: 24,
  count: 32,
  mapFd: 36,
} as const;
export const TEST = {
  progFd: 0,
  retval: 4,
  dataSizeIn: 8,
  dataSizeOut: 12,
  dataIn: 16,
  dataOut: 24,
  repeat: 32,
  duration: 36,
  ctxSizeIn: 40,
  ctxSizeOut: 44,
  ctxIn: 48,
  ctxOut: 56,
} as const;
export const INFO = { bpfFd: 0, infoLen: 4, info: 8 } as const;
export const QUERY = {
  targetIfindex: 0,
  attachType: 4,
  progIds: 16,
  progCnt: 24,
  linkIds: 40,
} as const;
export const LINK_CREATE = {
  progFd: 0,
  targetFd: 4,
  targetIfindex: 4,
  attachType: 8,
  flags: 12,
} as const;
export const LINK_UPDATE = { linkFd: 0, newProgFd: 4 } as const;
export const LINK_DETACH = { linkFd: 0 } as const;

/**
 * Bytes of the union that are passed: enough for every command used, on every kernel. The tail
 * stays zero.
 */
const ATTR_SIZE = 128;

/** The kernel's BPF_OBJ_NAME_LEN, which counts the NUL. */
const OBJECT_NAME_SIZE = 16;

/**
 * An attribute under construction. It keeps the Buffers it points to alive until the call is over.
 */
export class BpfAttr {
  readonly #bytes = Buffer.alloc(ATTR_SIZE);
  readonly #pointees: Buffer[] = [];

  u32(offset: number, value: number): this {
    this.#bytes.writeUInt32LE(value, offset);
    return this;
  }

  u64(offset: number, value: bigint): this {
    this.#bytes.writeBigUInt64LE(value, offset);
    return this;
  }

  /**
   * The address of a Buffer, which the kernel reads or writes; an empty one becomes a null pointer.
   */
  pointer(offset: number, pointee: Buffer): this {
    if (pointee.length === 0) return this;
    this.#pointees.push(pointee);
    return this.u64(offset, addressOf(pointee));
  }

  /** A NUL-terminated string somewhere else. */
  string(offset: number, text: string): this {
    return this.pointer(offset, Buffer.from(`${text}\0`));
  }

  /** The name of an object, in place; the kernel holds 15 characters of it. */
  name(offset: number, name: string): this {
    this.#bytes.write(kernelName(name), offset, 'latin1');
    return this;
  }

  /** What the kernel wrote back into the attribute. */
  readU32(offset: number): number {
    return this.#bytes.readUInt32LE(offset);
  }

  /**
   * bpf(2). Returns what it returns; throws KernelError with `operation` and what `detail` returns.
   */
  call(operation: string, command: number, detail?: () => string): number {
    const result = bpf(operation, command, this.#bytes, detail);
    this.#pointees.length = 0;
    return result;
  }

  /** The same for what may well not be there: undefined when the kernel answers with `errno`. */
  callUnless(errno: string, operation: string, command: number): number | undefined {
    const result = bpfUnless(errno, operation, command, this.#bytes);
    this.#pointees.length = 0;
    return result;
  }
}

/** A name as the kernel keeps it: the first 15 characters. */
function kernelName(name: string): string {
  return name.slice(0, OBJECT_NAME_SIZE - 1);
}
