// A program that decides about packets which nftables puts into a queue (NFQUEUE), as inspection in
// user space does: struct nfgenmsg of linux/netfilter/nfnetlink.h, NFQNL_* and NFQA_* of
// linux/netfilter/nfnetlink_queue.h.

import { Protocol } from 'netlink/dist/constants.js';
import { formatMessage } from 'netlink/dist/structs.js';
import type { ExecutionContext } from 'ava';
import { inNetns } from '../../helper/kernel/netns.ts';
import { NetlinkSocket } from '../../helper/kernel/netlink-socket.ts';
import { Attributes, encodePayload } from '../../helper/wire/attributes.ts';
import { splitMessages } from '../../helper/wire/netlink-reply.ts';
import { checksum } from './checksum.ts';
import type { TestNetns } from './netns.ts';

const SUBSYSTEM = 3 << 8;
const [PACKET, VERDICT, CONFIG] = [0, 1, 2].map((message) => SUBSYSTEM | message);
const NFGENMSG_BYTES = 4;
const [CONFIG_COMMAND, CONFIG_PARAMETERS] = [1, 2];
/** NFQNL_CFG_CMD_BIND, and NFQNL_COPY_PACKET of all there is. */
const BIND = Buffer.from('01000000', 'hex');
const COPY_ALL = Buffer.from('0000ffff02', 'hex');
const [PACKET_HEADER, VERDICT_HEADER, PAYLOAD] = [1, 2, 10];
const ACCEPT = 1;
const REQUEST = 1;
/** Larger than a packet and what is said of it. */
const DATAGRAM_BYTES = 16 * 1024;

/** A packet of IPv4 with another type of service, and a checksum that fits. */
function remarked(packet: Buffer, tos: number): Buffer {
  const changed = Buffer.from(packet);
  changed.writeUInt8(tos, 1);
  changed.writeUInt16BE(0, 10);
  const header = changed.subarray(0, 4 * (changed.readUInt8() & 15));
  changed.writeUInt16BE(checksum(header), 10);
  return changed;
}

/**
 * Accepts what comes to queue 0 of a namespace, with another type of service, until the test ends.
 */
export function listenToQueue(t: ExecutionContext, { netns }: TestNetns, tos: number): void {
  const socket = inNetns(netns, () => new NetlinkSocket(Protocol.NETFILTER, DATAGRAM_BYTES));
  t.teardown(() => socket.close());
  socket.unref();
  const send = (type: number, attributes: readonly (readonly [number, Buffer])[]): void => {
    const data = encodePayload(Buffer.alloc(NFGENMSG_BYTES), (writer) => {
      for (const [attribute, value] of attributes) writer.bytes(attribute, value);
    });
    const message = Buffer.concat(formatMessage({ type, flags: REQUEST, seq: 0, port: 0, data }));
    socket.send(message, (error) => {
      if (error !== undefined) t.fail(`a verdict: ${error.message}`);
    });
  };
  socket.on('message', (datagram) => {
    for (const { type, data } of splitMessages(datagram)) {
      if (type !== PACKET) continue;
      const attributes = Attributes.decode(data.subarray(NFGENMSG_BYTES));
      const id = attributes.bytes(PACKET_HEADER)?.readUInt32BE() ?? 0;
      const verdict = Buffer.alloc(8);
      verdict.writeUInt32BE(ACCEPT, 0);
      verdict.writeUInt32BE(id, 4);
      const payload = attributes.bytes(PAYLOAD);
      send(VERDICT ?? 0, [
        [VERDICT_HEADER ?? 0, verdict],
        ...(payload === undefined ? [] : [[PAYLOAD ?? 0, remarked(payload, tos)] as const]),
      ]);
    }
  });
  for (const [attribute = 0, value] of [
    [CONFIG_COMMAND, BIND],
    [CONFIG_PARAMETERS, COPY_ALL],
  ] as const)
    send(CONFIG ?? 0, [[attribute, value]]);
}
