import test from 'ava';
import { encodeAttributes } from '../../../../helper/wire/attributes.ts';
import { redirectTargets } from '../../../../helper/wire/tc-action.ts';
import { decodesAnything } from '../../../kit/wire.ts';

/**
 * TCA_*_ACT of linux/pkt_cls.h and the actions in it: kinds, and of mirred what it does with which
 * device.
 */
function options(
  attribute: number,
  actions: readonly (readonly [kind: string, eaction: number, ifindex: number])[],
): Buffer {
  return encodeAttributes((filter) =>
    filter.nested(attribute, (list) => {
      for (const [index, [kind, eaction, ifindex]] of actions.entries())
        list.nested(index + 1, (action) => {
          action.string(1, kind);
          const parameters = Buffer.alloc(28);
          parameters.writeUInt32LE(eaction, 20);
          parameters.writeUInt32LE(ifindex, 24);
          action.nested(2, (own) => own.bytes(2, parameters));
        });
    }),
  );
}

const [EGRESS_REDIR, EGRESS_MIRROR, INGRESS_REDIR, INGRESS_MIRROR] = [1, 2, 3, 4];

test('redirects are found among the actions of any kind of filter, copies are not', (t) => {
  const kinds = {
    bpf: 1,
    matchall: 2,
    flower: 3,
    fw: 4,
    route: 6,
    u32: 7,
    flow: 9,
    basic: 3,
    cgroup: 1,
  };
  for (const [kind, attribute] of Object.entries(kinds)) {
    const actions = [
      ['mirred', EGRESS_MIRROR, 5],
      ['mirred', INGRESS_REDIR, 6],
      ['mirred', EGRESS_REDIR, 7],
      ['mirred', INGRESS_MIRROR, 8],
      ['gact', EGRESS_REDIR, 9],
    ] as const;
    t.deepEqual(redirectTargets(kind, options(attribute, actions)), [7], kind);
    t.deepEqual(redirectTargets(kind, options(attribute + 20, actions)), [], kind);
  }
  t.deepEqual(redirectTargets('unheard-of', options(7, [['mirred', EGRESS_REDIR, 7]])), []);
});

test('redirectTargets takes any bytes', (t) => {
  decodesAnything(t, (bytes) => redirectTargets('u32', bytes), 0);
});
