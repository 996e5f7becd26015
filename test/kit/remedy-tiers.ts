// In which tier each remedy is carried out: those that need a kernel with fq in vm, the others in
// netns.

import type { remedies } from '../../helper/protocol/remedies.ts';

export type RemedyName = keyof typeof remedies;

export const REMEDY_TIERS = {
  foreignQdisc: 'vm',
  inFront: 'vm',
  ingressQdisc: 'vm',
  missingQdisc: 'vm',
  kernelWith: 'vm',
  newerKernel: 'vm',
  noUplink: 'vm',
  waitForRepair: 'vm',
  lastInList: 'vm',
  unknownAttachment: 'vm',
  nodeNamespace: 'vm',
  nodeBpffs: 'netns',
  mountBpffs: 'netns',
  privateBpffs: 'netns',
  root: 'netns',
  capabilities: 'netns',
  addonPlaces: 'netns',
  room: 'netns',
  startHelper: 'netns',
  sameRelease: 'netns',
  newerHelper: 'netns',
  newerCaller: 'netns',
  lostRecord: 'netns',
  formerPlugin: 'netns',
} as const satisfies Readonly<Record<RemedyName, 'netns' | 'vm'>>;

/**
 * Names of the remedies that a tier carries out: its table of cases lacks none of them, or its
 * types do not fit.
 */
export type RemedyOf<Tier extends 'netns' | 'vm'> = {
  [Name in RemedyName]: (typeof REMEDY_TIERS)[Name] extends Tier ? Name : never;
}[RemedyName];
