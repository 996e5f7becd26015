import fs from 'node:fs';
import test from 'ava';
import { PROBLEM_CODES } from '../../../../helper/protocol/problem-codes.ts';
import { explainEntries, secondNetworks } from '../../../../helper/shaping/explain.ts';
import { Judgement, nodeProblem, type Problem } from '../../../../helper/shaping/judgement.ts';
import type { AttachmentRecord } from '../../../../helper/shaping/records.ts';

function recordOf(containerId: string): AttachmentRecord {
  return {
    ...{ containerId, ifname: 'eth0', network: 'pods', sandbox: '/run/netns/x' },
    ...{ hostInterface: `veth-${containerId}`, hostInterfaceIndex: 10, egressAggregateId: 1 },
    caps: { egress: { rateBitsPerSec: 10_000_000 } },
  };
}

const [mine, other] = [recordOf('a'), recordOf('b')];

function found(problems: readonly Problem[]): string[] {
  const judgement = new Judgement(problems, [mine, other]);
  return explainEntries(mine, [judgement]).map(
    ({ stage, code, severity }) => `${stage} ${code} ${severity}`,
  );
}

test('of a healthy pod nothing is said', (t) => {
  t.deepEqual(found([]), []);
});

test('what concerns another pod is not said, what is wrong beside its way is to be known', (t) => {
  const scopes = [{ of: 'attachment', key: other, direction: 'egress' } as const];
  t.deepEqual(found([{ code: 'classifier-missing', text: 'a', place: 'x', scopes }]), []);
  t.deepEqual(found([nodeProblem('b')]), ['node node-fault info']);
});

test('a kernel without fq is the one error; what it lacks for that is to be known', (t) => {
  const scopes = [{ of: 'senders' }] as const;
  const problems: Problem[] = [
    { code: 'qdisc-replaced', text: 'eth0 has none', place: 'eth0', scopes },
    { ...nodeProblem('no fq'), code: 'fq-missing' },
  ];
  t.deepEqual(found(problems), ['exit qdisc-replaced info', 'exit fq-missing error']);
});

test('the other networks of the pod are to be known, capped or not, and no other pod', (t) => {
  const beside = { ...mine, ifname: 'net1', network: 'storage' };
  const bare = { containerId: 'a', ifname: 'net2', network: 'backup', sandbox: '/run/netns/x' };
  const problems = secondNetworks(mine, [mine, beside, other], [bare, { ...bare, ifname: 'net1' }]);
  t.deepEqual(
    problems.map(({ text }) => text),
    [
      'a/net1 on the network storage has a cap of its own: this one is not for what passes there',
      'a/net2 on the network backup has no cap: this one is not for what passes there',
    ],
  );
  const entry = 'host-interface network-second info';
  t.deepEqual(found(problems), [entry, entry]);
});

for (const code of Object.keys(PROBLEM_CODES) as (keyof typeof PROBLEM_CODES)[]) {
  test(`${code} of all senders is said with its stage and severity`, (t) => {
    const { stage, severity } = PROBLEM_CODES[code];
    const problem: Problem = { code, text: 'a', place: 'x', scopes: [{ of: 'senders' }] };
    t.deepEqual(found([problem]), [`${stage} ${code} ${severity}`]);
  });
}

test('ARCHITECTURE.md lists the codes with stage and severity, and no others', (t) => {
  const text = fs.readFileSync(new URL('../../../../ARCHITECTURE.md', import.meta.url), 'utf8');
  const section = text.split('### What explain says')[1]?.split(/^##/m)[0] ?? '';
  const rows = [...section.matchAll(/^\| `([a-z-]+)`\s*\| ([a-z-]+)\s*\| ([a-z]+)\s*\|$/gm)].map(
    ([, code = '', stage, severity]) => [code, stage, severity],
  );
  const kinds = Object.entries(PROBLEM_CODES);
  t.deepEqual(
    rows,
    kinds.map(([code, { stage, severity }]) => [code, stage, severity]),
  );
});
