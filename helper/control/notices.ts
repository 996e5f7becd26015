// What an operator has to know of host routing although everything is as it was asked for.

import { forwardChains } from '../kernel/netfilter.ts';
import type { Problem } from '../shaping/judgement.ts';
import { DIRECTIONS } from '../shaping/effective.ts';
import type { View } from './view.ts';

/** So many are named; the rest is counted. */
const MAX_NAMED = 4;

/** Whom the packets of pods with host routing go past. */
export async function hostRoutingNotes({
  desired,
  strictUplinks,
  hasHostRouting,
}: View): Promise<Problem[]> {
  if (!hasHostRouting) return [];
  const scopes = desired.attachments
    .filter(({ hostRouting }) => hostRouting !== undefined)
    .flatMap((key) =>
      DIRECTIONS.map((direction) => ({ of: 'attachment', key, direction }) as const),
    );
  const notes: Problem[] = strictUplinks.map(({ name: place }) => ({
    code: 'reverse-path-strict',
    text:
      `Packets into pods that come in on ${place} pass the IP stack: its reverse path filter is strict; ` +
      `set net.ipv4.conf.${place}.rp_filter and net.ipv4.conf.all.rp_filter to 0 or 2 for host routing there`,
    ...{ place, scopes },
  }));
  if (desired.arrivals.length === 0 && strictUplinks.length === 0) {
    const text =
      'Packets into pods pass the IP stack: the node has no uplink that carries Ethernet frames by which they could come';
    notes.push({ code: 'arrival-none', text, place: 'node', scopes });
  }
  const chains = await forwardChains();
  if (chains.length === 0) return notes;
  const named = chains.slice(0, MAX_NAMED).join(', ');
  const rest = chains.length > MAX_NAMED ? ` and ${chains.length - MAX_NAMED} more` : '';
  const text =
    `Packets of pods with host routing do not pass netfilter: masquerading, Services and policies in ${named}${rest} ` +
    'do not apply to them; leave hostRouting out for pods that need these';
  return [...notes, { code: 'netfilter-bypassed', text, place: 'node', scopes }];
}
