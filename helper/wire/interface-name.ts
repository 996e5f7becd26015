// Names of network interfaces, as the kernel takes them. Pure.

/** IFNAMSIZ of linux/if.h, less the NUL at its end. */
const MAX_BYTES = 15;

/**
 * What isspace() of the kernel's ctype.h takes for a blank, byte by byte: of UTF-8 it breaks up
 * characters with 0xa0.
 */
const BLANKS = new Set([0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x20, 0xa0]);

/**
 * True for a name that dev_valid_name() of net/core/dev.c takes: 1 to 15 bytes, not `.` or `..`,
 * and without `/`, `:`, blanks and NUL. Control characters are allowed.
 */
export function isInterfaceName(name: string): boolean {
  const bytes = Buffer.from(name);
  if (bytes.length === 0 || bytes.length > MAX_BYTES || name === '.' || name === '..') return false;
  return !/[/:\0]/.test(name) && !bytes.some((byte) => BLANKS.has(byte));
}
