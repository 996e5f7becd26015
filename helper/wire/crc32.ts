// CRC-32 as zlib has it (RFC 1952, 8). Node's own is in a module that takes longer to load than all
// that the plugin writes takes to check.

/** Of each value of four bits, which is how many are taken in at once. */
const TABLE = Uint32Array.from({ length: 16 }, (_, value) => {
  let crc = value;
  for (let bit = 0; bit < 4; bit += 1) crc = crc & 1 ? (crc >>> 1) ^ 0xedb8_8320 : crc >>> 1;
  return crc;
});

/** Of a text in UTF-8. */
export function crc32(text: string): number {
  let crc = 0xffff_ffff;
  for (const byte of Buffer.from(text)) {
    crc ^= byte;
    crc = (crc >>> 4) ^ (TABLE[crc & 15] ?? 0);
    crc = (crc >>> 4) ^ (TABLE[crc & 15] ?? 0);
  }
  return (crc ^ 0xffff_ffff) >>> 0;
}
