// Maps of an object, pinned by name: used again as long as they are of the same shape, or made.

import fs from 'node:fs';
import path from 'node:path';
import type { BpfMapDefinition } from '../wire/bpf-object.ts';
import type { MapShape } from '../wire/layout.ts';
import { createMap, MAP_TYPE, mapInfo, pinObject, type MapInfo } from './bpf.ts';
import { closing } from './descriptors.ts';
import { MapPages } from './map-pages.ts';
import { openIfPinned } from './pins.ts';

/** What must be equal for a pinned map to be used again. */
const MAP_PROPERTIES = ['type', 'keySize', 'valueSize', 'maxEntries', 'flags'] as const;

function shapeDifference(pinned: MapInfo, wanted: MapShape): string | undefined {
  const differences = MAP_PROPERTIES.filter(
    (property) => pinned[property] !== wanted[property],
  ).map((property) => `${property} is ${pinned[property]}, not ${wanted[property]}`);
  return differences.length === 0 ? undefined : differences.join(', ');
}

/**
 * How the pages of a pinned map differ from their definition; undefined when they do not, or when
 * it has none.
 */
function pageDifference(pinned: number, { inner }: MapShape): string | undefined {
  if (inner === undefined) return undefined;
  const pages = new MapPages(pinned, { ...inner, name: '' });
  try {
    // The helper always has the first one.
    return pages.has(0) ? shapeDifference(mapInfo(pages.openPages[0] ?? -1), inner) : undefined;
  } finally {
    pages.close();
  }
}

/** How a map in the kernel differs from what it should be; undefined when it does not. */
export function mapDifference(fd: number, wanted: MapShape): string | undefined {
  return shapeDifference(mapInfo(fd), wanted) ?? pageDifference(fd, wanted);
}

/**
 * Map types that know what keys and values are made of; others, such as arrays of programs, refuse
 * to be told.
 */
const TYPED_MAPS: ReadonlySet<number> = new Set([
  MAP_TYPE.HASH,
  MAP_TYPE.ARRAY,
  MAP_TYPE.PERCPU_HASH,
  MAP_TYPE.PERCPU_ARRAY,
]);

/**
 * Makes a map and returns its descriptor. `btfFd` is of the object's types; the map holds them on
 * its own.
 */
export function createDefinedMap(definition: BpfMapDefinition, btfFd: number): number {
  const { keyTypeId, valueTypeId, inner } = definition;
  const types = TYPED_MAPS.has(definition.type) ? { btfFd, keyTypeId, valueTypeId } : undefined;
  if (inner === undefined) return createMap(definition, types);
  return closing(createMap(inner), (innerFd) => createMap(definition, types, innerFd));
}

function createPinnedMap(pin: string, definition: BpfMapDefinition, btfFd: number): number {
  const fd = createDefinedMap(definition, btfFd);
  try {
    pinObject(fd, pin);
    return fd;
  } catch (error) {
    fs.closeSync(fd);
    throw error;
  }
}

/** Throws Error when a map is of another shape than it should be, and closes it. */
function requireShape(fd: number, pin: string, wanted: MapShape): void {
  const difference = mapDifference(fd, wanted);
  if (difference === undefined) return;
  fs.closeSync(fd);
  throw new Error(
    `Cannot use the map pinned at ${pin}: its ${difference}: it is of another version of podpace; ` +
      'run `podpaced uninstall`, then start again',
  );
}

/** Throws Error when maps are pinned that have other shapes than are known. */
export function requireShapes(directory: string, wanted: ReadonlyMap<string, MapShape>): void {
  for (const [name, shape] of wanted) {
    const pin = path.join(directory, name);
    const fd = openIfPinned(pin);
    if (fd === undefined) continue;
    requireShape(fd, pin, shape);
    fs.closeSync(fd);
  }
}

/**
 * Opens the map that is pinned under its name, or makes and pins it. Throws Error when it is of
 * another shape.
 */
export function openOrCreateMap(
  directory: string,
  definition: BpfMapDefinition,
  btfFd: number,
): number {
  const pin = path.join(directory, definition.name);
  const fd = openIfPinned(pin);
  if (fd === undefined) return createPinnedMap(pin, definition, btfFd);
  requireShape(fd, pin, definition);
  return fd;
}
