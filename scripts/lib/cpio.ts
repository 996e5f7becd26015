/** One file, directory or symbolic link of an initramfs. */
export interface CpioEntry {
  /** Path from the root, without a leading slash. Directories must come before what they hold. */
  path: string;
  /** File type and permission bits, as in `struct stat`. */
  mode: number;
  /** What a file holds, or where a symbolic link points; left out for a directory. */
  data?: Uint8Array;
}

const MAGIC = '070701';
const TRAILER = 'TRAILER!!!';
const ALIGNMENT = 4;
const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;
const S_IFLNK = 0o120000;

/** A directory of an initramfs. */
export function directory(path: string): CpioEntry {
  return { path, mode: S_IFDIR | 0o755 };
}

/** An executable file of an initramfs. */
export function executable(path: string, data: Uint8Array | string): CpioEntry {
  return { path, mode: S_IFREG | 0o755, data: Buffer.from(data) };
}

/** A symbolic link of an initramfs. */
export function symlink(path: string, target: string): CpioEntry {
  return { path, mode: S_IFLNK | 0o777, data: Buffer.from(target) };
}

/**
 * Writes a cpio archive in the `newc` format that the kernel unpacks as initramfs. Several of them,
 * one behind the other, are one initramfs
 * (Documentation/driver-api/early-userspace/buffer-format.rst). Everything belongs to root and
 * carries no time, so equal entries give equal bytes.
 */
export function writeCpio(entries: readonly CpioEntry[]): Buffer {
  const chunks = entries.flatMap((entry, index) => encodeEntry(entry, index + 1));
  return Buffer.concat([...chunks, ...encodeEntry({ path: TRAILER, mode: 0 }, 0)]);
}

function encodeEntry(entry: CpioEntry, inode: number): Uint8Array[] {
  const data = entry.data ?? new Uint8Array();
  const name = Buffer.from(`${entry.path}\0`);
  const fields = {
    inode,
    mode: entry.mode,
    uid: 0,
    gid: 0,
    links: 1,
    modificationTime: 0,
    fileSizeBytes: data.length,
    deviceMajor: 0,
    deviceMinor: 0,
    specialMajor: 0,
    specialMinor: 0,
    nameSizeBytes: name.length,
    checksum: 0,
  };
  const header = Object.values(fields).reduce(
    (text, value) => text + value.toString(16).padStart(8, '0'),
    MAGIC,
  );
  const head = Buffer.concat([Buffer.from(header), name]);
  return [head, padding(head.length), data, padding(data.length)];
}

function padding(lengthBytes: number): Uint8Array {
  return new Uint8Array((ALIGNMENT - (lengthBytes % ALIGNMENT)) % ALIGNMENT);
}
