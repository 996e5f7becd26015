// Descriptors that are closed whatever comes of their use.

import fs from 'node:fs';

/** What `use` makes of a descriptor, which is closed then. */
export function closing<T>(fd: number, use: (fd: number) => T): T {
  try {
    return use(fd);
  } finally {
    fs.closeSync(fd);
  }
}
