import fs from 'node:fs';
import path from 'node:path';
import test from 'ava';
import {
  FEATURES,
  type Attempt,
  type Feature,
  type KernelFeatures,
} from '../../../../helper/wire/kernel-features.ts';
import { checkProbeItems } from '../../../../helper/protocol/probe-items.ts';
import { judgeFeatures, judgeUplinks, startRefusal } from '../../../../helper/shaping/features.ts';

const THERE: Attempt = { there: true, why: '' };
const LACKS: Attempt = { there: false, why: 'EINVAL' };
const UNTRIED: Attempt = { there: undefined, why: 'not tried' };

function kernelWith(changes: Partial<Record<Feature, Attempt>>): KernelFeatures {
  const all = FEATURES.map((feature) => [feature, THERE] as const);
  return { ...(Object.fromEntries(all) as KernelFeatures), clsact: UNTRIED, ...changes };
}

interface Verdict {
  /** Names of what makes `probe` end with 1. */
  readonly missing: readonly string[];
  /** Names of what lacks and costs something else than caps. */
  readonly absent: readonly string[];
  /** What podpaced says when it is started; undefined when it serves. */
  readonly refusal?: RegExp;
}

/** Kernels by what they have, whatever their number is. */
const KERNELS: readonly [string, KernelFeatures, Verdict][] = [
  ['5.14 of a vendor with everything of today', kernelWith({}), { missing: [], absent: [] }],
  ['6.12 built without sch_fq', kernelWith({ fq: LACKS }), { missing: ['sch_fq'], absent: [] }],
  [
    '6.1 as Debian has it',
    kernelWith({ tcx: LACKS, clsact: THERE, netkit: LACKS }),
    { missing: [], absent: ['tcx', 'netkit'] },
  ],
  [
    '5.14 of a vendor with BPF of 6.x and the devices of 5.14',
    kernelWith({ tcx: LACKS, clsact: THERE, netkit: LACKS, netnsCookie: LACKS }),
    { missing: [], absent: ['tcx', 'netkit', 'netns cookie'] },
  ],
  [
    'one with neither tcx nor clsact',
    kernelWith({ tcx: LACKS, clsact: LACKS, netkit: LACKS }),
    {
      missing: ['clsact'],
      absent: ['tcx', 'netkit'],
      refusal: /lacks clsact, .*CONFIG_NET_SCH_INGRESS and CONFIG_NET_CLS_BPF$/,
    },
  ],
  [
    '5.10 as Debian had it',
    kernelWith({
      stamp: LACKS,
      batch: LACKS,
      programs: LACKS,
      tcx: LACKS,
      clsact: THERE,
      netkit: LACKS,
      netnsCookie: LACKS,
    }),
    {
      missing: ['bpf_skb_set_tstamp', 'BPF batch lookup', 'BPF programs'],
      absent: ['tcx', 'netkit', 'netns cookie'],
      refusal:
        /^this kernel lacks bpf_skb_set_tstamp, needed to .*\(EINVAL\); BPF batch lookup, .*: use a newer kernel: Linux 6\.1 has it$/,
    },
  ],
  [
    'one that refuses bpf(2)',
    kernelWith({ bpf: LACKS }),
    { missing: ['BPF'], absent: [], refusal: /lacks BPF, .*CONFIG_BPF_SYSCALL$/ },
  ],
  // fq may come with its module while podpaced runs; what cannot be tried says nothing.
  [
    'one where no namespace can be made',
    kernelWith({ fq: UNTRIED, mq: UNTRIED, netkit: UNTRIED }),
    { missing: ['sch_fq'], absent: [] },
  ],
];

for (const [kernel, found, { missing, absent, refusal }] of KERNELS) {
  test(`what can be held is judged by features: ${kernel}`, (t) => {
    const items = judgeFeatures(found);
    t.notThrows(() => checkProbeItems(items));
    t.deepEqual(
      items.filter(({ ok }) => !ok).map(({ name }) => name),
      missing,
    );
    t.deepEqual(
      items.filter(({ ok, there }) => ok && there === false).map(({ name }) => name),
      absent,
    );
    if (refusal === undefined) t.is(startRefusal(found), undefined);
    else t.regex(startRefusal(found) ?? '', refusal);
  });
}

test('every feature says what it is for and what its lack costs, and what to do when it lacks', (t) => {
  for (const feature of FEATURES) {
    const [there, lacks] = [THERE, LACKS].map((attempt) =>
      judgeFeatures(kernelWith({ [feature]: attempt })),
    );
    const at = (there ?? []).findIndex((item, index) => item.there !== lacks?.[index]?.there);
    const [is, isNot] = [there?.[at], lacks?.[at]];
    t.like(is, { ok: true, there: true, found: 'works' }, feature);
    t.regex(is?.neededFor ?? '', /^to /);
    t.is(is?.remedy, undefined);
    t.like(isNot, { there: false, found: 'EINVAL' }, feature);
    t.true((isNot?.remedy ?? '') !== '' && (isNot?.withoutIt ?? '') !== '', feature);
  }
});

test('the way off the node is an item too', (t) => {
  const eth0 = { name: 'eth0', kind: 'device', role: 'uplink' } as const;
  t.like(judgeUplinks([eth0, { ...eth0, name: 'pod0', role: 'pod' }], []), {
    ok: true,
    found: 'eth0 (device)',
  });
  t.like(judgeUplinks([], []), { ok: false, there: false, found: 'no default route' });
  t.like(judgeUplinks([eth0], ['there is no eth9']), {
    ok: false,
    there: false,
    found: 'there is no eth9',
  });
});

test('README.md has every feature, and every key of an item', (t) => {
  const readme = fs.readFileSync(
    path.resolve(import.meta.dirname, '../../../../README.md'),
    'utf8',
  );
  const codesIn = (text: string): string[] =>
    [...text.matchAll(/`([^`]+)`/g)].map(([, code = '']) => code).toSorted();
  const [, section = ''] = readme.split('### Features of the kernel\n');
  const [list = '', keysOfItems = ''] = section.split('`podpaced probe --json`', 2);
  // What stands before the colon of each entry.
  const named = list.match(/^- [^]*?:(?=\s)/gm) ?? [];
  const items = judgeFeatures(kernelWith({ netkit: LACKS }));
  t.deepEqual(codesIn(named.join(' ')), items.map(({ name }) => name).toSorted());
  const keys = new Set(items.flatMap((item) => Object.keys(item)));
  const [, ofAnItem = ''] = keysOfItems.split(/An\s+item\s+has/);
  t.deepEqual(codesIn(ofAnItem.split('\n\n')[0] ?? ''), [...keys].toSorted());
});
