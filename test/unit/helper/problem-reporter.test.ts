import test from 'ava';
import type { AttachmentKey } from '../../../helper/protocol/messages.ts';
import { nodeProblem, type Problem } from '../../../helper/shaping/judgement.ts';
import { problemReporter } from '../../../helper/problem-reporter.ts';

const [POD, OTHER] = [
  { containerId: 'a', ifname: 'eth0' },
  { containerId: 'b', ifname: 'eth0' },
] as const;

function problemOf(text: string, ...keys: readonly AttachmentKey[]): Problem {
  const scopes = keys.map((key) => ({ of: 'attachment', key, direction: 'egress' }) as const);
  return { code: 'qdisc-replaced', text, place: 'pod0', scopes };
}

function makeReporter(there: readonly AttachmentKey[]) {
  const lines: string[] = [];
  const report = problemReporter(
    (level, message) => lines.push(`${level} ${message}`),
    (key) => there.includes(key),
  );
  return { lines, report };
}

test('a problem is told of when it comes and when it is solved, not at each look', (t) => {
  const { lines, report } = makeReporter([POD]);
  const problems = [nodeProblem('no uplink'), problemOf('no program', POD)];
  for (const found of [problems, problems, [], []]) report(found);
  t.deepEqual(lines, [
    ...['error no uplink', 'error no program'],
    ...['info Solved: no uplink', 'info Solved: no program'],
  ]);
});

test('a problem of one pod, in whatever directions, is told with that pod', (t) => {
  const told: unknown[] = [];
  const report = problemReporter(
    (_level, message, of) => told.push([message, of?.containerId]),
    () => true,
  );
  report([problemOf('one', POD, POD), problemOf('two', POD, OTHER), nodeProblem('node')]);
  report([]);
  t.deepEqual(told, [
    ...[
      ['one', 'a'],
      ['two', undefined],
      ['node', undefined],
    ],
    ...[
      ['Solved: one', 'a'],
      ['Solved: two', undefined],
      ['Solved: node', undefined],
    ],
  ]);
});

test('a problem of a pod that went is not called solved', (t) => {
  const { lines, report } = makeReporter([OTHER]);
  const [gone, shared] = [problemOf('no cap', POD), problemOf('no config', POD, OTHER)];
  report([gone, shared]);
  report([]);
  t.deepEqual(lines, ['error no cap', 'error no config', 'info Solved: no config']);
});
