// The mark that stands with the pins: which layout they are of. A map with one value, so that it
// lives as long as they do.

import fs from 'node:fs';
import path from 'node:path';
import {
  decodeLayoutMark,
  encodeLayoutMark,
  LAYOUT_MARK_SIZE,
  type LayoutMark,
} from '../wire/layout.ts';
import { createMap, lookupElement, MAP_TYPE, mapInfo, updateElement } from './bpf.ts';
import { openIfPinned, replacePin } from './pins.ts';

/** Name of its pin. */
export const MARK = 'layout';
const FIRST_KEY = Buffer.alloc(4);

/**
 * The mark in a directory of pins; undefined when there is none. Throws RangeError for something
 * else of that name.
 */
export function readPinnedLayout(directory: string): LayoutMark | undefined {
  const fd = openIfPinned(path.join(directory, MARK));
  if (fd === undefined) return undefined;
  try {
    return decodeLayoutMark(lookupElement(fd, FIRST_KEY, mapInfo(fd).valueSize) ?? Buffer.alloc(0));
  } finally {
    fs.closeSync(fd);
  }
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
  const fd = createMap({ ...shape, name: 'podpace_layout' });
  try {
    updateElement(fd, FIRST_KEY, encodeLayoutMark(mark));
    replacePin(fd, path.join(directory, MARK));
  } finally {
    fs.closeSync(fd);
  }
}
