// Whether a pod that asks for no cap gets one all the same: the helper has left a file that says so
// where its configuration has defaults. An ADD without a cap costs one look for it.

import { isDefaultedBy } from '../helper/protocol/cap-sources.ts';
import { defaultsFile } from '../helper/protocol/state-files.ts';
import { readRegularFile } from '../helper/control/regular-file.ts';
import { hasErrno } from '../helper/wire/errors.ts';
import { capSourceOf, hasCaps, parseCaps } from './caps.ts';
import { parseSettings } from './config.ts';
import { note, type Edges } from './edges.ts';
import type { Enforcement } from './enforce.ts';
import type { Invocation } from './skel.ts';

/** Whether the helper has a cap for the pod of a call, which asks for none. */
function isDefaulted({
  edges,
  call,
  caps,
  settings,
  capSource,
}: Omit<Enforcement, 'isDefaulted'>): boolean {
  if (hasCaps(caps) || capSource === 'conflist') return false;
  const file = defaultsFile(settings.socket);
  try {
    return isDefaultedBy(readRegularFile(file, { isRoots: true }), call.pod.podNamespace);
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return false;
    note(
      edges,
      `WARNING: the defaults of podpaced do not hold for this pod: ${file}: ${(error as Error).message}`,
    );
    return false;
  }
}

/** What a call asks for, by its configuration. Throws CniError. */
export function enforcementOf(edges: Edges, call: Invocation): Enforcement {
  const { config } = call;
  const asked = {
    ...{ edges, call, settings: parseSettings(config) },
    ...{ caps: parseCaps(config), capSource: capSourceOf(config) },
  };
  return { ...asked, isDefaulted: isDefaulted(asked) };
}
