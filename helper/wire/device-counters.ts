// What devices have received and sent, from the text of /proc/net/dev: one read for all, where a
// dump of links takes ten times as long.

/**
 * Columns behind the name: eight of what was received, bytes first, then the bytes that were sent.
 */
const [RECEIVED_BYTES_COLUMN, SENT_BYTES_COLUMN] = [0, 8];

/** Bytes of devices, by their names. */
export interface DeviceBytes {
  readonly received: Map<string, number>;
  readonly sent: Map<string, number>;
}

/**
 * Bytes that each device has received and sent. Lines that are none of a device are passed over.
 */
export function parseDeviceBytes(text: string): DeviceBytes {
  const [received, sent] = [new Map<string, number>(), new Map<string, number>()];
  for (const line of text.split('\n')) {
    // No name has a colon in it (dev_valid_name in net/core/dev.c); the two lines of the head have
    // none at all.
    const colon = line.indexOf(':');
    const columns = line
      .slice(colon + 1)
      .trim()
      .split(/\s+/);
    const sentBytes = Number(columns[SENT_BYTES_COLUMN]);
    if (colon <= 0 || !Number.isFinite(sentBytes)) continue;
    const name = line.slice(0, colon).trim();
    sent.set(name, sentBytes);
    received.set(name, Number(columns[RECEIVED_BYTES_COLUMN]));
  }
  return { received, sent };
}
