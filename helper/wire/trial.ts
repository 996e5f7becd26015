// Programs and types of a few bytes, by which is found out what a kernel's BPF can do. Pure:
// numbers in, bytes out.
//
// Instructions are struct bpf_insn of linux/bpf.h, types those of linux/btf.h.

import { BPF_LD_IMM64, BPF_PSEUDO_MAP_FD } from './bpf-object.ts';
import { BTF_MAGIC } from './btf.ts';

/** `enum bpf_func_id` of linux/bpf.h, as far as tried. */
const HELPER = {
  tailCall: 12,
  fibLookup: 69,
  spinLock: 93,
  spinUnlock: 94,
  redirectNeigh: 152,
  redirectPeer: 155,
  skbSetTstamp: 192,
} as const;

const BPF_ST_MEM_DW = 0x7a;
const BPF_CALL = 0x85;
const BPF_EXIT = 0x95;
const BPF_ADD64_IMM = 0x07;
const BPF_MOV64_IMM = 0xb7;
const BPF_MOV64_REG = 0xbf;

/** A BPF_LD_IMM64 loads also the first value of a map. */
const BPF_PSEUDO_MAP_VALUE = 2;

/** Frame pointer. */
const R10 = 10;

/** BPF_SKB_TSTAMP_DELIVERY_MONO of linux/bpf.h. */
const DELIVERY_MONO = 1;

/** struct bpf_fib_lookup of linux/bpf.h. */
const FIB_LOOKUP_SIZE = 64;

function instruction(code: number, to = 0, { from = 0, offset = 0, value = 0 } = {}): Buffer {
  const bytes = Buffer.alloc(8);
  bytes[0] = code;
  bytes[1] = (from << 4) | to;
  bytes.writeInt16LE(offset, 2);
  bytes.writeInt32LE(value, 4);
  return bytes;
}

function set(to: number, value: number): Buffer {
  return instruction(BPF_MOV64_IMM, to, { value });
}

function copy(to: number, from: number): Buffer {
  return instruction(BPF_MOV64_REG, to, { from });
}

/** The second half of the instruction has the upper bits of the number. */
function load(to: number, pseudo: number, mapFd: number): Buffer {
  return Buffer.concat([
    instruction(BPF_LD_IMM64, to, { from: pseudo, value: mapFd }),
    instruction(0),
  ]);
}

function call(helper: keyof typeof HELPER): Buffer {
  return instruction(BPF_CALL, 0, { value: HELPER[helper] });
}

/** A program for the tc hooks that returns 0. Register 1 holds its context at first. */
function program(...steps: readonly Buffer[]): Buffer {
  return Buffer.concat([...steps, set(0, 0), instruction(BPF_EXIT)]);
}

/** Lets every packet pass. */
export const PASSING = program();

/** Goes on in another program, of a map of programs. */
export function tailCallProgram(mapFd: number): Buffer {
  return program(load(2, BPF_PSEUDO_MAP_FD, mapFd), set(3, 0), call('tailCall'));
}

/** Takes the lock at the beginning of the first value of an array, and gives it back. */
export function lockProgram(mapFd: number): Buffer {
  const value = 6;
  return program(
    load(value, BPF_PSEUDO_MAP_VALUE, mapFd),
    ...[copy(1, value), call('spinLock')],
    ...[copy(1, value), call('spinUnlock')],
  );
}

/** Sets a packet's departure time together with its clock. */
export const STAMP_PROGRAM = program(set(2, 0), set(3, DELIVERY_MONO), call('skbSetTstamp'));

function fibLookup(): Buffer {
  const zeroes = Array.from({ length: FIB_LOOKUP_SIZE / 8 }, (_, index) =>
    instruction(BPF_ST_MEM_DW, R10, { offset: -8 * (index + 1) }),
  );
  const address = instruction(BPF_ADD64_IMM, 2, { value: -FIB_LOOKUP_SIZE });
  return Buffer.concat([
    ...zeroes,
    ...[copy(2, R10), address, set(3, FIB_LOOKUP_SIZE), set(4, 0), call('fibLookup')],
  ]);
}

/** Asks for a route and sends the packet to a neighbour, and into another namespace. */
export const REDIRECT_PROGRAM = program(
  fibLookup(),
  ...[set(1, 1), set(2, 0), set(3, 0), set(4, 0), call('redirectNeigh')],
  ...[set(1, 1), set(2, 0), call('redirectPeer')],
);

const BTF_VERSION = 1;
const BTF_HEADER_SIZE = 24;
const BTF_KIND_INT = 1;
const BTF_KIND_STRUCT = 4;

function words(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4);
  for (const [index, value] of values.entries()) bytes.writeUInt32LE(value, index * 4);
  return bytes;
}

/** `struct { struct bpf_spin_lock lock; }` and what it is made of. */
function lockBtf(): Buffer {
  const strings = Buffer.from('\0u32\0bpf_spin_lock\0val\0gate\0lock\0');
  const nameOf = (text: string): number => strings.indexOf(`\0${text}\0`) + 1;
  const [bits, bytes] = [32, 4];
  const struct = (name: string, member: string, typeId: number): Buffer =>
    words(nameOf(name), (BTF_KIND_STRUCT << 24) | 1, bytes, nameOf(member), typeId, 0);
  const types = Buffer.concat([
    words(nameOf('u32'), BTF_KIND_INT << 24, bytes, bits),
    struct('bpf_spin_lock', 'val', 1),
    struct('gate', 'lock', 2),
  ]);
  const header = Buffer.concat([
    words(BTF_MAGIC | (BTF_VERSION << 16), BTF_HEADER_SIZE, 0, types.length),
    words(types.length, strings.length),
  ]);
  return Buffer.concat([header, types, strings]);
}

/** Types of an array whose values are a lock of 4 bytes, by their ids. */
export const LOCK_TYPES = { btf: lockBtf(), keyTypeId: 1, valueTypeId: 3, valueSize: 4 } as const;
