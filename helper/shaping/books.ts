// What of an aggregate's packets has vanished between the classifier and the exits, from its book.
// Pure.

import type { Books } from '../protocol/messages.ts';
import type { AggregateBook } from '../wire/book.ts';

/** Frames and bytes, as numbers: exact below 2^53. */
export interface Vanished {
  readonly frames: number;
  readonly bytes: number;
}

/**
 * What was seen and is not settled. Neither number is taken alone: where the exit has another link
 * header than the pod's interface the bytes differ though no frame is missing, and where the node
 * reassembles fragments there are fewer frames though hardly a byte is missing. So frames count as
 * missing with their mean length, and bytes for no more than that.
 */
export function vanishedOf(seen: Vanished, settled: Vanished): Vanished {
  const frames = seen.frames - settled.frames;
  const bytes = seen.bytes - settled.bytes;
  if (frames <= 0 || bytes <= 0) return { frames: 0, bytes: 0 };
  return { frames, bytes: Math.round(Math.min(bytes, (frames * seen.bytes) / seen.frames)) };
}

/** Where no frame was seen that would tell. */
const FULL_FRAME_BYTES = 1514;

function numbersOf({ frames, bytes }: AggregateBook['seen']): Vanished {
  return { frames: Number(frames), bytes: Number(bytes) };
}

/**
 * What came up of an aggregate's packets, and what is settled. What the classifier has not seen
 * came up too, in frames as the others are.
 */
export function talliesOf(
  { seen, settled }: AggregateBook,
  unseenBytes = 0,
): { readonly seen: Vanished; readonly settled: Vanished } {
  const { frames, bytes } = numbersOf(seen);
  const frameBytes = frames === 0 ? FULL_FRAME_BYTES : bytes / frames;
  const cameUp = {
    frames: frames + Math.ceil(unseenBytes / frameBytes),
    bytes: bytes + unseenBytes,
  };
  return { seen: cameUp, settled: numbersOf(settled) };
}

/** What came up of what a pod sends and is not settled, since it has its cap. */
export function unaccountedOf(book: AggregateBook, unseenBytes = 0): Vanished {
  const { seen, settled } = talliesOf(book, unseenBytes);
  return vanishedOf(seen, settled);
}

/** A book as the protocol sends it. */
export function booksOf(book: AggregateBook, unseenBytes = 0): Books {
  const [seen, settled] = [numbersOf(book.seen), numbersOf(book.settled)];
  const [exempt, dropped] = [numbersOf(book.exempt), numbersOf(book.dropped)];
  const unaccounted = unaccountedOf(book, unseenBytes);
  return {
    ...{ seenFrames: seen.frames, seenBytes: seen.bytes },
    ...{ settledFrames: settled.frames, settledBytes: settled.bytes },
    ...{ exemptFrames: exempt.frames, exemptBytes: exempt.bytes },
    ...{ droppedFrames: dropped.frames, droppedBytes: dropped.bytes },
    ...{ unaccountedFrames: unaccounted.frames, unaccountedBytes: unaccounted.bytes },
  };
}
