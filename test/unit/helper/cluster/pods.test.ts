import test from 'ava';
import { askedRates, readPod } from '../../../../helper/cluster/pods.ts';
import { ShapeError } from '../../../../helper/protocol/shape.ts';

const NAMES = { uid: 'u-1', namespace: 'default', name: 'web-0' };
const EGRESS = 'kubernetes.io/egress-bandwidth';
const INGRESS = 'kubernetes.io/ingress-bandwidth';

test('a pod is its names and two annotations, whatever else it has', (t) => {
  const annotations = { [EGRESS]: '10M', other: '1' };
  const object = { kind: 'Pod', metadata: { ...NAMES, annotations, labels: {} }, spec: {} };
  t.deepEqual(readPod(object, ''), { ...NAMES, runtimeUid: 'u-1', bandwidth: { egress: '10M' } });
  t.deepEqual(readPod({ metadata: NAMES }, '').bandwidth, {});
});

test("the mirror of a static pod has the runtime's uid in an annotation", (t) => {
  const annotations = { 'kubernetes.io/config.hash': '0123abcd' };
  t.is(readPod({ metadata: { ...NAMES, annotations } }, '').runtimeUid, '0123abcd');
});

for (const metadata of [
  {},
  { ...NAMES, uid: '' },
  { ...NAMES, name: 7 },
  { ...NAMES, annotations: [] },
]) {
  test(`${JSON.stringify(metadata)} is of no pod`, (t) => {
    t.throws(() => readPod({ metadata }, ''), { instanceOf: ShapeError });
  });
}

test('both directions are read, each by itself', (t) => {
  t.deepEqual(askedRates({ bandwidth: { egress: '1Mi', ingress: '1e6' } }), {
    rates: { egress: 1_048_576, ingress: 1_000_000 },
    faults: {},
  });
  const { rates, faults } = askedRates({ bandwidth: { egress: '10M', ingress: '10Mbit' } });
  t.deepEqual(rates, { egress: 10_000_000 });
  t.deepEqual(faults, {
    ingress: `Cannot use the annotation ${INGRESS} "10Mbit": it is no quantity such as 800k, 10M, 2.5G or 1Gi`,
  });
});

// What containerd refuses too (k8s pkg/util/bandwidth: 1k to 1P).
const malformed: readonly [asked: string, why: RegExp][] = [
  ['', /no quantity/],
  ['0', /below 1 kbit\/s/],
  ['999', /below 1 kbit\/s/],
  ['-10M', /below 1 kbit\/s/],
  ['10m', /below 1 kbit\/s/],
  ['1.1P', /above 1 Pbit\/s/],
  ['1e400', /above 1 Pbit\/s/],
  ['ten', /no quantity/],
  ['\u001b[2J', /no quantity/],
  ['9'.repeat(100_000), /"9{40}…": it is no quantity/],
];
for (const [asked, why] of malformed) {
  test(`the annotation ${JSON.stringify(asked.slice(0, 20))} is malformed`, (t) => {
    const { rates, faults } = askedRates({ bandwidth: { egress: asked } });
    t.deepEqual(rates, {});
    t.regex(faults.egress ?? '', why);
    t.true((faults.egress ?? '').includes(EGRESS));
  });
}

test('the ends of the range are in it', (t) => {
  t.deepEqual(askedRates({ bandwidth: { egress: '1k', ingress: '1P' } }).rates, {
    egress: 1000,
    ingress: 1e15,
  });
});
