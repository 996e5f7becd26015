// Where members of the kernel's own structs stand, from the types that it tells
// (/sys/kernel/btf/vmlinux). Pure: bytes in, offsets out. There are 130,000 types and more, so they
// are walked through and not made.

import { BTF_MAGIC, tailSize } from './btf.ts';

const KIND_STRUCT = 4;
const WORD = 4;
const HEADER_SIZE = 24;
/** struct btf_type: name offset, info, then size or type. */
const TYPE_WORDS = 3;
/**
 * struct btf_member: name offset, type, offset in bits, whose upper byte is the width of a bit
 * field where there are some.
 */
const MEMBER_WORDS = 3;
const OFFSET_BITS = 0xff_ffff;

/** A member of a struct, by both names. */
export interface MemberName {
  readonly struct: string;
  readonly member: string;
}

/** Offset in the strings of a name that is there once at most; undefined when it is not. */
function nameOffset(strings: Buffer, name: string): number | undefined {
  const at = strings.indexOf(`\0${name}\0`, 0, 'latin1');
  return at < 0 ? undefined : at + 1;
}

/**
 * Where a section of the types stands: words of the kernel's byte order, which is this machine's.
 */
function wordsOf(btf: Buffer, from: number, length: number): Uint32Array {
  return new Uint32Array(Uint8Array.from(btf.subarray(from, from + length)).buffer);
}

function memberOffset(members: Uint32Array, name: number): number | undefined {
  for (let at = 0; at < members.length; at += MEMBER_WORDS)
    if (members[at] === name) return ((members[at + 2] ?? 0) & OFFSET_BITS) / 8;
  return undefined;
}

/**
 * Offsets in bytes of members, in their order; undefined for one that the kernel does not have.
 * Throws RangeError for what is no BTF.
 */
export function memberOffsets(btf: Buffer, wanted: readonly MemberName[]): (number | undefined)[] {
  if (btf.length < HEADER_SIZE || btf.readUInt16LE(0) !== BTF_MAGIC)
    throw new RangeError('not the types of a kernel');
  const [header, types, typesLength, text] = [4, 8, 12, 16].map((at) => btf.readUInt32LE(at)) as [
    ...[number, number, number, number],
  ];
  const strings = btf.subarray(header + text);
  const words = wordsOf(btf, header + types, typesLength);
  const names = wanted.map(({ struct, member }) => [
    nameOffset(strings, struct),
    nameOffset(strings, member),
  ]);
  const structs = new Set(names.map(([struct]) => struct));
  const offsets: (number | undefined)[] = wanted.map(() => undefined);
  for (let at = 0; at < words.length;) {
    const info = words[at + 1] ?? 0;
    const kind = (info >>> 24) & 0x1f;
    const name = words[at];
    const tail = at + TYPE_WORDS;
    at = tail + tailSize(kind, info & 0xffff) / WORD;
    if (kind !== KIND_STRUCT || !structs.has(name)) continue;
    for (const [index, [struct, member]] of names.entries())
      if (struct === name && member !== undefined)
        offsets[index] ??= memberOffset(words.subarray(tail, at), member);
  }
  return offsets;
}
