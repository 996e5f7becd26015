// Where an IPAM plugin is, as the reference library finds it (pkg/invoke).

import fs from 'node:fs';
import path from 'node:path';
import { CniError, ErrorCode } from './types.ts';

/**
 * Path of a plugin: the first directory of CNI_PATH that has a regular file of that name.
 * Throws CniError 7 with the reference library's texts.
 */
export function findPlugin(type: string, cniPath: string): string {
  if (type === '')
    throw new CniError(ErrorCode.invalidConfig, 'no plugin name provided', 'set ipam.type');
  if (type.includes('/') || type.includes('\0')) {
    throw new CniError(
      ErrorCode.invalidConfig,
      `invalid plugin name: ${type}`,
      'ipam.type is a file name without directory',
    );
  }
  const directories = cniPath.split(':').filter((directory) => directory !== '');
  for (const directory of directories) {
    const file = path.join(directory, type);
    if (isRegularFile(file)) return file;
  }
  throw new CniError(
    ErrorCode.invalidConfig,
    `failed to find plugin "${type}" in path [${directories.join(' ')}]`,
    `install the IPAM plugin "${type}" into one of these directories, or correct ipam.type`,
  );
}

function isRegularFile(file: string): boolean {
  try {
    return fs.statSync(file, { throwIfNoEntry: false })?.isFile() === true;
  } catch {
    // A directory of CNI_PATH that cannot be searched (ENOTDIR, EACCES) holds no plugin for us, as
    // in Go.
    return false;
  }
}
