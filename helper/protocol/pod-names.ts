// The names of pods as Kubernetes has them, and what an attachment is called. Pure.
//
// A runtime says them at ADD (CNI_ARGS), and they are there for people: no cap hangs on them. So
// what cannot be a name is made fit to be shown, and nothing is refused for it.

import { visible } from './printable.ts';
import { object, type Read, type Reader } from './shape.ts';

/**
 * The text in characters that are seen, at most so many; what was cut ends in `…`. A text that is
 * such stays as it is.
 */
function fit(text: string, most: number): string {
  const shown = visible(text.slice(0, most + 1));
  if (shown.length <= most) return shown;
  const kept = shown.slice(0, most - 1);
  return `${kept.isWellFormed() ? kept : kept.slice(0, -1)}…`;
}

/** A name that is made fit to be shown; what is empty or no text is left out. */
function name(most: number): Reader<string | undefined> {
  return (value) => (typeof value === 'string' && value !== '' ? fit(value, most) : undefined);
}

/**
 * The longest that Kubernetes allows: a namespace is a label of DNS, a pod's name a subdomain
 * (k8s.io/apimachinery, pkg/util/validation). A UID is a UUID of 36 characters, of a static pod a
 * digest of 32; nothing says how long another may be.
 */
export const POD_NAMES = { podNamespace: name(63), podName: name(253), podUid: name(128) };
const podNames = object(POD_NAMES);

/** A pod as Kubernetes names it, fit to be shown; what the runtime did not say is absent. */
export type PodNames = Read<typeof podNames>;

/** The names among some fields. */
export function podNamesOf(fields: object): PodNames {
  return podNames(fields, '');
}

/** `namespace/name`; undefined unless both are known. */
export function podOf({ podNamespace, podName }: PodNames): string | undefined {
  return podNamespace === undefined || podName === undefined
    ? undefined
    : `${podNamespace}/${podName}`;
}

/** As much of a container's id as people need; a command takes it for the whole one. */
const ID_CHARACTERS = 12;

/**
 * An attachment for people: `default/web-0 (eth0, 4f2a9d0c11e5…)`, or `4f2a9d…/eth0` with the whole
 * id where no name is known.
 */
export function nameOf(
  attachment: PodNames & { readonly containerId: string; readonly ifname: string },
): string {
  const { containerId, ifname } = attachment;
  const pod = podOf(attachment);
  if (pod === undefined) return `${containerId}/${ifname}`;
  const isLong = containerId.length > ID_CHARACTERS;
  return `${pod} (${ifname}, ${isLong ? `${containerId.slice(0, ID_CHARACTERS)}…` : containerId})`;
}

/** An attachment that a text is about, by `nameOf`: a text that names it already stays as it is. */
export function about(attachment: Parameters<typeof nameOf>[0], text: string): string {
  const name = nameOf(attachment);
  return text.includes(name) ? text : `${name}: ${text}`;
}
