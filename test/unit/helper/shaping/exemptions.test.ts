import test from 'ava';
import fc from 'fast-check';
import type { Datapath } from '../../../../helper/shaping/datapath.ts';
import {
  attachmentEntries,
  exemptionListsOf,
  nodeEntries,
  replaceExemptions,
} from '../../../../helper/shaping/exemptions.ts';
import type { AttachmentRecord } from '../../../../helper/shaping/records.ts';
import { EXEMPT_NODE, EXEMPT_OWN } from '../../../../helper/wire/aggregate.ts';

function record(
  exempt: readonly string[] | undefined,
  rest: Partial<AttachmentRecord> = {},
): AttachmentRecord {
  return {
    ...{ containerId: 'c', ifname: 'eth0', network: 'pods', hostInterface: 'pod0', hostInterfaceIndex: 7 },
    ...{ sandbox: '/run/netns/x', caps: {}, egressAggregateId: 4096, ingressAggregateId: 4097 },
    ...(exempt === undefined ? {} : { exempt }),
    ...rest,
  };
}

/** The map as replaceExemptions writes it. */
function mapOf(former: ReadonlyMap<string, string>): { datapath: Datapath; map: Map<string, string> } {
  const map = new Map(former);
  const datapath = {
    writeExemptions: (entries: readonly [string, string][]) => {
      for (const [key, value] of entries) map.set(key, value);
    },
    removeExemptions: (keys: readonly string[]) => {
      for (const key of keys) map.delete(key);
    },
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
  t.is(attachmentEntries(record(['10.0.0.0/8', '10.9.9.9/8'])).size, 2, 'one prefix, written in two ways');
  t.is(attachmentEntries(record(undefined)).size, 0);
  t.is(nodeEntries([record(['10.0.0.0/8'])], ['10.0.0.0/8', '::/0']).size, 4);
});

test('one set of entries is turned into another, whatever both are', (t) => {
  const texts = fc.array(fc.constantFrom('10.0.0.0/8', '!10.0.0.0/8', '10.1.0.0/16', '::/0', '2001:db8::1'));
  fc.assert(
    fc.property(texts, texts, (before, after) => {
      const [former, wanted] = [attachmentEntries(record(before)), attachmentEntries(record(after))];
      const { datapath, map } = mapOf(former);
      replaceExemptions(datapath, former, wanted);
      t.deepEqual(Object.fromEntries(map), Object.fromEntries(wanted));
    }),
    { endOnFailure: true },
  );
});
