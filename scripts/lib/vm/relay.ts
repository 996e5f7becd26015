import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';

/**
 * Copies a stream until the end mark, which is not copied. Bytes are passed on as they come; only
 * what may be the beginning of the mark is held back. Returns whether the mark was seen before the
 * stream ended.
 */
export async function relayUntil(
  endMark: string,
  source: Readable,
  sink: Writable,
): Promise<boolean> {
  const mark = Buffer.from(endMark);
  let held: Buffer = Buffer.alloc(0);
  for await (const chunk of source as AsyncIterable<Buffer>) {
    const data = Buffer.concat([held, chunk]);
    const end = data.indexOf(mark);
    if (end >= 0) {
      await write(sink, data.subarray(0, end));
      return true;
    }
    const heldLength = commonLength(data, mark);
    await write(sink, data.subarray(0, data.length - heldLength));
    held = data.subarray(data.length - heldLength);
  }
  await write(sink, held);
  return false;
}

async function write(sink: Writable, data: Buffer): Promise<void> {
  if (data.length > 0 && !sink.write(data)) await once(sink, 'drain');
}

/** Length of the longest end of data that is a beginning of mark. */
function commonLength(data: Buffer, mark: Buffer): number {
  let length = Math.min(data.length, mark.length - 1);
  while (length > 0 && !data.subarray(data.length - length).equals(mark.subarray(0, length)))
    length--;
  return length;
}
