// Reads a kubeconfig.

import fs from 'node:fs';
import path from 'node:path';
import { parse } from 'yaml';
import { AccessError, accessOf, type Access } from '../cluster/access.ts';

/** What a kubeconfig says. Throws AccessError that names the file. */
export function readKubeconfig(file: string): Access {
  try {
    const value = parse(fs.readFileSync(file, 'utf8')) as unknown;
    return accessOf(value, path.dirname(path.resolve(file)));
  } catch (error) {
    const { message } = error as Error;
    throw new AccessError(`Cannot use the kubeconfig ${file}: ${message}`, { cause: error });
  }
}
