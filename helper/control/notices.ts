// What an operator has to know of host routing although everything is as it was asked for.

import { forwardChains } from '../kernel/netfilter.ts';
import type { View } from './view.ts';

/** So many are named; the rest is counted. */
const MAX_NAMED = 4;

/** Whom the packets of pods with host routing go past. */
export async function hostRoutingNotices({
  desired,
  strictUplinks,
  hasHostRouting,
}: View): Promise<string[]> {
  if (!hasHostRouting) return [];
  const notices = strictUplinks.map(
    ({ name }) =>
      `Packets into pods that come in on ${name} pass the IP stack: its reverse path filter is strict; ` +
      `set net.ipv4.conf.${name}.rp_filter and net.ipv4.conf.all.rp_filter to 0 or 2 for host routing there`,
  );
  if (desired.arrivals.length === 0 && strictUplinks.length === 0)
    notices.push(
      'Packets into pods pass the IP stack: the node has no uplink that carries Ethernet frames by which they could come',
    );
  const chains = await forwardChains();
  if (chains.length === 0) return notices;
  const named = chains.slice(0, MAX_NAMED).join(', ');
  const rest = chains.length > MAX_NAMED ? ` and ${chains.length - MAX_NAMED} more` : '';
  notices.push(
    `Packets of pods with host routing do not pass netfilter: masquerading, Services and policies in ${named}${rest} ` +
      'do not apply to them; leave hostRouting out for pods that need these',
  );
  return notices;
}
