import { zstdDecompressSync } from 'node:zlib';

const SECTOR_BYTES = 512;
const DEFAULT_SETUP_SECTORS = 4;
// Offsets into the setup header of a bzImage, Documentation/arch/x86/boot.rst.
const SETUP_SECTORS_OFFSET = 0x1f1;
const PAYLOAD_OFFSET_OFFSET = 0x248;
const PAYLOAD_LENGTH_OFFSET = 0x24c;
/** The build appends the length of the unpacked kernel to the payload. */
const LENGTH_TRAILER_BYTES = 4;
const ZSTD_MAGIC = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);

/**
 * The ELF kernel inside a bzImage whose payload is packed with zstd, else undefined. QEMU boots it
 * by its PVH entry, which spares an emulated processor the unpacking: more than a second of each
 * boot.
 */
export function unpackedKernel(bzImage: Buffer): Buffer | undefined {
  const setupSectors = bzImage.readUInt8(SETUP_SECTORS_OFFSET) || DEFAULT_SETUP_SECTORS;
  const start = (setupSectors + 1) * SECTOR_BYTES + bzImage.readUInt32LE(PAYLOAD_OFFSET_OFFSET);
  const end = start + bzImage.readUInt32LE(PAYLOAD_LENGTH_OFFSET) - LENGTH_TRAILER_BYTES;
  const payload = bzImage.subarray(start, end);
  return payload.subarray(0, ZSTD_MAGIC.length).equals(ZSTD_MAGIC)
    ? zstdDecompressSync(payload)
    : undefined;
}
