// A compiled BPF object as data: programs with their instructions, the maps they want, and where
// the maps' descriptors go. The same on every machine; helper/kernel/bpf-loader.ts turns it into
// kernel objects.

import { parseBtf, placeSections, resolveType, sizeOfType, type BtfTypes } from './btf.ts';
import {
  parseElf,
  relocationsOf,
  STT_FUNC,
  type ElfObject,
  type ElfRelocation,
  type ElfSymbol,
} from './elf.ts';

/** A map that the object defines in its section `.maps`. */
export interface BpfMapDefinition {
  readonly name: string;
  /** `enum bpf_map_type` of linux/bpf.h. */
  readonly type: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  /** BPF_F_* of linux/bpf.h. */
  readonly flags: number;
  /** Types of key and value in the object's BTF. */
  readonly keyTypeId: number;
  readonly valueTypeId: number;
  /** Of a map whose values are maps: what each of them is like. */
  readonly inner?: BpfMapDefinition;
}

/** An instruction that loads the address of a map. */
export interface BpfMapReference {
  /** Index of the instruction in its program. */
  readonly instruction: number;
  readonly mapName: string;
}

/** A program of the object. */
export interface BpfProgram {
  readonly name: string;
  /** The ELF section, which says by convention what the program attaches to: `tc`. */
  readonly section: string;
  /** struct bpf_insn[], 8 bytes each. */
  readonly instructions: Buffer;
  readonly mapReferences: readonly BpfMapReference[];
}

/** What an object file contains. */
export interface BpfObject {
  readonly license: string;
  /** The types as the kernel takes them. */
  readonly btf: Buffer;
  readonly maps: readonly BpfMapDefinition[];
  readonly programs: readonly BpfProgram[];
}

const EM_BPF = 247;
/** Relocation of a 64-bit immediate load, the only kind that podpace's programs have. */
const R_BPF_64_64 = 1;
const INSTRUCTION_SIZE = 8;
/**
 * BPF_LD | BPF_IMM | BPF_DW: first byte of a 64-bit immediate load, which takes two instructions.
 */
export const BPF_LD_IMM64 = 0x18;
/** src_reg value that makes the immediate a map's descriptor. */
export const BPF_PSEUDO_MAP_FD = 1;

const MAPS_SECTION = '.maps';

/**
 * Attributes of a map definition that `__uint()` gives: the length of an array that a pointer
 * points to.
 */
function mapAttribute(types: BtfTypes, typeId: number): number {
  const pointer = resolveType(types, typeId);
  const array = pointer.kind === 'pointer' ? resolveType(types, pointer.typeId) : pointer;
  if (array.kind !== 'array') throw new RangeError('map attribute is not of the form int (*)[N]');
  return array.length;
}

/** The type that `__type()` gives: it is written as a pointer to the key's or the value's type. */
function pointedType(types: BtfTypes, typeId: number): number {
  const pointer = resolveType(types, typeId);
  if (pointer.kind !== 'pointer')
    throw new RangeError('map key or value is not of the form TYPE *');
  return pointer.typeId;
}

/**
 * The type that `__array()` gives: it is written as an array of pointers to the definition of the
 * inner maps.
 */
function arrayedType(types: BtfTypes, typeId: number): number {
  const array = resolveType(types, typeId);
  if (array.kind !== 'array') throw new RangeError('map values are not of the form TYPE *[]');
  return pointedType(types, array.typeId);
}

/** Attributes of a map definition that are numbers, and what they are called here. */
const MAP_NUMBERS: ReadonlyMap<string, 'type' | 'maxEntries' | 'flags' | 'keySize' | 'valueSize'> =
  new Map([
    ['type', 'type'],
    ['max_entries', 'maxEntries'],
    ['map_flags', 'flags'],
    ['key_size', 'keySize'],
    ['value_size', 'valueSize'],
  ]);

function mapDefinition(
  types: BtfTypes,
  name: string,
  typeId: number,
  isInner = false,
): BpfMapDefinition {
  const definition = resolveType(types, typeId);
  if (definition.kind !== 'struct') throw new RangeError(`map "${name}" is not a struct`);
  const sizes = { keySize: 0, valueSize: 0, maxEntries: 0 };
  const map = { name, type: 0, ...sizes, flags: 0, keyTypeId: 0, valueTypeId: 0 };
  let inner: BpfMapDefinition | undefined;
  for (const { name: attribute, typeId } of definition.members) {
    const number = MAP_NUMBERS.get(attribute);
    if (number !== undefined) {
      map[number] = mapAttribute(types, typeId);
    } else if (attribute === 'key' || attribute === 'value') {
      const pointed = pointedType(types, typeId);
      map[`${attribute}TypeId`] = pointed;
      map[`${attribute}Size`] = sizeOfType(types, pointed);
    } else if (attribute === 'values') {
      if (isInner) throw new RangeError(`map "${name}" has maps in its inner maps`);
      inner = mapDefinition(types, name, arrayedType(types, typeId), true);
    } else {
      throw new RangeError(`map "${name}" has the attribute "${attribute}", which is not known`);
    }
  }
  return inner === undefined ? map : { ...map, inner };
}

function btfOf(elf: ElfObject): Buffer {
  const btf = elf.sections.find((section) => section.name === '.BTF');
  if (btf === undefined) throw new RangeError('no section .BTF: compile with -g');
  const indexOf = (name: string): number =>
    elf.sections.findIndex((section) => section.name === name);
  return placeSections(btf.content, {
    sizeOf: (name) => elf.sections[indexOf(name)]?.content.length,
    offsetOf: (name, variable) => {
      const index = indexOf(name);
      return elf.symbols.find((symbol) => symbol.sectionIndex === index && symbol.name === variable)
        ?.offset;
    },
  });
}

function mapDefinitions(types: BtfTypes): BpfMapDefinition[] {
  const maps: BpfMapDefinition[] = [];
  for (const type of types) {
    if (type.kind !== 'section' || type.name !== MAPS_SECTION) continue;
    for (const id of type.variableIds) {
      const variable = resolveType(types, id);
      if (variable.kind !== 'variable') throw new RangeError(`BTF type ${id} is not a variable`);
      maps.push(mapDefinition(types, variable.name, variable.typeId));
    }
  }
  return maps;
}

function mapReference(
  elf: ElfObject,
  program: ElfSymbol,
  relocation: ElfRelocation,
): BpfMapReference {
  const { symbol } = relocation;
  const place = `relocation at ${relocation.offset} of "${program.name}"`;
  if (relocation.type !== R_BPF_64_64)
    throw new RangeError(`${place} is of type ${relocation.type}`);
  if (elf.sections[symbol.sectionIndex]?.name !== MAPS_SECTION) {
    throw new RangeError(`${place} wants "${symbol.name}", which is not a map`);
  }
  const offset = relocation.offset - program.offset;
  if (offset % INSTRUCTION_SIZE !== 0) throw new RangeError(`${place} is not at an instruction`);
  return { instruction: offset / INSTRUCTION_SIZE, mapName: symbol.name };
}

function programOf(elf: ElfObject, symbol: ElfSymbol): BpfProgram {
  const section = elf.sections[symbol.sectionIndex];
  if (section === undefined) throw new RangeError(`program "${symbol.name}" is in no section`);
  const end = symbol.offset + symbol.sizeBytes;
  if (end > section.content.length || symbol.sizeBytes % INSTRUCTION_SIZE !== 0) {
    throw new RangeError(`program "${symbol.name}" does not fit its section`);
  }
  const mapReferences = relocationsOf(elf, symbol.sectionIndex)
    .filter(({ offset }) => offset >= symbol.offset && offset < end)
    .map((relocation) => mapReference(elf, symbol, relocation));
  return {
    name: symbol.name,
    section: section.name,
    instructions: section.content.subarray(symbol.offset, end),
    mapReferences,
  };
}

function licenseOf(elf: ElfObject): string {
  const section = elf.sections.find(({ name }) => name === 'license');
  if (section === undefined) throw new RangeError('no section license');
  return section.content.toString('latin1').replace(/\0.*$/s, '');
}

/**
 * Reads an object file that clang wrote with `-target bpf -g`. Throws an Error that says what is
 * wrong when the file is none, is cut short, or uses what podpace's programs do not: calls between
 * programs, global data.
 */
export function parseBpfObject(file: Buffer): BpfObject {
  try {
    const elf = parseElf(file);
    if (elf.machine !== EM_BPF) throw new RangeError(`machine ${elf.machine} is not BPF`);
    const programs = elf.symbols
      .filter(({ type }) => type === STT_FUNC)
      .map((symbol) => programOf(elf, symbol));
    const btf = btfOf(elf);
    return { license: licenseOf(elf), btf, maps: mapDefinitions(parseBtf(btf)), programs };
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new Error(`Cannot read the BPF object: ${error.message}`, { cause: error });
  }
}

/**
 * The program's instructions with the maps' descriptors in place (a copy).
 * Throws an Error when a map it refers to is not in `mapFds`.
 */
export function linkMaps(program: BpfProgram, mapFds: ReadonlyMap<string, number>): Buffer {
  const instructions = Buffer.from(program.instructions);
  for (const { instruction, mapName } of program.mapReferences) {
    const fd = mapFds.get(mapName);
    if (fd === undefined)
      throw new Error(`Cannot link program "${program.name}": no map "${mapName}"`);
    const at = instruction * INSTRUCTION_SIZE;
    if (instructions[at] !== BPF_LD_IMM64) {
      throw new Error(
        `Cannot link program "${program.name}": instruction ${instruction} loads no address`,
      );
    }
    const destination = instructions.readUInt8(at + 1) & 0x0f;
    instructions.writeUInt8((BPF_PSEUDO_MAP_FD << 4) | destination, at + 1);
    instructions.writeInt32LE(fd, at + 4);
  }
  return instructions;
}
