import test from 'ava';
import { Bookkeeping } from '../../../../helper/control/bookkeeping.ts';
import type { Datapath } from '../../../../helper/control/datapath.ts';
import type { Exit } from '../../../../helper/shaping/exits.ts';
import type { AttachmentRecord } from '../../../../helper/shaping/records.ts';
import type { Counted } from '../../../../helper/shaping/unseen.ts';

const AGGREGATE_ID = 4096;
const UPLINK: Exit = {
  ...{ ifindex: 2, name: 'uplink0', kind: 'device', holders: [2], hasFrames: true },
  role: 'uplink',
};
const BETWEEN_LOOKS_MS = 3_000;

/** Of a pod whose host interface is a device that every namespace has. */
function recordOf(containerId: string, hostInterfaceIndex: number): AttachmentRecord {
  return {
    ...{ containerId, ifname: 'eth0', network: 'pods', sandbox: '/run/netns/x' },
    ...{ caps: { egress: { rateBitsPerSec: 8_000_000 } }, egressAggregateId: AGGREGATE_ID },
    ...{ hostInterface: 'lo', hostInterfaceIndex },
  };
}

test('attachments that share an aggregate are one in the books, by the devices of all, and each is told of', async (t) => {
  let [looks, reads] = [0, 0];
  const [counted, lines]: [Map<number, Counted>[], string[]] = [[], []];
  const nothing = { frames: 0n, bytes: 0n };
  const datapath = {
    readBooks: (ids: Iterable<number>) => {
      reads += 1;
      const seen = { frames: BigInt(looks * 1_000), bytes: BigInt(looks * 1_000_000) };
      const book = { seen, settled: nothing, exempt: nothing, dropped: nothing };
      return new Map(Array.from(ids, (id) => [id, book]));
    },
    readUnsignedBytes: () => new Map([[UPLINK.ifindex, looks * 1_000_000]]),
    unseen: { add: (all: Map<number, Counted>) => counted.push(all), bytesOf: () => 0 },
    devices: { links: async () => [] },
    maps: { aggregateConfig: { first: () => [{ rateBytesPerSec: 1_000_000 }] } },
  } as unknown as Datapath;
  const attachments = [recordOf('one', 7), recordOf('other', 8)];
  const bookkeeping = new Bookkeeping(
    datapath,
    (_level, message) => lines.push(message),
    () => looks * BETWEEN_LOOKS_MS,
  );
  for (looks = 1; looks <= 7; looks += 1) await bookkeeping.look({ attachments, exits: [UPLINK] });
  t.is(reads, 7, 'one book at each look');
  t.is(counted.at(-1)?.get(AGGREGATE_ID)?.devices, '7,8');
  t.deepEqual(
    bookkeeping.problems().map(({ scopes }) => scopes),
    attachments.map((key) => [{ of: 'attachment', key, direction: 'egress' }]),
  );
  t.deepEqual(
    lines.map((line) => /what (.*) sends/.exec(line)?.[1]),
    ['one/eth0', 'other/eth0'],
  );
});
