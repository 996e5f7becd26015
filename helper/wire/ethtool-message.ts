// Generic netlink (linux/genetlink.h) as far as it takes to hear of a device's channels, which are
// its queues in use (linux/ethtool_netlink.h): rtnetlink says nothing of them. Pure.

import { Attributes, AttributeTable, MessageFormat, WireError } from './attributes.ts';
import { splitMessages } from './netlink-reply.ts';
import { Struct } from './struct.ts';

/** The family that answers for families. */
export const GENL_ID_CTRL = 16;
export const ETHTOOL_FAMILY = 'ethtool';
const MONITOR_GROUP = 'monitor';

export const GENLMSGHDR = new Struct('generic netlink message', {
  ...{ command: 'u8', version: 'u8', reserved: 'u16' },
});
const CTRL_CMD_GETFAMILY = 3;
const CTRL_VERSION = 1;
/** CTRL_ATTR_*, and of each group CTRL_ATTR_MCAST_GRP_*. */
const FAMILY = new MessageFormat(GENLMSGHDR, {
  id: [1, 'u16'],
  name: [2, 'string'],
  groups: [7, 'bytes'],
});
const GROUP = new AttributeTable({ name: [1, 'string'], id: [2, 'u32'] });

const ETHTOOL_MSG_CHANNELS_NTF = 19;
/** ETHTOOL_A_CHANNELS_*. */
const CHANNELS = new MessageFormat(GENLMSGHDR, {
  device: [1, new AttributeTable({ index: [1, 'u32'] })],
  sending: [7, 'u32'],
  combined: [9, 'u32'],
});

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
  return FAMILY.encode({ command: CTRL_CMD_GETFAMILY, version: CTRL_VERSION, name });
}

/** Decodes the answer. Throws WireError. */
export function decodeFamily(payload: Buffer): Family {
  const { id, groups = Buffer.alloc(0) } = FAMILY.decode(payload);
  if (id === undefined) throw new WireError('Cannot decode family: it has no number');
  const monitor = Attributes.decode(groups)
    .all()
    .map((group) => GROUP.decode(group))
    .find(({ name }) => name === MONITOR_GROUP);
  return { id, ...(monitor?.id !== undefined && { monitorGroup: monitor.id }) };
}

/** The changes of channels in one datagram of the family with number `id`. Throws WireError. */
export function decodeChannelEvents(datagram: Buffer, id: number): ChannelEvent[] {
  return splitMessages(datagram).flatMap(({ type, data }) => {
    if (type !== id || data[0] !== ETHTOOL_MSG_CHANNELS_NTF) return [];
    const { device, sending = 0, combined = 0 } = CHANNELS.decodeAttributes(data);
    return device?.index === undefined
      ? []
      : [{ ifindex: device.index, queues: sending + combined }];
  });
}
