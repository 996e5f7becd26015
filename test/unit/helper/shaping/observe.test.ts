// What is read of the maps, and how: a datapath that tells what it is asked for, in place of the kernel.

import test from 'ava';
import type { Datapath } from '../../../../helper/shaping/datapath.ts';
import { routingEntries, routingKeyOf } from '../../../../helper/shaping/host-routing.ts';
import { observeMaps } from '../../../../helper/shaping/observe.ts';
import { planMaps, type Desired } from '../../../../helper/shaping/plan.ts';
import { DEFAULTS } from '../../../../helper/shaping/rates.ts';
import type { AttachmentRecord } from '../../../../helper/shaping/records.ts';

const ROUTED: AttachmentRecord = {
  ...{ containerId: 'c', ifname: 'eth0', network: 'pods', sandbox: '/run/netns/x', kind: 'netkit' },
  ...{ hostInterface: 'dev7', hostInterfaceIndex: 7, caps: {} },
  hostRouting: { addresses: ['10.0.0.7', '2001:db8::7'] },
};

const DESIRED: Desired = {
  ...{ attachments: [ROUTED], exits: [], arrivals: [], defaults: DEFAULTS },
  ...{ foreignQdisc: 'respect', exempt: [] },
};

test('what is repaired every other second is looked up, and no map is gone through', (t) => {
  const [lost, ...kept] = routingEntries(ROUTED);
  const values = new Map(kept.map((entry) => [routingKeyOf(entry), entry.value]));
  const asked: string[] = [];
  const datapath = {
    hasPage: () => true,
    readConfig: () => undefined,
    readHostInterface: () => undefined,
    readOverhead: () => undefined,
    readRouting: (place: Parameters<Datapath['readRouting']>[0]) => {
      asked.push(routingKeyOf(place));
      return values.get(routingKeyOf(place));
    },
    routingEntries: () => t.fail('the kernel walks through all places of a map'),
  } as unknown as Datapath;
  const observed = observeMaps(datapath, DESIRED, [7]);
  t.deepEqual(observed.routing, kept);
  t.deepEqual(asked.toSorted(), routingEntries(ROUTED).map(routingKeyOf).toSorted());
  t.deepEqual(
    planMaps(DESIRED, observed).filter(({ kind }) => kind === 'write-routing'),
    [{ kind: 'write-routing', ifindex: 7, entry: lost! }],
  );
});
