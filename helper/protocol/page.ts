// Long answers come in pages, since a message is limited.

import { cutToFit } from './cut.ts';
import { MAX_MESSAGE_BYTES } from './frame.ts';

/** Room for the rest of the message. */
const PAGE_BYTES = MAX_MESSAGE_BYTES - 1024;

/**
 * The first items, as many as fit into one message; at least one, which is cut where it is too
 * large in itself.
 */
export function fitting<T>(items: readonly T[]): T[] {
  const page: T[] = [];
  let bytes = 0;
  for (const item of items) {
    const whole = cutToFit(item, PAGE_BYTES - 1);
    bytes += Buffer.byteLength(JSON.stringify(whole)) + 1;
    if (page.length > 0 && bytes > PAGE_BYTES) break;
    page.push(whole);
  }
  return page;
}
