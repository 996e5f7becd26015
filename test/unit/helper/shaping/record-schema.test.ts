import { isDeepStrictEqual } from 'node:util';
import test from 'ava';
import fc from 'fast-check';
import { ShapeError } from '../../../../helper/protocol/shape.ts';
import {
  formatRecord,
  parseRecord,
  type Records,
} from '../../../../helper/shaping/record-schema.ts';
import {
  contradictionsOf,
  hostInterfacesOf,
  isOutlived,
  isSameDevice,
  withGso,
  withoutGone,
  type AttachmentRecord,
  type ExitRecord,
  type UncappedRecord,
  type Wish,
} from '../../../../helper/shaping/records.ts';
import { damaged } from '../../../kit/record-damage.ts';

const ATTACHMENT: AttachmentRecord = {
  containerId: 'c0ffee',
  ifname: 'eth0',
  network: 'pods',
  hostInterface: 'veth12',
  sandbox: '/run/netns/x',
  caps: {
    egress: { rateBitsPerSec: 10_000_000, burstBits: 80_000 },
    ingress: { rateBitsPerSec: 5_000_000 },
  },
  exempt: ['10.0.0.0/8', '!10.1.0.0/16'],
  hostRouting: {
    addresses: ['10.4.0.7'],
    mac: '02:00:00:00:00:01',
    hostMac: '02:00:00:00:00:02',
  },
  congestionControl: 'bbr',
  hostInterfaceIndex: 12,
  kind: 'veth',
  changes: { egress: { horizonNs: 40_000_000 } },
  egressAggregateId: 4096,
  ingressAggregateId: 4097,
  bootId: '01234567-89ab-cdef-0123-456789abcdef',
  netnsCookie: '18446744073709551615',
};

/** With two host interfaces, and an interface that cannot be held. */
const SEVERAL: AttachmentRecord = {
  ...ATTACHMENT,
  podInterface: 'net3',
  beside: [
    {
      ...{ podInterface: 'v4if0', hostInterface: 'veth13', hostInterfaceIndex: 13, kind: 'veth' },
      hostRouting: {
        addresses: ['10.4.1.7'],
        mac: '02:00:00:00:00:03',
        hostMac: '02:00:00:00:00:04',
      },
      gso: {
        former: { gsoMaxSizeBytes: 65_536, gsoMaxSegs: 65_535 },
        limited: { gsoMaxSizeBytes: 12_000, gsoMaxSegs: 8 },
      },
    },
  ],
  unheld: [{ podInterface: 'net1', reason: 'it is of kind macvlan' }],
};

const EXIT: ExitRecord = {
  ifindex: 2,
  name: 'eth0',
  formerQdiscs: [{ kind: 'fq_codel', handle: 0x1_0000, parent: 0xffff_ffff, options: 'AQIDBA==' }],
};

const WISH: Wish = {
  containerId: 'c0ffee',
  ifname: 'eth0',
  network: 'pods',
  hostInterface: 'veth12',
  sandbox: '/run/netns/x',
  caps: { egress: { rateBitsPerSec: 10_000_000 } },
  hostInterfaceIndex: 12,
  kind: 'veth',
  reason: 'no helper listens there',
};

const UNCAPPED: UncappedRecord = {
  containerId: 'c0ffee',
  ifname: 'eth0',
  network: 'pods',
  sandbox: '/run/netns/x',
  sandboxNetns: '4:4026532210',
  nodeNetns: '4:4026531840',
  bootId: '01234567-89ab-cdef-0123-456789abcdef',
  hostInterface: 'veth12',
  hostInterfaceIndex: 12,
  kind: 'veth',
  isAsked: true,
  exempt: ['10.0.0.0/8', '!10.1.0.0/16'],
  congestionControl: 'bbr',
  listed: ['v4if0'],
};

const SEEDS: {
  readonly [K in keyof Records]: { readonly name: string; readonly record: Records[K] };
} = {
  attachments: { name: 'c0ffee:eth0', record: ATTACHMENT },
  exits: { name: '2', record: EXIT },
  wishes: { name: 'c0ffee:eth0', record: WISH },
  uncapped: { name: 'c0ffee:eth0', record: UNCAPPED },
};

/** A damaged file: its name and its bytes. */
interface Mutant {
  readonly kind: keyof Records;
  readonly name: string;
  readonly bytes: Buffer;
}

/** Files of records with one fault each; `format` writes the good one. */
function mutants(format: (kind: keyof Records) => string): fc.Arbitrary<Mutant> {
  const own = (['attachments', 'exits', 'wishes', 'uncapped'] as const).map(
    (kind): fc.Arbitrary<Mutant> => {
      const { name } = SEEDS[kind];
      return damaged(format(kind)).map((bytes) => ({ kind, name, bytes }));
    },
  );
  return fc.oneof(...own);
}

/** What is said of a record goes to a terminal and into one message. */
function isPlainReason(error: unknown): boolean {
  return (
    error instanceof ShapeError && error.message.length <= 300 && !/\p{Cc}/u.test(error.message)
  );
}

function outcomeOf({ kind, name, bytes }: Mutant): Records[keyof Records] | undefined {
  const { stackTraceLimit } = Error;
  // Where each of a hundred thousand was refused nobody reads, and is most of what that takes.
  Error.stackTraceLimit = 0;
  try {
    return parseRecord(kind, name, bytes.toString());
  } catch (error) {
    if (!isPlainReason(error)) throw error;
    return undefined;
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

test('of 100,000 damaged records each is refused, or says what it said before', (t) => {
  const seed = Date.now() % 2 ** 31;
  let refused = 0;
  fc.assert(
    fc.property(
      mutants((kind) => formatRecord(kind, SEEDS[kind].record)),
      (mutant) => {
        const outcome = outcomeOf(mutant);
        if (outcome === undefined) refused += 1;
        else if (!isDeepStrictEqual(outcome, SEEDS[mutant.kind].record))
          t.fail(JSON.stringify(outcome));
      },
    ),
    { numRuns: 100_000, seed },
  );
  t.log(`seed ${seed}: ${refused} refused`);
  t.true(refused > 50_000);
});

/** Without a checksum, as 23c71bb wrote them. */
function formatFormer(kind: keyof Records): string {
  return JSON.stringify({ recordVersion: 1, ...SEEDS[kind].record });
}

function isIntegerIn(value: unknown, least: number, most: number): boolean {
  return Number.isInteger(value) && (value as number) >= least && (value as number) <= most;
}

function isWholeAttachment(record: AttachmentRecord): boolean {
  const ids = [record.egressAggregateId, record.ingressAggregateId];
  const caps = [record.caps.egress, record.caps.ingress];
  return (
    /^[\w.-]+$/.test(record.containerId) &&
    /^[^/\s:]{1,15}$/.test(record.hostInterface) &&
    isIntegerIn(record.hostInterfaceIndex, 1, 2 ** 31 - 1) &&
    typeof record.sandbox === 'string' &&
    ids.every((id) => id === undefined || isIntegerIn(id, 4096, 20_479)) &&
    caps.every((cap) => cap === undefined || isIntegerIn(cap.rateBitsPerSec, 1000, 10 ** 15)) &&
    caps.every((cap, index) => (cap === undefined) === (ids[index] === undefined))
  );
}

test('a damaged record without a checksum is refused, or whole', (t) => {
  const seed = Date.now() % 2 ** 31;
  t.log(`seed ${seed}`);
  fc.assert(
    fc.property(mutants(formatFormer), (mutant) => {
      const outcome = outcomeOf(mutant);
      if (outcome === undefined || mutant.kind !== 'attachments') return;
      if (!isWholeAttachment(outcome as AttachmentRecord)) t.fail(JSON.stringify(outcome));
    }),
    { numRuns: 20_000, seed },
  );
  t.pass();
});

test('a record of 23c71bb is taken, and what a newer podpaced adds to one is left out', (t) => {
  const { bootId: _boot, netnsCookie: _netns, ...former } = ATTACHMENT;
  const text = JSON.stringify({ recordVersion: 1, ...former, priority: 'high' });
  t.deepEqual(parseRecord('attachments', 'c0ffee:eth0', text), former);
});

/** As `podpace` names it, hostile names among them. */
const POD = {
  podNamespace: 'default',
  podName: String.raw`web\u001b-0…`,
  podUid: '7d0a3c5e-1c7f-4f0e-9a53-0f4f4f6f2b11',
  addedAt: '2026-11-30T01:02:03.004Z',
};

for (const [kind, record] of [
  ['attachments', ATTACHMENT],
  ['attachments', SEVERAL],
  ['wishes', WISH],
  ['uncapped', UNCAPPED],
] as const) {
  const what = record === SEVERAL ? 'several interfaces' : kind;
  const named = { ...record, ...POD };

  test(`names of pods: a record of ${what} is read as it was written, and never with others`, (t) => {
    const text = formatRecord<typeof kind>(kind, named);
    t.deepEqual(parseRecord(kind, 'c0ffee:eth0', text), named);
    fc.assert(
      fc.property(damaged(text), (bytes) => {
        const outcome = outcomeOf({ kind, name: 'c0ffee:eth0', bytes });
        t.true(outcome === undefined || isDeepStrictEqual(outcome, named));
      }),
      { numRuns: 20_000 },
    );
  });

  test(`names of pods: what a former release knows of a record of ${what} is what it would have written`, (t) => {
    const {
      podNamespace: _namespace,
      podName: _name,
      podUid: _uid,
      addedAt: _at,
      podChecksum,
      ...known
    } = JSON.parse(formatRecord<typeof kind>(kind, named)) as Record<string, unknown>;
    t.is(typeof podChecksum, 'number');
    const former = formatRecord<typeof kind>(kind, record);
    t.is(`${JSON.stringify(known)}\n`, former);
    t.notRegex(former, /pod[NU]|podChecksum|addedAt/);
    t.deepEqual(parseRecord(kind, 'c0ffee:eth0', former), record);
  });
}

test('names of pods: part of them is kept as well, and a moment is one', (t) => {
  const text = formatRecord('attachments', { ...ATTACHMENT, podName: 'web-0' });
  t.deepEqual(parseRecord('attachments', 'c0ffee:eth0', text), { ...ATTACHMENT, podName: 'web-0' });
  t.throws(() => formatRecord('attachments', { ...ATTACHMENT, addedAt: 'today' }), {
    message: /"addedAt" must be a moment in UTC/,
  });
});

const parse = (changes: object, name = 'c0ffee:eth0') =>
  parseRecord('attachments', name, JSON.stringify({ recordVersion: 1, ...ATTACHMENT, ...changes }));

const bad: readonly [string, () => unknown, RegExp][] = [
  [
    'of a newer podpaced',
    () => parse({ recordVersion: 3 }),
    /newer podpaced: its record version is 3/,
  ],
  ['in the file of another', () => parse({}, 'dead:eth0'), /record of c0ffee:eth0/],
  [
    'with an aggregate out of range',
    () => parse({ egressAggregateId: 4095 }),
    /egressAggregateId.*4096 to 20479/,
  ],
  [
    'with one aggregate for both directions',
    () => parse({ ingressAggregateId: 4096 }),
    /ingressAggregateId/,
  ],
  [
    'with a cap and no aggregate',
    () => parse({ egressAggregateId: undefined }),
    /there with a rate/,
  ],
  ['with an aggregate and no cap', () => parse({ caps: {} }), /absent without a rate/],
  [
    'with nothing but a version',
    () => parseRecord('attachments', 'a:b', '{"recordVersion":1}'),
    /containerId/,
  ],
];

for (const [what, fn, pattern] of bad) {
  test(`a record ${what} is refused`, (t) => {
    t.regex(t.throws(fn, { instanceOf: ShapeError })?.message ?? '', pattern);
  });
}

test('a record of several interfaces is read as it was written, and of a version that former releases leave alone', (t) => {
  const text = formatRecord('attachments', SEVERAL);
  t.deepEqual(parseRecord('attachments', 'c0ffee:eth0', text), SEVERAL);
  const versionOf = (record: AttachmentRecord): unknown =>
    (JSON.parse(formatRecord('attachments', record)) as { recordVersion: unknown }).recordVersion;
  const { podInterface: _end, beside: _beside, unheld: _unheld, ...one } = SEVERAL;
  t.is(versionOf(one), 1);
  for (const name of ['podInterface', 'beside', 'unheld'] as const)
    t.is(versionOf({ ...one, [name]: SEVERAL[name] }), 2, name);
  const wish = { ...WISH, unheld: SEVERAL.unheld ?? [] };
  t.deepEqual(parseRecord('wishes', 'c0ffee:eth0', formatRecord('wishes', wish)), wish);
  fc.assert(
    fc.property(damaged(text), (bytes) => {
      const outcome = outcomeOf({ kind: 'attachments', name: 'c0ffee:eth0', bytes });
      t.true(outcome === undefined || isDeepStrictEqual(outcome, SEVERAL));
    }),
    { numRuns: 20_000 },
  );
});

test('what is left of a record whose interfaces go one by one', (t) => {
  const withoutSecond = withoutGone(SEVERAL, (ifindex) => ifindex === 13);
  const { beside: _beside, ...first } = SEVERAL;
  t.deepEqual(withoutSecond, first);
  const withoutFirst = withoutGone(SEVERAL, (ifindex) => ifindex === 12);
  t.deepEqual(withoutFirst && hostInterfacesOf(withoutFirst), SEVERAL.beside);
  t.like(withoutFirst, {
    containerId: 'c0ffee',
    ifname: 'eth0',
    hostInterface: 'veth13',
    podInterface: 'v4if0',
  });
  t.is(withoutFirst?.gso, SEVERAL.beside?.[0]?.gso);
  t.is(
    withoutGone(SEVERAL, () => true),
    undefined,
  );
  t.is(
    withoutGone(SEVERAL, () => false),
    SEVERAL,
  );
  const gso = {
    former: { gsoMaxSizeBytes: 1, gsoMaxSegs: 1 },
    limited: { gsoMaxSizeBytes: 2, gsoMaxSegs: 2 },
  };
  t.deepEqual(
    hostInterfacesOf(withGso(SEVERAL, 13, gso)).map((way) => way.gso),
    [undefined, gso],
  );
  t.deepEqual(
    hostInterfacesOf(withGso(SEVERAL, 12, gso)).map((way) => way.gso?.former),
    [gso.former, SEVERAL.beside?.[0]?.gso?.former],
  );
  t.is(withGso(SEVERAL, 13, undefined).beside?.[0]?.gso, undefined);
});

test('records that name one aggregate or one interface contradict each other', (t) => {
  const other = {
    ...ATTACHMENT,
    containerId: 'b',
    hostInterfaceIndex: 13,
    egressAggregateId: 4098,
  };
  const third = {
    ...ATTACHMENT,
    containerId: 'd',
    egressAggregateId: 4200,
    ingressAggregateId: 4201,
  };
  t.deepEqual([...contradictionsOf([ATTACHMENT, other]).keys()], [ATTACHMENT, other].toReversed());
  t.is(contradictionsOf([ATTACHMENT, third]).size, 2);
  t.is(contradictionsOf([ATTACHMENT, { ...third, hostInterfaceIndex: 14 }]).size, 0);
  t.is(contradictionsOf([SEVERAL, { ...third, hostInterfaceIndex: 13 }]).size, 2);
  t.is(contradictionsOf([SEVERAL, { ...third, hostInterfaceIndex: 14 }]).size, 0);
});

test('a device is known by boot, namespace and index, and by its name where these are not recorded', (t) => {
  const here = { bootId: 'b', netnsCookie: '7' };
  t.false(isOutlived(here, here));
  t.true(isOutlived(here, { ...here, bootId: 'c' }));
  t.true(isOutlived(here, { ...here, netnsCookie: '8' }));
  t.false(isOutlived({}, here));
  t.true(isSameDevice({ ...here, name: 'veth1', kind: 'veth' }, { name: 'renamed', kind: 'veth' }));
  t.false(
    isSameDevice({ ...here, name: 'veth1', kind: 'veth' }, { name: 'veth1', kind: 'bridge' }),
  );
  t.true(isSameDevice({ name: 'veth1' }, { name: 'veth1', kind: 'veth' }));
  t.false(isSameDevice({ name: 'veth1' }, { name: 'eth0' }));
});
