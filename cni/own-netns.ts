// Guards the node's own network namespace, which must never be taken for a pod's.

import fs from 'node:fs';
import type { Invocation } from './skel.ts';
import { CniError, ErrorCode } from './types.ts';

/** True when CNI_NETNS leads to the namespace that the plugin runs in and nothing allows that. */
export function isOwnNetns({ netns, netnsOverride }: Invocation): boolean {
  if (netnsOverride || netns === '') return false;
  const [own, given] = ['/proc/thread-self/ns/net', netns].map((file) => {
    try {
      return fs.statSync(file, { throwIfNoEntry: false });
    } catch {
      // What cannot be looked at is no namespace of ours; opening it will say why.
      return undefined;
    }
  });
  return own !== undefined && given !== undefined && own.ino === given.ino && own.dev === given.dev;
}

/** The reference library's error for it. */
export function ownNetnsError({ netns }: Invocation): CniError {
  return new CniError(
    ErrorCode.invalidNetns,
    "plugin's netns and netns from CNI_NETNS should not be the same",
    `CNI_NETNS is ${netns}, the node's own network namespace`,
  );
}
