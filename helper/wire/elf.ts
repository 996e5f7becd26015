// Relocatable ELF objects as clang writes them for BPF: 64-bit, little-endian. Pure: bytes in,
// tables out. Structures and numbers are those of elf.h (Elf64_Ehdr, Elf64_Shdr, Elf64_Sym,
// Elf64_Rel).

import { Struct } from './struct.ts';

/** A section of the object. */
export interface ElfSection {
  readonly name: string;
  readonly type: number;
  /** Index of the section that this one refers to: of a relocation section, its symbol table. */
  readonly link: number;
  /** Of a relocation section, the index of the section to be patched. */
  readonly info: number;
  readonly content: Buffer;
}

/** A symbol of the object's symbol table. */
export interface ElfSymbol {
  readonly name: string;
  /** STT_FUNC or another. */
  readonly type: number;
  readonly sectionIndex: number;
  /** Offset in its section, bytes. */
  readonly offset: number;
  readonly sizeBytes: number;
}

/** A place in a section that wants the address of a symbol. */
export interface ElfRelocation {
  /** Offset of the place in the section to be patched, bytes. */
  readonly offset: number;
  readonly type: number;
  readonly symbol: ElfSymbol;
}

/** What an ELF object contains. */
export interface ElfObject {
  /** e_machine of the file header. */
  readonly machine: number;
  readonly sections: readonly ElfSection[];
  readonly symbols: readonly ElfSymbol[];
}

/** Type of a symbol that names a function. */
export const STT_FUNC = 2;

const SHT_SYMTAB = 2;
const SHT_NOBITS = 8;
const SHT_REL = 9;

/** Elf64_Ehdr. */
const HEADER = new Struct('ELF header', {
  ...{ ident: 16, type: 'u16', machine: 'u16', version: 'u32' },
  ...{ entry: 'u64', programsOffset: 'u64', sectionsOffset: 'u64', flags: 'u32' },
  ...{ headerSize: 'u16', programSize: 'u16', programCount: 'u16', sectionSize: 'u16' },
  ...{ sectionCount: 'u16', namesIndex: 'u16' },
});
/** Elf64_Shdr. */
const SECTION_HEADER = new Struct('section header', {
  ...{ nameOffset: 'u32', type: 'u32', flags: 'u64', address: 'u64', offset: 'u64' },
  ...{ sizeBytes: 'u64', link: 'u32', info: 'u32', alignment: 'u64', entrySize: 'u64' },
});
/** Elf64_Sym. */
const SYMBOL = new Struct('symbol', {
  ...{ nameOffset: 'u32', info: 'u8', other: 'u8', sectionIndex: 'u16' },
  ...{ offset: 'u64', sizeBytes: 'u64' },
});
/** Elf64_Rel. */
const RELOCATION = new Struct('relocation', { offset: 'u64', type: 'u32', symbolIndex: 'u32' });

/** 0x7f E L F, then ELFCLASS64, ELFDATA2LSB, EV_CURRENT. */
const IDENT = Buffer.from([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);

/** The part of `bytes` that a header describes. Throws RangeError when it does not lie within. */
export function sliceOf(bytes: Buffer, offset: number, length: number): Buffer {
  if (offset > bytes.length || length > bytes.length - offset) {
    throw new RangeError(`${length} bytes at ${offset} lie outside of ${bytes.length}`);
  }
  return bytes.subarray(offset, offset + length);
}

/**
 * The NUL-terminated string at `offset` of a string table. Throws RangeError when it is not in the
 * table.
 */
export function stringAt(table: Buffer, offset: number): string {
  const end = table.indexOf(0, offset);
  if (offset >= table.length || end < 0)
    throw new RangeError(`no string at ${offset} of ${table.length}`);
  return table.toString('utf8', offset, end);
}

type SectionHeader = ReturnType<typeof SECTION_HEADER.decode>;

function readSections(file: Buffer): ElfSection[] {
  const { sectionsOffset, sectionCount, namesIndex } = HEADER.decodeAt(file, 0);
  const table = sliceOf(file, Number(sectionsOffset), sectionCount * SECTION_HEADER.size);
  const headers = SECTION_HEADER.decodeAll(table);
  const contentOf = ({ type, offset, sizeBytes }: SectionHeader): Buffer =>
    type === SHT_NOBITS ? Buffer.alloc(0) : sliceOf(file, Number(offset), Number(sizeBytes));
  const namesHeader = headers[namesIndex];
  if (namesHeader === undefined) throw new RangeError(`no section ${namesIndex} for the names`);
  const names = contentOf(namesHeader);
  return headers.map((header) => ({
    name: stringAt(names, header.nameOffset),
    ...{ type: header.type, link: header.link, info: header.info, content: contentOf(header) },
  }));
}

function readSymbols(sections: readonly ElfSection[]): ElfSymbol[] {
  const table = sections.find((section) => section.type === SHT_SYMTAB);
  if (table === undefined) return [];
  const names = sections[table.link]?.content;
  if (names === undefined)
    throw new RangeError(`no section ${table.link} for the names of symbols`);
  return SYMBOL.decodeAll(table.content).map(({ nameOffset, info, sectionIndex, ...symbol }) => ({
    ...{ name: stringAt(names, nameOffset), type: info & 0xf, sectionIndex },
    ...{ offset: Number(symbol.offset), sizeBytes: Number(symbol.sizeBytes) },
  }));
}

/**
 * Reads an object's tables. Throws RangeError when the bytes are no such object or are cut short.
 */
export function parseElf(file: Buffer): ElfObject {
  if (file.length < HEADER.size || !file.subarray(0, IDENT.length).equals(IDENT)) {
    throw new RangeError('no 64-bit little-endian ELF header');
  }
  const sections = readSections(file);
  return { machine: HEADER.decodeAt(file, 0).machine, sections, symbols: readSymbols(sections) };
}

/**
 * The relocations of the section with this index. Throws RangeError when one names a symbol that is
 * not there.
 */
export function relocationsOf(elf: ElfObject, sectionIndex: number): ElfRelocation[] {
  const relocations: ElfRelocation[] = [];
  for (const section of elf.sections) {
    if (section.type !== SHT_REL || section.info !== sectionIndex) continue;
    for (const { offset, type, symbolIndex } of RELOCATION.decodeAll(section.content)) {
      const symbol = elf.symbols[symbolIndex];
      if (symbol === undefined) throw new RangeError(`no symbol ${symbolIndex} for a relocation`);
      relocations.push({ offset: Number(offset), type, symbol });
    }
  }
  return relocations;
}
