// Actions of filters, as far as they take packets somewhere else: TCA_*_ACT of linux/pkt_cls.h,
// struct tc_mirred of linux/tc_act/tc_mirred.h.

import { Attributes, AttributeTable } from './attributes.ts';
import { Struct } from './struct.ts';

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

/** TCA_ACT_*. */
const ACTION = new AttributeTable({ kind: [1, 'string'], options: [2, 'bytes'] });
/** TCA_MIRRED_*. */
const MIRRED = new AttributeTable({ parameters: [2, 'bytes'] });
/** struct tc_mirred: five numbers that all actions have, what it does, and with which device. */
const PARAMETERS = new Struct('mirred action', {
  common: 5 * 4,
  eaction: 'u32',
  ifindex: 'u32',
});
const TCA_EGRESS_REDIR = 1;

/**
 * Devices by which a filter sends packets away instead of letting them go on: its actions `mirred
 * egress redirect`. Copies (`mirror`) leave the packet where it is, and a redirect to another
 * device's ingress takes it through the stack. Throws WireError.
 */
export function redirectTargets(kind: string, options: Buffer): number[] {
  const actions = Attributes.decode(options).nested(ACTIONS_OF_KIND[kind] ?? -1);
  return (actions?.all() ?? []).flatMap((bytes) => {
    const action = ACTION.decode(bytes);
    if (action.kind !== 'mirred' || action.options === undefined) return [];
    const { parameters } = MIRRED.decode(action.options);
    if (parameters === undefined || parameters.length < PARAMETERS.size) return [];
    const { eaction, ifindex } = PARAMETERS.decodeAt(parameters, 0);
    return eaction === TCA_EGRESS_REDIR ? [ifindex] : [];
  });
}
