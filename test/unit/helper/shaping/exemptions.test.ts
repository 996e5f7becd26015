import test from 'ava';
import fc from 'fast-check';
import { replaceExemptions, restoreExemptions } from '../../../../helper/control/exemptions.ts';
import type { Datapath } from '../../../../helper/control/datapath.ts';
import { digestOf, exemptionListsOf, listEntries } from '../../../../helper/shaping/exemptions.ts';
import { exemptionLists } from '../../../../helper/shaping/aggregates.ts';
import type { AttachmentRecord } from '../../../../helper/shaping/records.ts';
import { desiredOf } from '../../../model/desired.ts';
import { EXEMPT_NODE, EXEMPT_OWN } from '../../../../helper/wire/aggregate.ts';
import { exemptionListOf, NODE_LIST } from '../../../../helper/wire/exemption.ts';
import { ExemptionDigests } from '../../../../helper/wire/exemption-digest.ts';

const CAP = { rateBitsPerSec: 1_000_000 };

function record(
  exempt: readonly string[] | undefined,
  rest: Partial<AttachmentRecord> = {},
): AttachmentRecord {
  return {
    ...{
      containerId: 'c',
      ifname: 'eth0',
      network: 'pods',
      hostInterface: 'pod0',
      hostInterfaceIndex: 7,
    },
    ...{ sandbox: '/run/netns/x', caps: { egress: CAP, ingress: CAP } },
    ...{ egressAggregateId: 4096, ingressAggregateId: 4097 },
    ...(exempt === undefined ? {} : { exempt }),
    ...rest,
  };
}

/** What each list has to hold with one attachment. */
function listsOf(of: AttachmentRecord, exempt: readonly string[]): Map<number, readonly string[]> {
  return exemptionLists(desiredOf({ attachments: [of], exempt }));
}

/** Entries of an attachment's own list, for each of its aggregates. */
function attachmentEntries(of: AttachmentRecord): Map<string, string> {
  return new Map([...listsOf(of, [])].flatMap(([list, texts]) => [...listEntries(list, texts)]));
}

/** The map as replaceExemptions writes it. */
function mapOf(former: ReadonlyMap<string, string>): {
  datapath: Datapath;
  map: Map<string, string>;
} {
  const map = new Map(former);
  const datapath = {
    writeExemptions: (entries: readonly [string, string][]) => {
      for (const [key, value] of entries) map.set(key, value);
    },
    removeExemptions: (keys: readonly string[]) => {
      for (const key of keys) map.delete(key);
    },
    exemptionEntries: (list: number) =>
      new Map([...map].filter(([key]) => exemptionListOf(Buffer.from(key, 'latin1')) === list)),
    noteExemptionDigest: () => undefined,
  };
  return { datapath: datapath as unknown as Datapath, map };
}

test('an attachment is looked up in the lists that have something', (t) => {
  t.is(exemptionListsOf(record(undefined), []), 0);
  t.is(exemptionListsOf(record(undefined), ['::/0']), EXEMPT_NODE);
  t.is(exemptionListsOf(record(['::/0']), []), EXEMPT_OWN);
  t.is(exemptionListsOf(record(['::/0']), ['::/0']), EXEMPT_OWN | EXEMPT_NODE);
});

test('each aggregate of an attachment has its list, and overlapping prefixes stand side by side', (t) => {
  t.is(attachmentEntries(record(['10.0.0.0/8', '10.0.0.0/16'])).size, 4);
  t.is(
    attachmentEntries(record(['10.0.0.0/8', '10.9.9.9/8'])).size,
    2,
    'one prefix, written in two ways',
  );
  t.is(attachmentEntries(record(undefined)).size, 0);
  t.deepEqual(
    listsOf(record(['10.0.0.0/8']), ['::/0']),
    new Map([
      [NODE_LIST, ['::/0']],
      [4096, ['10.0.0.0/8']],
      [4097, ['10.0.0.0/8']],
    ]),
  );
});

test('one set of entries is turned into another, whatever both are', (t) => {
  const texts = fc.array(
    fc.constantFrom('10.0.0.0/8', '!10.0.0.0/8', '10.1.0.0/16', '::/0', '2001:db8::1'),
  );
  fc.assert(
    fc.property(texts, texts, (before, after) => {
      const [former, wanted] = [
        attachmentEntries(record(before)),
        attachmentEntries(record(after)),
      ];
      const { datapath, map } = mapOf(former);
      replaceExemptions(datapath, former, wanted);
      t.deepEqual(Object.fromEntries(map), Object.fromEntries(wanted));
    }),
    { endOnFailure: true },
  );
});

/** Digests of a map by list, as a walk through it makes them, in two parts. */
function digestsOf(map: ReadonlyMap<string, string>): Map<number, string> {
  const digests = new ExemptionDigests();
  const entries = [...map].toReversed();
  const middle = Math.floor(entries.length / 2);
  for (const part of [entries.slice(0, middle), entries.slice(middle)]) {
    const bytes = (index: 0 | 1): Buffer =>
      Buffer.from(part.map((entry) => entry[index]).join(''), 'latin1');
    digests.add(bytes(0), bytes(1), part.length);
  }
  return digests.digests();
}

test('any one entry that is gone, altered or too many is seen, in whatever order they come, and put right', (t) => {
  const texts = ['10.0.0.0/8', '!10.1.0.0/16', '::/0', '2001:db8::1'];
  const own = attachmentEntries(record(texts));
  const digest = digestOf(texts);
  t.deepEqual(Object.fromEntries(digestsOf(own)), { 4096: digest, 4097: digest });
  t.is(digestOf(texts.toReversed()), digest);
  t.is(digestOf([...texts, '10.2.2.2/8']), digest, 'the same prefix in another way');
  t.is(digestOf([]), undefined);
  const [[key, value] = ['', '']] = own;
  const altered = Buffer.from(value, 'latin1');
  altered.writeUInt32LE(0, 4);
  const damages: Map<string, string>[] = [
    new Map([...own].slice(1)),
    new Map([...own, [key, altered.toString('latin1')]]),
    new Map([...own, ...attachmentEntries(record(['10.3.0.0/16']))]),
    new Map(),
  ];
  for (const damaged of damages) {
    t.not(digestsOf(damaged).get(4096), digest);
    const { datapath, map } = mapOf(damaged);
    for (const list of [4096, 4097]) restoreExemptions(datapath, list, texts);
    t.deepEqual(Object.fromEntries(digestsOf(map)), { 4096: digest, 4097: digest });
  }
});
