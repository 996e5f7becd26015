// The name that podpace gives to a host interface: it finds the interface of an attachment.

import { sha256 } from '../../helper/wire/sha256.ts';
import type { Attachment } from './alias.ts';

/** Name of the host interface: 15 bytes, the same at every call, different for every attachment. */
export function hostInterfaceName({ network, containerId, ifname }: Attachment): string {
  // A slash stands in none of the first two, so no two attachments give the same text.
  return `pod${sha256(`${network}/${containerId}/${ifname}`).slice(0, 12)}`;
}
