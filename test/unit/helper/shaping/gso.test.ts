import test from 'ava';
import fc from 'fast-check';
import { gsoChange, planOffload, type DesiredOffload } from '../../../../helper/shaping/gso.ts';
import type { Observed, Step } from '../../../../helper/shaping/plan.ts';
import { gsoLimitOf, UNLIMITED_GSO } from '../../../../helper/shaping/rates.ts';
import type { GsoLimits, LimitedGso } from '../../../../helper/shaping/records.ts';
import { applyToModel } from '../../../model/node.ts';

const MTU = 1500;

/**
 * What an interface may have: the default, less, and BIG TCP, of kernels with and without a limit
 * of its own for IPv4.
 */
const interfaces: fc.Arbitrary<GsoLimits> = fc
  .record({
    gsoMaxSizeBytes: fc.constantFrom(1500, 30_000, 65_536, 196_608, 524_280),
    gsoMaxSegs: fc.constantFrom(1, 20, 65_535),
    ipv4: fc.constantFrom(undefined, 1500, 65_536),
  })
  .map(({ ipv4, ...limits }) =>
    ipv4 === undefined ? limits : { ...limits, gsoIpv4MaxSizeBytes: ipv4 },
  );

const rates = fc.constantFrom(undefined, 1_000, 1_000_000, 10_000_000, 100_000_000, 10_000_000_000);

type Offload = NonNullable<Observed['offload']>;

/** Interfaces and their records after a step. */
function applied(offload: Offload, step: Step): Offload {
  return applyToModel({ offload } as Observed, step).offload ?? offload;
}

/** An interface and its record after caps came, one after the other. */
function after(
  found: GsoLimits,
  caps: readonly (number | undefined)[],
): { readonly found: GsoLimits; readonly gso: LimitedGso | undefined } {
  let state: { found: GsoLimits; gso: LimitedGso | undefined } = { found, gso: undefined };
  for (const rate of caps) {
    const { write, gso } = gsoChange(
      state.found,
      MTU,
      { gso: state.gso, formerRate: undefined },
      rate,
    );
    state = { found: write ?? state.found, gso };
  }
  return state;
}

test('whatever caps come, nothing is raised above what was there, and all of it comes back', (t) => {
  fc.assert(
    fc.property(interfaces, fc.array(rates, { maxLength: 4 }), (before, caps) => {
      const { found } = after(before, caps);
      t.true(
        found.gsoMaxSizeBytes <= before.gsoMaxSizeBytes && found.gsoMaxSegs <= before.gsoMaxSegs,
      );
      t.true((found.gsoIpv4MaxSizeBytes ?? 0) <= (before.gsoIpv4MaxSizeBytes ?? 0));
      t.deepEqual(after(before, [...caps, undefined]), { found: before, gso: undefined });
      const rate = caps.at(-1);
      if (rate !== undefined && gsoLimitOf(rate, MTU) !== UNLIMITED_GSO)
        t.true(found.gsoMaxSegs <= gsoLimitOf(rate, MTU).gsoMaxSegs);
    }),
  );
});

test('what somebody sets later is kept, and is what comes back from then on', (t) => {
  const { gso } = after(UNLIMITED_GSO, [10_000_000]);
  const later = { gsoMaxSizeBytes: 9000, gsoMaxSegs: 3 };
  t.deepEqual(gsoChange(later, MTU, { gso, formerRate: 10_000_000 }, undefined), {});
  const again = gsoChange(later, MTU, { gso, formerRate: 10_000_000 }, 1_000_000);
  t.deepEqual(again.gso?.former, later);
});

test('a record that says nothing stands for the default, if what it must have set is there', (t) => {
  const formerRate = 10_000_000;
  const limited = gsoLimitOf(formerRate, MTU);
  t.deepEqual(gsoChange(limited, MTU, { gso: undefined, formerRate }, undefined), {
    write: UNLIMITED_GSO,
  });
  const another = { gsoMaxSizeBytes: 9000, gsoMaxSegs: 3 };
  t.deepEqual(gsoChange(another, MTU, { gso: undefined, formerRate }, undefined), {});
});

test('a plan for an interface leads to its limits, also after any step, and then there is nothing left to do', (t) => {
  const end = { sandbox: '/run/netns/x', podInterface: 'eth0', hostInterfaceIndex: 10 };
  const key = { containerId: 'c', ifname: 'eth0' };
  fc.assert(
    fc.property(interfaces, fc.array(rates, { minLength: 1 }), fc.nat(2), (limits, caps, stop) => {
      let node = new Map([[10, { limits, mtuBytes: MTU }]]) as Offload;
      let formerRate: number | undefined;
      for (const rateBitsPerSec of caps) {
        const desired: DesiredOffload = { ...end, key, rateBitsPerSec, formerRate };
        const steps = () => planOffload({ offload: [desired] }, { offload: node });
        for (const step of steps().slice(0, stop)) node = applied(node, step);
        for (const step of steps()) node = applied(node, step);
        t.deepEqual(steps(), []);
        formerRate = rateBitsPerSec;
      }
      const none: DesiredOffload = { ...end, key, rateBitsPerSec: undefined, formerRate };
      for (const step of planOffload({ offload: [none] }, { offload: node }))
        node = applied(node, step);
      t.deepEqual(node.get(10), { limits, mtuBytes: MTU });
    }),
  );
});
