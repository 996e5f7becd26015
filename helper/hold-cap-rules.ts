// The operator's rules of caps, at the start of the helper. A file beside its socket says for which
// namespaces pods are capped that do not ask for it: by this the plugin knows whom to ask for.

import fs from 'node:fs';
import type { HelperConfig } from './config.ts';
import { writeWhole } from './control/regular-file.ts';
import type { Shaper } from './control/shaper.ts';
import { formatDefaults } from './protocol/cap-sources.ts';
import { about } from './protocol/pod-names.ts';
import { defaultsFile } from './protocol/state-files.ts';
import type { CapRule } from './shaping/cap-rules.ts';

const STAGED = '.new';

type Log = (level: 'error', message: string) => void;

/**
 * Has the operator's rules hold: for pods that were added under others, or without a helper, and by
 * the file for those that come.
 */
export async function holdCapRules(
  { socket, capRules }: Pick<HelperConfig, 'socket' | 'capRules'>,
  shaper: Pick<Shaper, 'holdRules'>,
  log: Log,
): Promise<void> {
  try {
    leaveDefaults(socket, capRules);
    for (const { of, why } of await shaper.holdRules()) log('error', about(of, why));
  } catch (error) {
    log('error', `Cannot hold pods to capRules: ${(error as Error).message}`);
  }
}

/** Writes the file, or takes it away where there are no defaults. */
function leaveDefaults(socket: string, capRules: readonly CapRule[]): void {
  const rules = capRules.map(({ namespace, egress, ingress }) => ({
    namespace,
    isDefaulted: egress?.default !== undefined || ingress?.default !== undefined,
  }));
  if (!rules.some(({ isDefaulted }) => isDefaulted)) return removeDefaults(socket);
  const file = defaultsFile(socket);
  writeWhole(file, file + STAGED, formatDefaults(rules));
}

/** Takes the file away (uninstall). */
export function removeDefaults(socket: string): void {
  for (const suffix of ['', STAGED]) fs.rmSync(defaultsFile(socket) + suffix, { force: true });
}
