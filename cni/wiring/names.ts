// Names that podpace gives to host interfaces: the name finds the interface of an attachment, the alias finds the
// interfaces of a network and tells a human whose they are.

import { createHash } from 'node:crypto';

/** Names one attachment on the node. */
export interface Attachment {
  readonly network: string;
  readonly containerId: string;
  readonly ifname: string;
}

/** IFALIASZ of linux/if.h is 256, its NUL included. */
const MAX_ALIAS_BYTES = 255;

/** Name of the host interface: 15 bytes, the same at every call, different for every attachment. */
export function hostInterfaceName({ network, containerId, ifname }: Attachment): string {
  // A slash stands in none of the first two, so no two attachments give the same text.
  const digest = createHash('sha256').update(`${network}/${containerId}/${ifname}`).digest('hex');
  return `pod${digest.slice(0, 12)}`;
}

function cut(alias: string): string {
  const bytes = Buffer.from(alias);
  if (bytes.length <= MAX_ALIAS_BYTES) return alias;
  // A character cut in half would not come back from the kernel as it went in.
  return bytes
    .subarray(0, MAX_ALIAS_BYTES)
    .toString('utf8')
    .replace(/\uFFFD$/u, '');
}

/** Alias of the host interface, cut to what the kernel takes. */
export function hostInterfaceAlias({ network, containerId, ifname }: Attachment): string {
  return cut(`podpace:${network}/${containerId}/${ifname}`);
}

/** What the alias of every host interface of a network begins with. */
export function aliasPrefix(network: string): string {
  return cut(`podpace:${network}/`);
}
