// Generic netlink (linux/genetlink.h) as far as it takes to hear of a device's channels, which are
// its queues in use (linux/ethtool_netlink.h): rtnetlink says nothing of them. Pure.

import { Attributes, WireError, encodePayload, requireLength } from './attributes.ts';
import { splitMessages } from './netlink-reply.ts';

/** The family that answers for families. */
export const GENL_ID_CTRL = 16;
export const ETHTOOL_FAMILY = 'ethtool';
const MONITOR_GROUP = 'monitor';

/** struct genlmsghdr: command, version, two bytes reserved. */
const GENLMSGHDR_BYTES = 4;
const CTRL_CMD_GETFAMILY = 3;
const CTRL_VERSION = 1;
const CTRL_ATTR_FAMILY_ID = 1;
const CTRL_ATTR_FAMILY_NAME = 2;
const CTRL_ATTR_MCAST_GROUPS = 7;
const CTRL_ATTR_MCAST_GRP_NAME = 1;
const CTRL_ATTR_MCAST_GRP_ID = 2;

const ETHTOOL_MSG_CHANNELS_NTF = 19;
const ETHTOOL_A_CHANNELS_HEADER = 1;
const ETHTOOL_A_CHANNELS_TX_COUNT = 7;
const ETHTOOL_A_CHANNELS_COMBINED_COUNT = 9;
const ETHTOOL_A_HEADER_DEV_INDEX = 1;

/** How a family's events are heard. */
export interface Family {
  readonly id: number;
  /** Number of the group that hears of changes; absent where the kernel has none. */
  readonly monitorGroup?: number;
}

/** A device has another number of queues in use. */
export interface ChannelEvent {
  readonly ifindex: number;
  /** For sending. */
  readonly queues: number;
}

/** Asks GENL_ID_CTRL for a family. */
export function encodeFamilyQuery(name: string): Buffer {
  const header = Buffer.from([CTRL_CMD_GETFAMILY, CTRL_VERSION, 0, 0]);
  return encodePayload(header, (attributes) => attributes.string(CTRL_ATTR_FAMILY_NAME, name));
}

/** Decodes the answer. Throws WireError. */
export function decodeFamily(payload: Buffer): Family {
  requireLength('family', payload, GENLMSGHDR_BYTES);
  const attributes = Attributes.decode(payload.subarray(GENLMSGHDR_BYTES));
  const id = attributes.bytes(CTRL_ATTR_FAMILY_ID);
  if (id?.length !== 2) throw new WireError('Cannot decode family: it has no number');
  const groups = attributes.nested(CTRL_ATTR_MCAST_GROUPS)?.all() ?? [];
  const monitor = groups
    .map((group) => Attributes.decode(group))
    .find((group) => group.string(CTRL_ATTR_MCAST_GRP_NAME) === MONITOR_GROUP);
  const monitorGroup = monitor?.u32(CTRL_ATTR_MCAST_GRP_ID);
  return { id: id.readUInt16LE(), ...(monitorGroup !== undefined && { monitorGroup }) };
}

/** The changes of channels in one datagram of the family with number `id`. Throws WireError. */
export function decodeChannelEvents(datagram: Buffer, id: number): ChannelEvent[] {
  return splitMessages(datagram).flatMap(({ type, data }) => {
    if (
      type !== id ||
      data.length < GENLMSGHDR_BYTES ||
      data.readUInt8(0) !== ETHTOOL_MSG_CHANNELS_NTF
    )
      return [];
    const attributes = Attributes.decode(data.subarray(GENLMSGHDR_BYTES));
    const ifindex = attributes.nested(ETHTOOL_A_CHANNELS_HEADER)?.u32(ETHTOOL_A_HEADER_DEV_INDEX);
    const sending = attributes.u32(ETHTOOL_A_CHANNELS_TX_COUNT) ?? 0;
    const combined = attributes.u32(ETHTOOL_A_CHANNELS_COMBINED_COUNT) ?? 0;
    return ifindex === undefined ? [] : [{ ifindex, queues: sending + combined }];
  });
}
