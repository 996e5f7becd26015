// Which cap counts: as README's table has it, by what an ADD asks for, what annotations say later,
// and the operator's rules.

import fs from 'node:fs';
import path from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import {
  CAP_SOURCES,
  formatDefaults,
  isDefaultedBy,
  isOfNamespace,
} from '../../../../helper/protocol/cap-sources.ts';
import type { Caps } from '../../../../helper/protocol/messages.ts';
import {
  askedByAnnotations,
  askedOf,
  isSameResolved,
  resolveCaps,
  ruleOf,
  type Annotated,
  type Asked,
  type CapRule,
} from '../../../../helper/shaping/cap-rules.ts';
import { projectRoot } from '../../../../scripts/lib/paths.ts';

const M = 1_000_000;
const RULE: CapRule = {
  namespace: '*',
  egress: { default: 20 * M, most: 100 * M },
  ingress: { most: 50 * M },
};

function egress(rateBitsPerSec: number): Caps {
  return { egress: { rateBitsPerSec } };
}

test("README's table is the one of the code", (t) => {
  const readme = fs.readFileSync(path.join(projectRoot, 'README.md'), 'utf8');
  const rows = CAP_SOURCES.map(({ title, most }) => [title, most ? 'cut to `most`' : 'not cut']);
  const found = [...readme.matchAll(/^\| \d\. (.*?) *\| (not cut|cut to `most`) *\|$/gm)];
  t.deepEqual(
    found.map(([, title, cut]) => [title, cut]),
    rows,
  );
});

test('the first rule whose pattern fits holds', (t) => {
  const rules = [{ namespace: 'kube-*' }, { namespace: 'team-a' }, { namespace: 't*' }];
  t.is(ruleOf(rules, 'kube-system'), rules[0]);
  t.is(ruleOf(rules, 'team-a'), rules[1]);
  t.is(ruleOf(rules, 'team-b'), rules[2]);
  t.is(ruleOf(rules, 'default'), undefined);
  t.is(ruleOf([{ namespace: '*' }], undefined)?.namespace, '*');
});

const patterns: readonly (readonly [pattern: string, name: string, isOf: boolean])[] = [
  ['default', 'default', true],
  ['default', 'default2', false],
  ['*', '', true],
  ['team-*', 'team-', true],
  ['team-*', 'steam-1', false],
  ['*-prod', 'a-prod', true],
  ['*-prod', 'a-prod-2', false],
  ['a*a', 'a', false],
  ['a*a', 'aa', true],
  ['a*b*c', 'a-b-b-c', true],
  ['a*b*b*c', 'a-b-c', false],
  ['*b*', 'abc', true],
  ['*ab*ab', 'ab', false],
];
for (const [pattern, name, isOf] of patterns) {
  test(`${name || 'no namespace'} is ${isOf ? '' : 'not '}of ${pattern}`, (t) => {
    t.is(isOfNamespace(pattern, name), isOf);
  });
}

test('a pattern fits what a regular expression of the same meaning fits', (t) => {
  const letters = fc.stringMatching(/^[ab*]{1,6}$/);
  fc.assert(
    fc.property(letters, fc.stringMatching(/^[ab]{0,8}$/), (pattern, name) => {
      const same = new RegExp(`^${pattern.replaceAll('*', '[^]*')}$`);
      t.is(isOfNamespace(pattern, name), same.test(name));
    }),
  );
});

test('an annotation is cut to the most, and a direction without one gets the default', (t) => {
  t.deepEqual(resolveCaps({ caps: egress(1000 * M), by: 'annotation' }, RULE), {
    caps: egress(100 * M),
    capSources: { egress: { source: 'annotation', askedBitsPerSec: 1000 * M } },
  });
  const ingress = { ingress: { rateBitsPerSec: 10 * M, burstBits: 4_294_967_295 } };
  t.deepEqual(resolveCaps({ caps: ingress, by: 'annotation' }, RULE), {
    caps: { ...egress(20 * M), ...ingress },
    capSources: { egress: { source: 'default' }, ingress: { source: 'annotation' } },
  });
  t.deepEqual(resolveCaps({ caps: {}, by: 'annotation' }, undefined), { caps: {} });
});

test('keys of the network list are neither cut nor filled up', (t) => {
  for (const caps of [{}, egress(1000 * M)]) {
    const { caps: counting, capSources } = resolveCaps({ caps, by: 'conflist' }, RULE);
    t.deepEqual(counting, caps);
    t.deepEqual(capSources, { egress: { source: 'conflist' }, ingress: { source: 'conflist' } });
  }
});

test('the ceiling and the default hold also for what an old plugin asks, who does not say for whom', (t) => {
  t.deepEqual(resolveCaps({ caps: egress(1000 * M) }, RULE).caps, egress(100 * M));
  t.deepEqual(resolveCaps({ caps: {} }, RULE).caps, egress(20 * M));
  t.deepEqual(resolveCaps({ caps: egress(M) }, RULE), { caps: egress(M) });
});

const rate = fc.integer({ min: 1000, max: 10_000 * M });
const caps = fc.record(
  { egress: fc.record({ rateBitsPerSec: rate }), ingress: fc.record({ rateBitsPerSec: rate }) },
  { requiredKeys: [] },
);
const limits = fc
  .record({ default: rate, most: rate }, { requiredKeys: [] })
  .filter(({ default: standard = 0, most = Infinity }) => standard <= most);
const rules = fc.record(
  { namespace: fc.constant('*'), egress: limits, ingress: limits },
  { requiredKeys: ['namespace'] },
);
const asked = fc.record({ caps, by: fc.constantFrom('annotation', 'conflist') });

test('what was asked for is known again, so that other rules can hold later', (t) => {
  fc.assert(
    fc.property(asked as fc.Arbitrary<Asked>, rules as fc.Arbitrary<CapRule>, (one, rule) => {
      const resolved = resolveCaps(one, rule);
      t.deepEqual(askedOf(resolved), one);
      t.true(isSameResolved(resolveCaps(askedOf(resolved), rule), resolved));
    }),
  );
});

test('no annotation is above the most, whatever it says', (t) => {
  const said = fc.constantFrom<Annotated['egress']>(undefined, 'malformed', M, 40 * M, 10_000 * M);
  fc.assert(
    fc.property(asked as fc.Arbitrary<Asked>, said, said, (former, out, into) => {
      const next = askedByAnnotations(former, { egress: out, ingress: into });
      if (former.by === 'conflist') return void t.is(next, undefined);
      const counting = resolveCaps(next ?? former, RULE).caps;
      t.true((counting.egress?.rateBitsPerSec ?? 0) <= 100 * M);
      t.true((counting.ingress?.rateBitsPerSec ?? 0) <= 50 * M);
    }),
  );
});

test('annotations change, come and go, and a malformed one leaves what was', (t) => {
  const former: Asked = { caps: egress(10 * M), by: 'annotation' };
  const after = (out: Annotated['egress'], into: Annotated['ingress']) =>
    askedByAnnotations(former, { egress: out, ingress: into })?.caps;
  t.deepEqual(after(20 * M, undefined), egress(20 * M));
  t.deepEqual(after(undefined, 5 * M), { ingress: { rateBitsPerSec: 5 * M } });
  t.deepEqual(after('malformed', 'malformed'), egress(10 * M));
  t.deepEqual(after(undefined, undefined), {});
});

test('the same rate keeps the burst that the runtime has given', (t) => {
  const cap = { rateBitsPerSec: 10 * M, burstBits: 4_294_967_295 };
  const former: Asked = { caps: { egress: cap }, by: 'annotation' };
  t.deepEqual(askedByAnnotations(former, { egress: 10 * M, ingress: undefined })?.caps, {
    egress: cap,
  });
});

test('caps of which nobody knows who has asked for them stay while the pod has no annotation', (t) => {
  const former: Asked = { caps: egress(10 * M) };
  t.is(askedByAnnotations(former, { egress: undefined, ingress: undefined }), undefined);
  t.deepEqual(askedByAnnotations(former, { egress: 5 * M, ingress: undefined }), {
    ...{ caps: egress(5 * M), by: 'annotation' },
  });
});

test('the file for the plugin says for which namespaces there is a default', (t) => {
  const text = formatDefaults([
    { namespace: 'kube-*', isDefaulted: false },
    { namespace: '*', isDefaulted: true },
  ]);
  t.false(isDefaultedBy(text, 'kube-system'));
  t.true(isDefaultedBy(text, 'default'));
  t.true(isDefaultedBy(text, undefined));
  t.false(isDefaultedBy(formatDefaults([{ namespace: 'a', isDefaulted: true }]), 'b'));
  for (const bad of ['', '{', '{"format":"2","rules":[]}', '[]'])
    t.throws(() => isDefaultedBy(bad, 'default'));
});
