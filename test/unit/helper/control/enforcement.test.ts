// What a plan asks of a kernel that refuses qdiscs.

import test from 'ava';
import { KernelError } from '../../../../helper/wire/errors.ts';
import { Enforcement, type LoggingNode } from '../../../../helper/control/enforcement.ts';
import type { Observed, Step } from '../../../../helper/shaping/plan.ts';

const DEVICES = Array.from({ length: 50 }, (_, index) => ({
  ifindex: index + 2,
  name: `dev${index + 2}`,
}));
const OBSERVED = {
  devices: new Map(DEVICES.map((each) => [each.ifindex, each])),
} as unknown as Observed;
const LEAVES = DEVICES.map(({ ifindex }): Step => ({
  kind: 'set-leaf',
  ifindex,
  parent: 0x7070_0001,
}));
const ROOTS = DEVICES.map(({ ifindex }): Step => ({ kind: 'set-root', ifindex, qdisc: 'fq' }));
const MQ: Step = { kind: 'set-root', ifindex: 2, qdisc: 'mq' };

/**
 * How net/sched/sch_api.c refuses: qdisc_create for a kind that it does not have, tc_modify_qdisc
 * for a parent that is gone.
 */
const UNKNOWN_KIND = 'Specified qdisc kind is unknown';
const NO_PARENT = 'Failed to find specified qdisc';

/** A kernel that refuses every fq so, and counts how often it was asked for one. */
function refusing(detail: string): { readonly enforcement: Enforcement; asked: number } {
  const kernel = { asked: 0 };
  const rt = {
    execute: async ({ operation }: { readonly operation: string }) => {
      if (!operation.includes('"fq"')) return;
      kernel.asked += 1;
      throw new KernelError(operation, 'ENOENT', detail);
    },
  };
  return Object.assign(kernel, {
    enforcement: new Enforcement({ datapath: { rt } } as unknown as LoggingNode),
  });
}

async function failures(
  { enforcement }: ReturnType<typeof refusing>,
  steps: readonly Step[],
): Promise<string[]> {
  const apply = enforcement.applier(OBSERVED);
  const texts: string[] = [];
  for (const step of steps) await apply(step).catch((error: Error) => texts.push(error.message));
  return texts;
}

for (const [what, steps] of [
  ['roots', ROOTS],
  ['leaves', LEAVES],
] as const) {
  test(`a kernel without sch_fq is asked for it once in a plan of ${what}, and each device is named`, async (t) => {
    const kernel = refusing(UNKNOWN_KIND);
    for (const plans of [1, 2]) {
      t.deepEqual(
        await failures(kernel, [MQ, ...steps]),
        DEVICES.map(
          ({ name }) =>
            `Cannot hold packets on ${name}: this kernel has no sch_fq (ENOENT: ${UNKNOWN_KIND})`,
        ),
      );
      // It may have been loaded since.
      t.is(kernel.asked, plans);
    }
  });
}

test('a leaf whose parent is gone says nothing of the kernel, nor of other leaves', async (t) => {
  const kernel = refusing(NO_PARENT);
  const texts = await failures(kernel, LEAVES);
  t.is(kernel.asked, DEVICES.length);
  t.is(texts.length, DEVICES.length);
  for (const text of texts) t.notRegex(text, /has no sch_fq/);
});
