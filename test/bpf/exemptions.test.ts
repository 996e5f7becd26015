// Whose far end is exempt is neither delayed nor charged, whichever program meets the packet.

import test from 'ava';
import { AGGREGATE_ID_MIN, EXEMPT_NODE, EXEMPT_OWN } from '../../helper/wire/aggregate.ts';
import { NODE_LIST } from '../../helper/wire/exemption.ts';
import { ETHER_TYPE_IPV6, type TestPacket } from '../bed/test-packet.ts';
import { TestDatapath } from '../kit/datapath.ts';

const CONFIG = {
  rateBytesPerSec: 12_500_000n,
  horizonNs: 50_000_000n,
  idleCreditNs: 0n,
  sparseCreditNs: 0n,
  targetNs: 0n,
  intervalNs: 100_000_000n,
};
const ID = AGGREGATE_ID_MIN;
const OTHER = AGGREGATE_ID_MIN + 1;

let datapath: TestDatapath;

test.before(() => {
  datapath = new TestDatapath();
});

test.after.always(() => {
  datapath?.close();
});

test.beforeEach(() => {
  datapath.aimAt('podpace_depart');
  datapath.setHostInterface(undefined);
  for (const list of [NODE_LIST, ID, OTHER]) datapath.setExemptions(list, []);
});

function isCharged(packet: TestPacket, lists: number): boolean {
  datapath.configure(ID, CONFIG, lists);
  datapath.forget(ID);
  const { tstampNs } = datapath.send({ queueMapping: ID, wireLen: 1514, tstampNs: 5n, ...packet });
  const isClockMoved = datapath.clock(ID).lastNs !== 0n;
  if (isClockMoved !== (tstampNs !== 5n))
    throw new Error('charged and not stamped, or the other way round');
  return isClockMoved;
}

test.serial('the longest prefix decides, in whichever list it stands', (t) => {
  datapath.setExemptions(NODE_LIST, ['10.0.0.0/8', '!10.1.0.0/16', '192.0.2.7']);
  datapath.setExemptions(ID, ['10.1.2.0/24', '!10.2.0.0/16']);
  const both = EXEMPT_NODE | EXEMPT_OWN;
  for (const [destination, isExempt] of [
    ['10.9.9.9', true],
    ['10.1.9.9', false],
    ['10.1.2.3', true],
    ['10.2.3.4', false],
    ['192.0.2.7', true],
    ['192.0.2.8', false],
  ] as const)
    t.is(isCharged({ destination }, both), !isExempt, destination);
  t.true(isCharged({ destination: '10.1.2.3' }, EXEMPT_NODE), 'its own list is not asked');
  t.true(isCharged({ destination: '10.9.9.9' }, EXEMPT_OWN), "the node's list is not asked");
  t.true(isCharged({ destination: '10.9.9.9' }, 0));
});

test.serial(
  'of two prefixes of one length its own wins, and the list of another aggregate is none of its',
  (t) => {
    datapath.setExemptions(NODE_LIST, ['10.0.0.0/8']);
    datapath.setExemptions(ID, ['!10.0.0.0/8']);
    datapath.setExemptions(OTHER, ['10.0.0.0/16']);
    t.true(isCharged({ destination: '10.0.0.9' }, EXEMPT_NODE | EXEMPT_OWN));
  },
);

test.serial('IPv6 is looked up by all of its bits', (t) => {
  datapath.setExemptions(NODE_LIST, ['2001:db8:1::/48', '!2001:db8:1::5']);
  const etherType = ETHER_TYPE_IPV6;
  t.false(isCharged({ etherType, destination: '2001:db8:1::4' }, EXEMPT_NODE));
  t.true(isCharged({ etherType, destination: '2001:db8:1::5' }, EXEMPT_NODE));
  t.true(isCharged({ etherType, destination: '2001:db8:2::4' }, EXEMPT_NODE));
  t.true(
    isCharged({ etherType, destination: '2001:db8:2::4', source: '2001:db8:1::4' }, EXEMPT_NODE),
  );
});

test.serial('everything of a family can be exempt', (t) => {
  datapath.setExemptions(NODE_LIST, ['0.0.0.0/0']);
  t.false(isCharged({ destination: '203.0.113.1' }, EXEMPT_NODE));
  t.true(isCharged({ etherType: ETHER_TYPE_IPV6 }, EXEMPT_NODE));
});

test.serial('into a pod it is the source that counts', (t) => {
  datapath.aimAt('podpace_deliver');
  datapath.setHostInterface({ egressId: 0, ingressId: ID });
  datapath.setExemptions(NODE_LIST, ['10.5.0.0/16']);
  t.false(isCharged({ queueMapping: 0, source: '10.5.0.1' }, EXEMPT_NODE));
  t.true(isCharged({ queueMapping: 0, destination: '10.5.0.1' }, EXEMPT_NODE));
});
