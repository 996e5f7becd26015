// Relocatable ELF objects as clang writes them for BPF: 64-bit, little-endian. Pure: bytes in,
// tables out. Structures and numbers are those of elf.h (Elf64_Ehdr, Elf64_Shdr, Elf64_Sym,
// Elf64_Rel).

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

const HEADER_SIZE = 64;
const SECTION_HEADER_SIZE = 64;
const SYMBOL_SIZE = 24;
const RELOCATION_SIZE = 16;

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

interface SectionHeader {
  readonly nameOffset: number;
  readonly type: number;
  readonly offset: number;
  readonly sizeBytes: number;
  readonly link: number;
  readonly info: number;
}

function readSectionHeader(header: Buffer): SectionHeader {
  return {
    nameOffset: header.readUInt32LE(0),
    type: header.readUInt32LE(4),
    offset: Number(header.readBigUInt64LE(24)),
    sizeBytes: Number(header.readBigUInt64LE(32)),
    link: header.readUInt32LE(40),
    info: header.readUInt32LE(44),
  };
}

function readSections(file: Buffer): ElfSection[] {
  const tableOffset = Number(file.readBigUInt64LE(40));
  const count = file.readUInt16LE(60);
  const namesIndex = file.readUInt16LE(62);
  const table = sliceOf(file, tableOffset, count * SECTION_HEADER_SIZE);
  const headers = Array.from({ length: count }, (_, index) =>
    readSectionHeader(
      table.subarray(index * SECTION_HEADER_SIZE, (index + 1) * SECTION_HEADER_SIZE),
    ),
  );
  const contentOf = (header: SectionHeader): Buffer =>
    header.type === SHT_NOBITS ? Buffer.alloc(0) : sliceOf(file, header.offset, header.sizeBytes);
  const namesHeader = headers[namesIndex];
  if (namesHeader === undefined) throw new RangeError(`no section ${namesIndex} for the names`);
  const names = contentOf(namesHeader);
  return headers.map((header) => ({
    name: stringAt(names, header.nameOffset),
    type: header.type,
    link: header.link,
    info: header.info,
    content: contentOf(header),
  }));
}

function readSymbols(sections: readonly ElfSection[]): ElfSymbol[] {
  const table = sections.find((section) => section.type === SHT_SYMTAB);
  if (table === undefined) return [];
  const names = sections[table.link]?.content;
  if (names === undefined)
    throw new RangeError(`no section ${table.link} for the names of symbols`);
  const symbols: ElfSymbol[] = [];
  for (let at = 0; at + SYMBOL_SIZE <= table.content.length; at += SYMBOL_SIZE) {
    symbols.push({
      name: stringAt(names, table.content.readUInt32LE(at)),
      type: table.content.readUInt8(at + 4) & 0xf,
      sectionIndex: table.content.readUInt16LE(at + 6),
      offset: Number(table.content.readBigUInt64LE(at + 8)),
      sizeBytes: Number(table.content.readBigUInt64LE(at + 16)),
    });
  }
  return symbols;
}

/**
 * Reads an object's tables. Throws RangeError when the bytes are no such object or are cut short.
 */
export function parseElf(file: Buffer): ElfObject {
  if (file.length < HEADER_SIZE || !file.subarray(0, IDENT.length).equals(IDENT)) {
    throw new RangeError('no 64-bit little-endian ELF header');
  }
  const sections = readSections(file);
  return { machine: file.readUInt16LE(18), sections, symbols: readSymbols(sections) };
}

/**
 * The relocations of the section with this index. Throws RangeError when one names a symbol that is
 * not there.
 */
export function relocationsOf(elf: ElfObject, sectionIndex: number): ElfRelocation[] {
  const relocations: ElfRelocation[] = [];
  for (const section of elf.sections) {
    if (section.type !== SHT_REL || section.info !== sectionIndex) continue;
    for (let at = 0; at + RELOCATION_SIZE <= section.content.length; at += RELOCATION_SIZE) {
      const type = section.content.readUInt32LE(at + 8);
      const symbolIndex = section.content.readUInt32LE(at + 12);
      const symbol = elf.symbols[symbolIndex];
      if (symbol === undefined) throw new RangeError(`no symbol ${symbolIndex} for a relocation`);
      relocations.push({ offset: Number(section.content.readBigUInt64LE(at)), type, symbol });
    }
  }
  return relocations;
}
