// Long answers come in pages, since a message is limited.

import { MAX_MESSAGE_BYTES } from './frame.ts';

/** Room for the rest of the message. */
const PAGE_BYTES = MAX_MESSAGE_BYTES - 1024;

/** The first items, as many as fit into one message; at least one. */
export function fitting<T>(items: readonly T[]): T[] {
  let bytes = 0;
  const end = items.findIndex((item, index) => {
    bytes += Buffer.byteLength(JSON.stringify(item)) + 1;
    return index > 0 && bytes > PAGE_BYTES;
  });
  return items.slice(0, end < 0 ? items.length : end);
}
