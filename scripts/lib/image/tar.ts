// Archives in the ustar format (POSIX pax, "ustar Interchange Format"). No I/O.

/** One thing in an archive, by its path without a leading slash. */
export type TarEntry = { readonly path: string } & (
  | { readonly kind: 'directory' }
  | { readonly kind: 'file'; readonly content: Uint8Array; readonly isExecutable: boolean }
  /** A second name of a file that comes before it, or a path that leads to `target`. */
  | { readonly kind: 'hard link' | 'symbolic link'; readonly target: string }
);

const BLOCK_BYTES = 512;
const MAX_NAME_BYTES = 100;
const CHECKSUM_AT = 148;
const TYPES = { file: '0', 'hard link': '1', 'symbolic link': '2', directory: '5' } as const;

function modeOf(entry: TarEntry): number {
  if (entry.kind === 'symbolic link') return 0o777;
  return entry.kind === 'file' && !entry.isExecutable ? 0o644 : 0o755;
}

function octal(value: number, digits: number): string {
  return value.toString(8).padStart(digits, '0') + '\0';
}

function headerOf(entry: TarEntry): Buffer {
  const target = 'target' in entry ? entry.target : '';
  for (const name of [entry.path, target])
    if (Buffer.byteLength(name) > MAX_NAME_BYTES)
      throw new Error(`Cannot archive ${name}: its path has more than ${MAX_NAME_BYTES} bytes`);
  const size = entry.kind === 'file' ? entry.content.length : 0;
  const fields: readonly (readonly [at: number, text: string])[] = [
    [0, entry.path],
    [100, octal(modeOf(entry), 7)],
    // uid, gid, size, mtime.
    [108, octal(0, 7) + octal(0, 7) + octal(size, 11) + octal(0, 11)],
    // The sum counts itself as blanks.
    [CHECKSUM_AT, ' '.repeat(8)],
    [156, TYPES[entry.kind] + target],
    [257, 'ustar\0' + '00'],
  ];
  const header = Buffer.alloc(BLOCK_BYTES);
  for (const [at, text] of fields) header.write(text, at, 'utf8');
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(octal(sum, 6) + ' ', CHECKSUM_AT, 'latin1');
  return header;
}

/** Directories that are not among the entries and lead to them. */
function parentsOf(entries: readonly TarEntry[]): TarEntry[] {
  const there = new Set(entries.map(({ path }) => path));
  const parents = entries.flatMap(({ path }) => {
    const parts = path.split('/').slice(0, -1);
    return parts.map((_, index) => parts.slice(0, index + 1).join('/'));
  });
  return [...new Set(parents)]
    .filter((path) => !there.has(path))
    .map((path) => ({ path, kind: 'directory' }));
}

function byPath(a: TarEntry, b: TarEntry): number {
  return Buffer.compare(Buffer.from(a.path), Buffer.from(b.path));
}

/**
 * An archive of the entries and the directories around them, ordered by path. All belongs to root
 * and is of 1970, so equal entries give equal bytes. Throws Error for a path of over 100 bytes.
 */
export function writeTar(entries: readonly TarEntry[]): Buffer {
  const chunks = [...entries, ...parentsOf(entries)].toSorted(byPath).flatMap((entry) => {
    const content = entry.kind === 'file' ? entry.content : new Uint8Array();
    const padding = Buffer.alloc(-content.length & (BLOCK_BYTES - 1));
    return [headerOf(entry), content, padding];
  });
  return Buffer.concat([...chunks, Buffer.alloc(2 * BLOCK_BYTES)]);
}
