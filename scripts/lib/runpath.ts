// Where an executable looks for shared libraries before it asks the node's: Node needs libstdc++,
// which not every node has, so release archives carry it (release/libraries.ts).
//
// The entry is written into a finished executable, in place: .dynamic has unused entries at its
// end, and its text travels in the blob of assets, which the loader maps with the rest. Tools that
// make room move Node's symbol tables, 2 MiB of them, to do so.

/**
 * Beside the executable, or where libraries lie for those that runtimes call in directories of
 * their own. Directories that are not there cost a start some microseconds.
 */
export const RUNPATH = '$ORIGIN/lib:/var/lib/podpace/lib';

/** Name of the asset, which has to hold `runpathAsset`. */
export const RUNPATH_ASSET = 'runpath';
export const runpathAsset: Buffer = Buffer.from(`${RUNPATH}\0`);

// elf(5): the 64-bit little-endian form.
const PROGRAM_HEADERS = { start: 0x20, size: 56, count: 0x38 };
const SECTION_HEADERS = { start: 0x28, size: 64, count: 0x3c };
const PT_LOAD = 1;
const PT_DYNAMIC = 2;
const SHT_DYNAMIC = 6;
const DYNAMIC_ENTRY_SIZE = 16;
const DT_NULL = 0n;
const DT_STRTAB = 5n;
const DT_RPATH = 15n;
const DT_RUNPATH = 29n;

type Table = typeof PROGRAM_HEADERS;

/** Offsets of a table's entries whose type, a word `typeAt` bytes into each, is the wanted one. */
function entriesOf(elf: Buffer, table: Table, typeAt: number, type: number): number[] {
  const start = Number(elf.readBigUInt64LE(table.start));
  const count = elf.readUInt16LE(table.count);
  const all = Array.from({ length: count }, (_, index) => start + index * table.size);
  return all.filter((entry) => elf.readUInt32LE(entry + typeAt) === type);
}

/** The address at which the loader maps what stands at an offset of the file. */
function addressOf(elf: Buffer, offset: bigint): bigint | undefined {
  for (const header of entriesOf(elf, PROGRAM_HEADERS, 0, PT_LOAD)) {
    const from = elf.readBigUInt64LE(header + 8);
    if (offset >= from && offset < from + elf.readBigUInt64LE(header + 32))
      return elf.readBigUInt64LE(header + 16) + offset - from;
  }
  return undefined;
}

function fail(reason: string): never {
  throw new Error(`Cannot have the executable look for libraries in ${RUNPATH}: ${reason}`);
}

/**
 * Has an executable with the asset look for libraries by RUNPATH. Throws Error when it has no room
 * for the entry, has one already, or lacks the asset.
 */
export function setRunpath(elf: Buffer): void {
  const [section] = entriesOf(elf, SECTION_HEADERS, 4, SHT_DYNAMIC);
  const [segment] = entriesOf(elf, PROGRAM_HEADERS, 0, PT_DYNAMIC);
  if (section === undefined || segment === undefined) fail('it is not linked dynamically');
  const start = Number(elf.readBigUInt64LE(section + 24));
  const room = Number(elf.readBigUInt64LE(section + 32)) / DYNAMIC_ENTRY_SIZE;
  const entries = Array.from({ length: room }, (_, index) => start + index * DYNAMIC_ENTRY_SIZE);
  const tagOf = (entry: number): bigint => elf.readBigInt64LE(entry);
  const used = entries.findIndex((entry) => tagOf(entry) === DT_NULL);
  if (entries.some((entry) => [DT_RPATH, DT_RUNPATH].includes(tagOf(entry))))
    fail('it has such directories already');
  // One more has to end the list.
  if (used < 0 || used + 1 >= room) fail(`its .dynamic, of ${room} entries, is full`);
  const strings = entries.find((entry) => tagOf(entry) === DT_STRTAB);
  const text = addressOf(elf, BigInt(elf.lastIndexOf(runpathAsset)));
  if (strings === undefined || text === undefined) fail(`it has no asset ${RUNPATH_ASSET}`);
  const entry = start + used * DYNAMIC_ENTRY_SIZE;
  elf.writeBigInt64LE(DT_RUNPATH, entry);
  elf.writeBigUInt64LE(text - elf.readBigUInt64LE(strings + 8), entry + 8);
  const size = BigInt((used + 2) * DYNAMIC_ENTRY_SIZE);
  for (const sizeAt of [32, 40]) elf.writeBigUInt64LE(size, segment + sizeAt);
}
