// The alias that podpace gives to a host interface: it finds the interfaces of a network, also
// renamed ones, and tells a human whose they are.

/** Names one attachment on the node. */
export interface Attachment {
  readonly network: string;
  readonly containerId: string;
  readonly ifname: string;
}

/** IFALIASZ of linux/if.h is 256, its NUL included. */
const MAX_ALIAS_BYTES = 255;

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
