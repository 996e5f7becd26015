import test from 'ava';
import fc from 'fast-check';
import { podNamesIn } from '../../../cni/pod-names.ts';
import type { PodNames } from '../../../helper/protocol/messages.ts';
import { podNamesOf } from '../../../helper/protocol/pod-names.ts';
import { character } from '../../kit/any-text.ts';

const UID = '7d0a3c5e-1c7f-4f0e-9a53-0f4f4f6f2b11';
const WEB: PodNames = { podNamespace: 'default', podName: 'web-0', podUid: UID };
const [NAMESPACE, NAME] = ['K8S_POD_NAMESPACE=default', 'K8S_POD_NAME=web-0'];

const CASES: readonly (readonly [what: string, args: string, names: PodNames])[] = [
  [
    'what containerd sends',
    `IgnoreUnknown=1;${NAMESPACE};${NAME};K8S_POD_INFRA_CONTAINER_ID=4f2a;K8S_POD_UID=${UID}`,
    WEB,
  ],
  ['the same in another order', `K8S_POD_UID=${UID};${NAME};IgnoreUnknown=1;${NAMESPACE}`, WEB],
  ['without IgnoreUnknown', `${NAMESPACE};K8S_POD_UID=${UID};FOO=bar;${NAME}`, WEB],
  [
    'what CRI-O adds',
    `${NAMESPACE};${NAME};K8S_POD_UID=${UID};IP=10.0.0.1;MAC=02:00:00:00:00:01`,
    WEB,
  ],
  ['nothing', '', {}],
  ['only what is of no pod', 'IgnoreUnknown=true;DEBUG=/tmp/x', {}],
  ['a name without its namespace', NAME, { podName: 'web-0' }],
  ['empty values', 'K8S_POD_NAMESPACE=;K8S_POD_NAME=;K8S_POD_UID=', {}],
  [
    'a key twice',
    `K8S_POD_NAME=old;${NAMESPACE};${NAME}`,
    { podNamespace: 'default', podName: 'web-0' },
  ],
  ['what is no pair', `;;=;=x;K8S_POD_NAME;${NAMESPACE};`, { podNamespace: 'default' }],
  ['an equals sign in a value', 'K8S_POD_NAME=a=b', { podName: 'a=b' }],
  ['keys in other cases and with blanks', 'k8s_pod_name=a; K8S_POD_NAME=b;K8S_POD_UID =c', {}],
  [
    'a line break and an escape',
    'K8S_POD_NAME=a\n\u001b[2Jb',
    { podName: String.raw`a\n\u001b[2Jb` },
  ],
  [
    'the longest that Kubernetes has',
    `K8S_POD_NAMESPACE=${'n'.repeat(63)};K8S_POD_NAME=${'p'.repeat(253)};K8S_POD_UID=${'u'.repeat(128)}`,
    { podNamespace: 'n'.repeat(63), podName: 'p'.repeat(253), podUid: 'u'.repeat(128) },
  ],
  [
    'longer ones',
    `K8S_POD_NAMESPACE=${'n'.repeat(64)};K8S_POD_NAME=${'p'.repeat(100_000)};K8S_POD_UID=${'u'.repeat(129)}`,
    {
      podNamespace: `${'n'.repeat(62)}…`,
      podName: `${'p'.repeat(252)}…`,
      podUid: `${'u'.repeat(127)}…`,
    },
  ],
];

for (const [what, args, names] of CASES) {
  test(`the pod in CNI_ARGS: ${what}`, (t) => {
    t.deepEqual(podNamesIn(args), names);
  });
}

const MOST = { podNamespace: 63, podName: 253, podUid: 128 };

/** Text with everything in it that a terminal could obey, and halves of pairs. */
const hostile = fc.string({
  unit: fc.oneof(
    fc.constantFrom(
      '\n',
      '\u001b',
      '\u0000',
      '\u009b',
      '\u202e',
      '\ud800',
      '\udc41',
      '\u{e0041}',
      '😀',
      '…',
    ),
    fc.string({ unit: character, minLength: 1, maxLength: 1 }),
  ),
  maxLength: 400,
});

test('whatever CNI_ARGS holds, names are short, can be shown, and are those of the names', (t) => {
  fc.assert(
    fc.property(hostile, hostile, hostile, (a, b, junk) => {
      const [namespace, name] = [a, b].map((text) => text.replaceAll(';', ''));
      const names = podNamesIn(`${junk};K8S_POD_NAMESPACE=${namespace};K8S_POD_NAME=${name}`);
      for (const [field, text] of Object.entries(names)) {
        t.true(text.length > 0 && text.length <= MOST[field as keyof PodNames]);
        t.notRegex(text, /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u);
      }
      t.is(names.podNamespace === undefined, namespace === '');
      // The helper, which judges them again, has them as they are.
      t.deepEqual(podNamesOf(names), names);
    }),
    { numRuns: 2000 },
  );
});

test('pairs in any order, among any others, say the same', (t) => {
  const plain = fc.stringMatching(/^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/);
  const others = fc.array(fc.stringMatching(/^[A-Z_a-z]{1,12}(=[a-z0-9=]{0,9})?$/), {
    maxLength: 6,
  });
  fc.assert(
    fc.property(
      plain,
      plain,
      plain,
      others,
      fc.infiniteStream(fc.nat()),
      (namespace, name, uid, more, order) => {
        const pairs = [
          `K8S_POD_NAMESPACE=${namespace}`,
          `K8S_POD_NAME=${name}`,
          `K8S_POD_UID=${uid}`,
          ...more,
        ];
        const mixed = pairs
          .map((pair) => ({ pair, place: order.next().value as number }))
          .toSorted((a, b) => a.place - b.place)
          .map(({ pair }) => pair);
        t.deepEqual(podNamesIn(mixed.join(';')), {
          podNamespace: namespace,
          podName: name,
          podUid: uid,
        });
      },
    ),
  );
});

test('what is no text is no name', (t) => {
  t.deepEqual(podNamesOf({ podNamespace: 7, podName: null, podUid: ['x'] }), {});
});
