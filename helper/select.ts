// Which attachment an operator means.

import type { AttachmentKey } from './protocol/messages.ts';
import { nameOf } from './shaping/effective.ts';

/** Candidates that an error names. */
const MAX_NAMED = 5;

function named(keys: readonly AttachmentKey[]): string {
  const rest = keys.length - MAX_NAMED;
  const names = keys.slice(0, MAX_NAMED).map(nameOf).join(', ');
  return rest > 0 ? `${names} and ${rest} more` : names;
}

/**
 * The attachment that `CONTAINER[/IFNAME]` names, where the container's id may be cut short. Throws an Error that
 * names the candidates when there is none or more than one.
 */
export function selectAttachment<T extends AttachmentKey>(selector: string, attachments: readonly T[]): T {
  const [container = '', ifname] = selector.split('/');
  const fits = attachments.filter(
    (key) => key.containerId.startsWith(container) && (ifname === undefined || key.ifname === ifname),
  );
  const whole = fits.filter(({ containerId }) => containerId === container);
  const candidates = whole.length > 0 ? whole : fits;
  const [found, second] = candidates;
  if (container === '' || found === undefined) {
    const known =
      attachments.length === 0 ? 'no pod on this node has one' : `known are ${named(attachments)}`;
    throw new Error(`Cannot find a capped pod "${selector}": ${known}`);
  }
  if (second === undefined) return found;
  throw new Error(`Cannot tell which pod "${selector}" is: ${named(candidates)}`);
}
