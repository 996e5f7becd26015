// The mark that stands with the pins: which layout they are of. A map with one value, so that it
// lives as long as they do.

import path from 'node:path';
import {
  decodeLayoutMark,
  encodeLayoutMark,
  LAYOUT_MARK_SIZE,
  type LayoutMark,
} from '../wire/layout.ts';
import { createMap, lookupElement, MAP_TYPE, mapInfo, updateElement } from './bpf.ts';
import { closing } from './descriptors.ts';
import { replacePin, withPinned } from './pins.ts';

/** Name of its pin. */
export const MARK = 'layout';
const FIRST_KEY = Buffer.alloc(4);

/**
 * The mark in a directory of pins; undefined when there is none. Throws RangeError for something
 * else of that name.
 */
export function readPinnedLayout(directory: string): LayoutMark | undefined {
  return withPinned(path.join(directory, MARK), (fd) =>
    decodeLayoutMark(lookupElement(fd, FIRST_KEY, mapInfo(fd).valueSize) ?? Buffer.alloc(0)),
  );
}

/** Puts a mark in the place of the one that is there. */
export function pinLayout(directory: string, mark: LayoutMark): void {
  const shape = {
    type: MAP_TYPE.ARRAY,
    keySize: 4,
    valueSize: LAYOUT_MARK_SIZE,
    maxEntries: 1,
    flags: 0,
  };
  closing(createMap({ ...shape, name: 'podpace_layout' }), (fd) => {
    updateElement(fd, FIRST_KEY, encodeLayoutMark(mark));
    replacePin(fd, path.join(directory, MARK));
  });
}
