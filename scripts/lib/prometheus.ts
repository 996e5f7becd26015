// Debian's Prometheus, unpacked under build/ and not installed: the package starts a server.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { unpackPackages } from './cluster/runtime.ts';
import { buildDirectory } from './paths.ts';

const tree = join(buildDirectory, 'prometheus');

/** Checks rules and metrics. */
export const PROMTOOL = join(tree, 'usr/bin/promtool');

/** The server. */
export const PROMETHEUS = join(tree, 'usr/bin/prometheus');

/** Has both. Throws an Error on another distribution than Debian. */
export async function ensurePrometheus(): Promise<void> {
  if (!existsSync(tree)) await unpackPackages(['prometheus'], tree);
}
