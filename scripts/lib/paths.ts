import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Absolute path of the project's own tree, without a slash at the end. */
export const projectRoot: string = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/**
 * Where everything goes that a script makes: kernels, tools, reports, logs. Safe to delete at any
 * time.
 */
export const buildDirectory: string = join(projectRoot, 'build');
