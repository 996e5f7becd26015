// What devices have sent, from the text of /proc/net/dev: one read for all, where a dump of links takes ten times as long.

/** Columns behind the name: eight of what was received, then the bytes that were sent. */
const SENT_BYTES_COLUMN = 8;

/** Bytes that each device has sent, by its name. Lines that are none of a device are passed over. */
export function parseSentBytes(text: string): Map<string, number> {
  const sent = new Map<string, number>();
  for (const line of text.split('\n')) {
    // No name has a colon in it (dev_valid_name in net/core/dev.c); the two lines of the head have none at all.
    const colon = line.indexOf(':');
    const bytes = Number(
      line
        .slice(colon + 1)
        .trim()
        .split(/\s+/)[SENT_BYTES_COLUMN],
    );
    if (colon > 0 && Number.isFinite(bytes)) sent.set(line.slice(0, colon).trim(), bytes);
  }
  return sent;
}
