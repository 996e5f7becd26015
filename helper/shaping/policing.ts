// What pods send to the node itself: nothing can hold it there, so a program where sockets take
// packets polices it, by the clock that holds the rest (bpf/node.h). A way of its own: where a
// kernel does not have it all other caps hold. Pure.

import type { NodeTraffic as NodeTrafficStatus } from '../protocol/messages.ts';
import type { Problem } from './judgement.ts';

/** Whether what pods send to the node itself belongs to their caps. */
export const NODE_TRAFFIC = ['cap', 'free'] as const;
export type NodeTraffic = (typeof NODE_TRAFFIC)[number];

/** What of it is to be. */
export interface DesiredPolicing {
  /**
   * The program has to stand: somebody has a cap that it serves, and nothing is known to be in its
   * way.
   */
  readonly policesNode?: boolean;
  /** Why it cannot stand although it should. */
  readonly policingRefusal?: string;
}

/**
 * What stands where sockets take packets: podpace's loaded program, another one of podpace's or a
 * damaged one, or none.
 */
export type PolicingStanding = 'ours' | 'stale' | 'none';

export type PolicingStep = { readonly kind: 'police-node' } | { readonly kind: 'free-node' };

/** The steps from what is to what should be. */
export function policingSteps(
  { policesNode = false }: DesiredPolicing,
  { policing = 'none' }: { readonly policing?: PolicingStanding },
): PolicingStep[] {
  if (policesNode) return policing === 'ours' ? [] : [{ kind: 'police-node' }];
  return policing === 'none' ? [] : [{ kind: 'free-node' }];
}

/** The note that this one way is not capped. */
export function policingNotes({ policingRefusal }: DesiredPolicing): Problem[] {
  if (policingRefusal === undefined) return [];
  const text = `What pods send to the node itself is not capped: ${policingRefusal}`;
  return [{ code: 'policing-refused', text, place: 'node', scopes: [{ of: 'senders' }] }];
}

/** The way as `status` tells of it. */
export function policingStatus(
  wanted: NodeTraffic,
  refusal: string | undefined,
): NodeTrafficStatus {
  if (wanted === 'free') return 'free';
  return refusal === undefined ? 'policed' : 'not capped';
}
