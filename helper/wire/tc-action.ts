// Actions of filters, as far as they take packets somewhere else: TCA_*_ACT of linux/pkt_cls.h,
// struct tc_mirred of linux/tc_act/tc_mirred.h.

import { Attributes } from './attributes.ts';

/** The attribute of a filter's options that holds its actions, by the filter's kind. */
const ACTIONS_OF_KIND: Readonly<Record<string, number>> = {
  basic: 3,
  bpf: 1,
  cgroup: 1,
  flow: 9,
  flower: 3,
  fw: 4,
  matchall: 2,
  route: 6,
  u32: 7,
};

const TCA_ACT_KIND = 1;
const TCA_ACT_OPTIONS = 2;
const TCA_MIRRED_PARMS = 2;
/** In struct tc_mirred, behind five numbers that all actions have. */
const EACTION_OFFSET = 20;
const IFINDEX_OFFSET = 24;
const TC_MIRRED_BYTES = 28;
const TCA_EGRESS_REDIR = 1;

/**
 * Devices by which a filter sends packets away instead of letting them go on: its actions `mirred
 * egress redirect`. Copies (`mirror`) leave the packet where it is, and a redirect to another
 * device's ingress takes it through the stack. Throws WireError.
 */
export function redirectTargets(kind: string, options: Buffer): number[] {
  const actions = Attributes.decode(options).nested(ACTIONS_OF_KIND[kind] ?? -1);
  return (actions?.all() ?? []).flatMap((bytes) => {
    const action = Attributes.decode(bytes);
    if (action.string(TCA_ACT_KIND) !== 'mirred') return [];
    const parameters = action.nested(TCA_ACT_OPTIONS)?.bytes(TCA_MIRRED_PARMS);
    if (parameters === undefined || parameters.length < TC_MIRRED_BYTES) return [];
    const isRedirect = parameters.readUInt32LE(EACTION_OFFSET) === TCA_EGRESS_REDIR;
    return isRedirect ? [parameters.readUInt32LE(IFINDEX_OFFSET)] : [];
  });
}
