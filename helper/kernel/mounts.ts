// The mount table of a process, and the numbers by which a file system is known in any of them.

import fs from 'node:fs';

/** One line of proc_pid_mountinfo(5), as far as anybody here asks. */
export interface Mount {
  /** `major:minor` of the file system, the same in every mount namespace. */
  readonly device: string;
  readonly mountPoint: string;
  readonly fileSystem: string;
}

/** Spaces, tabs, line ends and backslashes come in octal. */
function unescapeOctal(text: string): string {
  return text.replaceAll(/\\([0-7]{3})/g, (_, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  );
}

/**
 * The content of a mountinfo file. Fields: id, parent, device, root, mount point, options, optional
 * ones, `-`, type.
 */
export function parseMounts(text: string): Mount[] {
  return text.split('\n').flatMap((line) => {
    const fields = line.split(' ');
    const [device, mountPoint, fileSystem] = [
      fields[2],
      fields[4],
      fields[fields.indexOf('-', 6) + 1],
    ];
    if (device === undefined || mountPoint === undefined || fileSystem === undefined) return [];
    return [{ device, mountPoint: unescapeOctal(mountPoint), fileSystem }];
  });
}

/**
 * What a process sees mounted; without `pid` the calling one. Throws Node's error: ENOENT when
 * there is no such process, EACCES when its affairs are not ours to see (CAP_SYS_PTRACE).
 */
export function readMounts(pid?: number): Mount[] {
  return parseMounts(fs.readFileSync(`/proc/${pid ?? 'thread-self'}/mountinfo`, 'utf8'));
}

/**
 * Major and minor number in a dev_t as stat(2) gives it (gnu_dev_major and gnu_dev_minor of the C
 * library).
 */
export function deviceNumbers(dev: bigint): { readonly major: bigint; readonly minor: bigint } {
  return {
    major: ((dev >> 8n) & 0xfffn) | ((dev >> 32n) & ~0xfffn),
    minor: (dev & 0xffn) | ((dev >> 12n) & ~0xffn & 0xffffffffn),
  };
}

/** `major:minor` of the file system that a path lies on, as in Mount. */
export function deviceOf(path: string): string {
  const { major, minor } = deviceNumbers(fs.statSync(path, { bigint: true }).dev);
  return `${major}:${minor}`;
}
