// Ten thousand nodes, each with a known set of faults: `list`, `status` and CHECK name the
// attachments and directions that were broken, and no others.

import test from 'ava';
import fc from 'fast-check';
import { checkFailure, concernedBy, listItem } from '../../../../helper/control/reports.ts';
import { judge } from '../../../../helper/control/view.ts';
import { DEFAULTS } from '../../../../helper/shaping/rates.ts';
import { faultyNode, nodeSpecs, type FaultyNode } from '../../../model/faulty-nodes.ts';

const RUNS = 10_000;
const SEED = 17;

/** What each of the three says, as `c10 egress`. */
function told({ view }: FaultyNode): Record<'list' | 'check' | 'status', string[]> {
  const judgement = judge({}, view);
  const { attachments } = view.desired;
  const list = attachments.flatMap((record) => {
    const { problems, problemsByDirection = {} } = listItem(record, judgement, DEFAULTS);
    const directions = Object.keys(problemsByDirection);
    if (problems.length > 0 !== directions.length > 0) return [`${record.containerId} nowhere`];
    return directions.map((direction) => `${record.containerId} ${direction}`);
  });
  const check = attachments.flatMap((record) => {
    const [, directions] =
      /^The cap of \S+ \((.*?)\) is not/.exec(checkFailure(record, judgement)?.message ?? '') ?? [];
    return (directions?.split(' and ') ?? []).map(
      (direction) => `${record.containerId} ${direction}`,
    );
  });
  const status = concernedBy(judgement, attachments).flatMap(({ containerId, directions }) =>
    directions.map((direction) => `${containerId} ${direction}`),
  );
  return { list, check, status };
}

test('list, status and CHECK name what is broken on ten thousand nodes, and nothing else', (t) => {
  t.timeout(120_000);
  t.log(`${RUNS} nodes, seed ${SEED}`);
  const seen = new Set<string>();
  let healthy = 0;
  fc.assert(
    fc.property(nodeSpecs, (spec) => {
      const node = faultyNode(spec);
      const { directions, node: isNode } = node.concerned;
      const expected = [...directions].toSorted();
      for (const [by, names] of Object.entries(told(node)))
        t.deepEqual(names.toSorted(), expected, `${by}: ${node.faults.join('; ')}`);
      const isOk = judge({}, node.view).texts.length === 0;
      t.is(isOk, expected.length === 0 && !isNode, `status: ${node.faults.join('; ')}`);
      if (isOk) healthy += 1;
      for (const fault of node.faults) seen.add(fault.replaceAll(/\d+/g, 'N'));
    }),
    { numRuns: RUNS, seed: SEED },
  );
  t.log(`${healthy} with nothing wrong; kinds of faults: ${[...seen].toSorted().join(', ')}`);
  t.true(seen.size >= 30, `${seen.size} kinds of faults`);
});
