import test from 'ava';
import { Arrivals } from '../../../../helper/control/arrivals.ts';
import type { Datapath } from '../../../../helper/control/datapath.ts';
import type { AttachmentRecord } from '../../../../helper/shaping/records.ts';

const LOOKS = 3;

/** Of a pod whose host interface is a device that every namespace has. */
function recordOf(containerId: string, hostInterfaceIndex: number): AttachmentRecord {
  return {
    ...{ containerId, ifname: 'eth0', network: 'pods', sandbox: '/run/netns/x' },
    ...{ caps: { ingress: { rateBitsPerSec: 8_000_000 } }, ingressAggregateId: 4097 },
    ...{ hostInterface: 'lo', hostInterfaceIndex },
  };
}

test('what comes to attachments that share an aggregate is taken together, and each is told of', async (t) => {
  const attachments = [recordOf('one', 7), recordOf('other', 8)];
  let [looks, reads] = [0, 0];
  /** The pod's end of the pair of device N is N + 100 of another namespace. */
  const get = async ({ operation }: { readonly operation: string }): Promise<object> => {
    const index = Number(/link (\d+)/.exec(operation)?.[1]);
    if (operation.startsWith('find')) return { linkIndex: index + 100, linkNetnsId: 1 };
    reads += 1;
    return { linkIndex: index - 100, receivedBytes: looks * 1e12 };
  };
  const datapath = {
    promptRt: { get },
    readCounters: () => new Map(),
    readBook: () => ({ exempt: { bytes: 0n } }),
    maps: { aggregateConfig: { at: () => ({ rateBytesPerSec: 1_000_000 }) } },
  } as unknown as Datapath;
  const lines: string[] = [];
  const arrivals = new Arrivals(datapath, (_level, message) => lines.push(message));
  for (looks = 1; looks <= LOOKS; looks += 1) await arrivals.look(attachments);
  t.is(reads, LOOKS * attachments.length);
  t.deepEqual(
    arrivals.problems().map(({ scopes }) => scopes),
    attachments.map((key) => [{ of: 'attachment', key, direction: 'ingress' }]),
  );
  t.deepEqual(
    lines.map((line) => /what (.*) receives/.exec(line)?.[1]),
    ['one/eth0', 'other/eth0'],
  );
});
