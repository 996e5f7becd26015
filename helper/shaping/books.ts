// What of an aggregate's packets has vanished between the classifier and the exits, from its book. Pure.

import type { Books } from '../protocol/messages.ts';
import type { AggregateBook } from '../wire/book.ts';

/** Frames and bytes, as numbers: exact below 2^53. */
export interface Vanished {
  readonly frames: number;
  readonly bytes: number;
}

/**
 * What was seen and is not settled. Neither number is taken alone: where the exit has another link header than the pod's
 * interface the bytes differ though no frame is missing, and where the node reassembles fragments there are fewer frames
 * though hardly a byte is missing. So frames count as missing with their mean length, and bytes for no more than that.
 */
export function vanishedOf(seen: Vanished, settled: Vanished): Vanished {
  const frames = seen.frames - settled.frames;
  const bytes = seen.bytes - settled.bytes;
  if (frames <= 0 || bytes <= 0) return { frames: 0, bytes: 0 };
  return { frames, bytes: Math.round(Math.min(bytes, (frames * seen.bytes) / seen.frames)) };
}

function numbersOf({ frames, bytes }: AggregateBook['seen']): Vanished {
  return { frames: Number(frames), bytes: Number(bytes) };
}

/** What was seen of an aggregate's packets, and what is settled. */
export function talliesOf({ seen, settled }: AggregateBook): {
  readonly seen: Vanished;
  readonly settled: Vanished;
} {
  return { seen: numbersOf(seen), settled: numbersOf(settled) };
}

/** What was seen of what a pod sends and is not settled, since it has its cap. */
export function unaccountedOf(book: AggregateBook): Vanished {
  const { seen, settled } = talliesOf(book);
  return vanishedOf(seen, settled);
}

/** A book as the protocol sends it. */
export function booksOf(book: AggregateBook): Books {
  const { seen, settled } = talliesOf(book);
  const [exempt, dropped] = [numbersOf(book.exempt), numbersOf(book.dropped)];
  const unaccounted = vanishedOf(seen, settled);
  return {
    ...{ seenFrames: seen.frames, seenBytes: seen.bytes },
    ...{ settledFrames: settled.frames, settledBytes: settled.bytes },
    ...{ exemptFrames: exempt.frames, exemptBytes: exempt.bytes },
    ...{ droppedFrames: dropped.frames, droppedBytes: dropped.bytes },
    ...{ unaccountedFrames: unaccounted.frames, unaccountedBytes: unaccounted.bytes },
  };
}
