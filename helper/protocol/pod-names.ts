// The names of pods as Kubernetes has them, and what an attachment is called. Pure.
//
// A runtime says them at ADD (CNI_ARGS), and they are there for people: no cap hangs on them. So
// what cannot be a name is made fit to be shown, and nothing is refused for it.

import type { AttachmentKey, PodNames } from './messages.ts';
import { printable } from './printable.ts';

/**
 * The longest that Kubernetes allows: a namespace is a label of DNS, a pod's name a subdomain
 * (k8s.io/apimachinery, pkg/util/validation). A UID is a UUID of 36 characters, of a static pod a
 * digest of 32; nothing says how long another may be.
 */
const MOST_CHARACTERS = { podNamespace: 63, podName: 253, podUid: 128 } as const;

const FIELDS = Object.keys(MOST_CHARACTERS) as (keyof PodNames)[];

/**
 * The text in printable characters, at most so many; what was cut ends in `…`. A text that is such
 * stays as it is.
 */
function fit(text: string, most: number): string {
  const shown = printable(text.slice(0, most + 1));
  if (shown.length <= most) return shown;
  const kept = shown.slice(0, most - 1);
  return `${kept.isWellFormed() ? kept : kept.slice(0, -1)}…`;
}

/** The names among some fields, each fit to be shown; what is empty or no text is left out. */
export function podNamesOf(fields: { readonly [K in keyof PodNames]?: unknown }): PodNames {
  return Object.fromEntries(
    FIELDS.flatMap((name) => {
      const value = fields[name];
      return typeof value === 'string' && value !== ''
        ? [[name, fit(value, MOST_CHARACTERS[name])]]
        : [];
    }),
  );
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
export function nameOf(attachment: AttachmentKey & PodNames): string {
  const { containerId, ifname } = attachment;
  const pod = podOf(attachment);
  if (pod === undefined) return `${containerId}/${ifname}`;
  const isLong = containerId.length > ID_CHARACTERS;
  return `${pod} (${ifname}, ${isLong ? `${containerId.slice(0, ID_CHARACTERS)}…` : containerId})`;
}
