// BPF Type Format, as far as map definitions need it: the kernel's linux/btf.h and
// Documentation/bpf/btf.rst. Pure: bytes in, types out.

import { sliceOf, stringAt } from './elf.ts';

/** A member of a struct. */
export interface BtfMember {
  readonly name: string;
  readonly typeId: number;
  readonly offsetBytes: number;
}

/** Empty for one that has no name. */
export interface BtfStruct {
  readonly kind: 'struct';
  readonly name: string;
  readonly sizeBytes: number;
  readonly members: readonly BtfMember[];
}

/** One type. Only what a map definition can be made of is told apart; all else is `other`. */
export type BtfType =
  | { readonly kind: 'int'; readonly sizeBytes: number }
  | { readonly kind: 'pointer'; readonly typeId: number }
  | { readonly kind: 'array'; readonly typeId: number; readonly length: number }
  | BtfStruct
  /** typedef, const, volatile, restrict, type tag: another name of a type. */
  | { readonly kind: 'alias'; readonly typeId: number }
  | { readonly kind: 'variable'; readonly name: string; readonly typeId: number }
  | { readonly kind: 'section'; readonly name: string; readonly variableIds: readonly number[] }
  | { readonly kind: 'other' };

/** All types of an object; a type's id is its index. */
export type BtfTypes = readonly BtfType[];

/** What BTF begins with. */
export const BTF_MAGIC = 0xeb9f;

/** `enum` of BTF_KIND_* in linux/btf.h. */
const KIND = {
  INT: 1,
  PTR: 2,
  ARRAY: 3,
  STRUCT: 4,
  UNION: 5,
  ENUM: 6,
  FWD: 7,
  TYPEDEF: 8,
  VOLATILE: 9,
  CONST: 10,
  RESTRICT: 11,
  FUNC: 12,
  FUNC_PROTO: 13,
  VAR: 14,
  DATASEC: 15,
  FLOAT: 16,
  DECL_TAG: 17,
  TYPE_TAG: 18,
  ENUM64: 19,
} as const;

/** struct btf_type: name offset, info, then size or type. */
const TYPE_SIZE = 12;

/**
 * Bytes that follow struct btf_type, for each kind; `vlen` is the count in its info. Throws
 * RangeError for an unknown kind.
 */
export function tailSize(kind: number, vlen: number): number {
  switch (kind) {
    case KIND.INT:
    case KIND.VAR:
    case KIND.DECL_TAG:
      return 4;
    case KIND.ARRAY:
      return 12;
    case KIND.STRUCT:
    case KIND.UNION:
    case KIND.DATASEC:
    case KIND.ENUM64:
      return vlen * 12;
    case KIND.ENUM:
    case KIND.FUNC_PROTO:
      return vlen * 8;
    case KIND.PTR:
    case KIND.FWD:
    case KIND.TYPEDEF:
    case KIND.VOLATILE:
    case KIND.CONST:
    case KIND.RESTRICT:
    case KIND.FUNC:
    case KIND.FLOAT:
    case KIND.TYPE_TAG:
      return 0;
    default:
      throw new RangeError(`BTF kind ${kind} is not known`);
  }
}

/** One type as it stands in the section. */
interface RawType {
  readonly kind: number;
  readonly name: string;
  readonly sizeOrType: number;
  readonly vlen: number;
  /** struct btf_type itself; a view, as `tail` is. */
  readonly header: Buffer;
  /** What follows struct btf_type. */
  readonly tail: Buffer;
}

function decodeType(raw: RawType, strings: Buffer): BtfType {
  const entries = Array.from({ length: raw.vlen }, (_, index) => index * 12);
  switch (raw.kind) {
    case KIND.INT:
      return { kind: 'int', sizeBytes: raw.sizeOrType };
    case KIND.PTR:
      return { kind: 'pointer', typeId: raw.sizeOrType };
    case KIND.ARRAY:
      return { kind: 'array', typeId: raw.tail.readUInt32LE(0), length: raw.tail.readUInt32LE(8) };
    case KIND.STRUCT:
      return {
        kind: 'struct',
        name: raw.name,
        sizeBytes: raw.sizeOrType,
        members: entries.map((at) => ({
          name: stringAt(strings, raw.tail.readUInt32LE(at)),
          typeId: raw.tail.readUInt32LE(at + 4),
          // In bits, with no bit fields in ours.
          offsetBytes: raw.tail.readUInt32LE(at + 8) / 8,
        })),
      };
    case KIND.TYPEDEF:
    case KIND.VOLATILE:
    case KIND.CONST:
    case KIND.RESTRICT:
    case KIND.TYPE_TAG:
      return { kind: 'alias', typeId: raw.sizeOrType };
    case KIND.VAR:
      return { kind: 'variable', name: raw.name, typeId: raw.sizeOrType };
    case KIND.DATASEC:
      return {
        kind: 'section',
        name: raw.name,
        variableIds: entries.map((at) => raw.tail.readUInt32LE(at)),
      };
    default:
      return { kind: 'other' };
  }
}

function rawTypesOf(section: Buffer): { raw: RawType[]; strings: Buffer } {
  if (section.readUInt16LE(0) !== BTF_MAGIC) throw new RangeError('no BTF header');
  const headerLength = section.readUInt32LE(4);
  const typeBytes = sliceOf(
    section,
    headerLength + section.readUInt32LE(8),
    section.readUInt32LE(12),
  );
  const strings = sliceOf(
    section,
    headerLength + section.readUInt32LE(16),
    section.readUInt32LE(20),
  );
  const raw: RawType[] = [];
  for (let at = 0; at < typeBytes.length;) {
    const header = sliceOf(typeBytes, at, TYPE_SIZE);
    const info = header.readUInt32LE(4);
    const kind = (info >>> 24) & 0x1f;
    const vlen = info & 0xffff;
    const tail = sliceOf(typeBytes, at + TYPE_SIZE, tailSize(kind, vlen));
    const name = stringAt(strings, header.readUInt32LE(0));
    raw.push({ kind, name, sizeOrType: header.readUInt32LE(8), vlen, header, tail });
    at += TYPE_SIZE + tail.length;
  }
  return { raw, strings };
}

/** Reads the section `.BTF`. Throws RangeError when it is none or is cut short. */
export function parseBtf(section: Buffer): BtfTypes {
  const { raw, strings } = rawTypesOf(section);
  // Type 0 is void and is not in the file.
  return [{ kind: 'other' }, ...raw.map((type) => decodeType(type, strings))];
}

/** struct btf_var_secinfo: type, offset, size. */
const VARIABLE_SIZE = 12;

/** Where the linker, had there been one, would have put the variables of the sections. */
export interface SectionLayout {
  /** Bytes of a section; undefined when the object has none of this name. */
  sizeOf(section: string): number | undefined;
  /** Offset of a variable in its section; undefined when it is not there. */
  offsetOf(section: string, variable: string): number | undefined;
}

function placeVariables(section: RawType, layout: SectionLayout, types: BtfTypes): void {
  const sizeBytes = layout.sizeOf(section.name);
  if (sizeBytes === undefined) throw new RangeError(`no section ${section.name}`);
  section.header.writeUInt32LE(sizeBytes, 8);
  const entries = Array.from({ length: section.vlen }, (_, index) => {
    const entry = Buffer.from(
      section.tail.subarray(index * VARIABLE_SIZE, (index + 1) * VARIABLE_SIZE),
    );
    const variable = resolveType(types, entry.readUInt32LE(0));
    if (variable.kind !== 'variable')
      throw new RangeError(`a member of ${section.name} is no variable`);
    const offset = layout.offsetOf(section.name, variable.name);
    if (offset === undefined) throw new RangeError(`no symbol ${variable.name} in ${section.name}`);
    entry.writeUInt32LE(offset, 4);
    return entry;
  });
  // The kernel wants them in the order of their offsets.
  entries.sort((a, b) => a.readUInt32LE(4) - b.readUInt32LE(4));
  Buffer.concat(entries).copy(section.tail);
}

/**
 * The section `.BTF` as the kernel takes it (a copy). The compiler leaves sizes of sections and
 * offsets of their variables at 0, for a linker or loader to fill in. Throws RangeError when the
 * layout lacks one of them.
 */
export function placeSections(section: Buffer, layout: SectionLayout): Buffer {
  const placed = Buffer.from(section);
  const types = parseBtf(placed);
  for (const type of rawTypesOf(placed).raw) {
    if (type.kind === KIND.DATASEC) placeVariables(type, layout, types);
  }
  return placed;
}

/**
 * The type with this id, aliases followed. Throws RangeError when there is none or they lead in a
 * circle.
 */
export function resolveType(types: BtfTypes, typeId: number): BtfType {
  let id = typeId;
  for (let step = 0; step < types.length; step++) {
    const type = types[id];
    if (type === undefined) break;
    if (type.kind !== 'alias') return type;
    id = type.typeId;
  }
  throw new RangeError(`BTF type ${typeId} is not defined`);
}

/** Bytes of a value of this type. Throws RangeError for types that have no size of their own. */
export function sizeOfType(types: BtfTypes, typeId: number, depth = 0): number {
  const type = resolveType(types, typeId);
  switch (type.kind) {
    case 'int':
    case 'struct':
      return type.sizeBytes;
    case 'pointer':
      return 8;
    case 'array':
      if (depth === types.length) throw new RangeError(`BTF type ${typeId} contains itself`);
      return type.length * sizeOfType(types, type.typeId, depth + 1);
    case 'alias':
    case 'variable':
    case 'section':
    case 'other':
      throw new RangeError(`BTF type ${typeId} has no size`);
  }
}
