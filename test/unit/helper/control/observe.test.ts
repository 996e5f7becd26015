// What is read of the maps, and how: a datapath that tells what it is asked for, in place of the
// kernel.

import test from 'ava';
import type { Datapath } from '../../../../helper/control/datapath.ts';
import {
  routingEntries,
  routingKeyOf,
  type RoutingEntry,
} from '../../../../helper/shaping/host-routing.ts';
import { observeMaps } from '../../../../helper/control/observe.ts';
import { plan } from '../../../../helper/shaping/plan.ts';
import type { AttachmentRecord } from '../../../../helper/shaping/records.ts';
import { desiredOf } from '../../../model/desired.ts';

const ROUTED: AttachmentRecord = {
  ...{ containerId: 'c', ifname: 'eth0', network: 'pods', sandbox: '/run/netns/x', kind: 'netkit' },
  ...{ hostInterface: 'dev7', hostInterfaceIndex: 7, caps: {} },
  hostRouting: { addresses: ['10.0.0.7', '2001:db8::7'] },
};

const DESIRED = desiredOf({ attachments: [ROUTED] });

/** Maps with these entries of host routing and nothing else, which count what is asked of them. */
function mapsWith(entries: readonly RoutingEntry[]): {
  datapath: Datapath;
  lookups: number;
  walks: number;
} {
  const values = new Map(entries.map((entry) => [routingKeyOf(entry), entry.value]));
  const lookedUpIn = (map: RoutingEntry['map']) => ({
    get: (key: Buffer): Buffer | undefined => {
      maps.lookups += 1;
      return values.get(routingKeyOf({ map, key }));
    },
  });
  const maps = {
    ...{ lookups: 0, walks: 0 },
    datapath: {
      hasPage: () => true,
      policing: { standing: () => 'none' },
      goesOnInReceive: () => true,
      exemptionDigests: () => new Map(),
      maps: {
        ...{ aggregateConfig: { at: () => undefined } },
        ...{ hostInterfaces: { getAmong: () => new Map() } },
        ...{ upperExits: { getAmong: () => new Map() } },
        ...{ routedPods: lookedUpIn('routedPods'), podAddresses: lookedUpIn('podAddresses') },
      },
      routingEntries: () => {
        maps.walks += 1;
        return entries;
      },
    } as unknown as Datapath,
  };
  return maps;
}

test('entries of a few pods are looked up, and no map is gone through', (t) => {
  const [lost, ...kept] = routingEntries(ROUTED);
  const maps = mapsWith([
    ...kept,
    ...routingEntries({ ...ROUTED, hostInterfaceIndex: 8 }).slice(0, 1),
  ]);
  const observed = observeMaps(maps.datapath, DESIRED, [7]);
  t.deepEqual(observed.routing, kept);
  t.like(maps, { lookups: 3, walks: 0 });
  t.deepEqual(
    plan(DESIRED, observed).steps.filter(({ kind }) => kind === 'write-routing'),
    [{ kind: 'write-routing', ifindex: 7, entry: lost! }],
  );
});

test('those of many pods are found in one walk', (t) => {
  const attachments = Array.from({ length: 500 }, (_, index) => ({
    ...{ ...ROUTED, hostInterfaceIndex: 10 + index },
    hostRouting: { addresses: [`10.1.${index >> 8}.${index & 255}`] },
  }));
  const kept = attachments.flatMap(routingEntries).slice(1);
  const maps = mapsWith([...routingEntries(ROUTED), ...kept]);
  t.deepEqual(observeMaps(maps.datapath, { ...DESIRED, attachments }, []).routing, kept);
  t.like(maps, { lookups: 0, walks: 1 });
});
