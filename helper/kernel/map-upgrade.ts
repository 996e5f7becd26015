// From the pinned maps of a former layout to those of this one, while packets go on.
//
// A map that is of another shape, or whose values mean something else, is made anew, and what the
// former one holds is copied. When the kernel has taken our programs the former map is pinned under
// former/ as well, and the new one takes its place in one rename. Programs of the former release go
// on in the former maps until each has been replaced (shaping/change-over.ts); then former/ goes.
// All other maps are shared by both: what they hold is not even copied.
//
// The process may end anywhere in this, and whoever starts next goes on:
// - without former/: nothing has happened.
// - former/ without `switching`: no program runs in the new maps. They are filled again from the
//   former ones.
// - with `switching`: some may. Nothing is copied or counted twice: see shaping/carry-over.ts.
// - with `done`, or without a mark: no former program is left; what is left of former/ goes.
// A map has been replaced when the one under its name is not the one under former/.

import fs from 'node:fs';
import path from 'node:path';
import type { BpfMapDefinition, BpfObject } from '../wire/bpf-object.ts';
import {
  conversionsFrom,
  FIRST_LAYOUT_MAPS,
  FIRST_MARK,
  GROWING_MAPS,
  LAYOUT,
  type Conversions,
  type LayoutMark,
} from '../wire/layout.ts';
import { lookupBatches, MAP_TYPE, mapInfo, pinObject, updateBatch } from './bpf.ts';
import { MARK, pinLayout, readPinnedLayout } from './layout-pin.ts';
import { createDefinedMap, mapDifference, openOrCreateMap, requireShapes } from './pinned-maps.ts';
import { openIfPinned, replacePin, withPinned } from './pins.ts';

const FORMER = 'former';
const SWITCHING = 'switching';
const DONE = 'done';

/**
 * The lock of an aggregate's state stands in its gate: both are of one layout, or two locks would
 * guard one state. With its settings an aggregate is kept closed until its clock is carried over
 * (shaping/carry-over.ts): in ours, not in the former's.
 */
const TOGETHER: readonly (readonly string[])[] = [
  ['aggregate_config', 'aggregate_gates', 'aggregate_state'],
];

/** Maps whose elements stand in pages, or that belong to programs: nothing to copy here. */
const UNCOPIED_TYPES: ReadonlySet<number> = new Set([MAP_TYPE.ARRAY_OF_MAPS, MAP_TYPE.PROG_ARRAY]);

function removeFormer(directory: string): void {
  const former = path.join(directory, FORMER);
  fs.mkdirSync(path.join(former, DONE), { recursive: true });
  const names = fs.readdirSync(former).filter((name) => name !== DONE);
  for (const name of names) fs.rmSync(path.join(former, name), { recursive: true, force: true });
  // Last: without it what is left would be taken for the beginning of an upgrade.
  fs.rmSync(former, { recursive: true });
}

/** Takes away what an upgrade under way has put beside the pins, when these are gone. */
export function discardUpgrade(directory: string): void {
  if (fs.existsSync(path.join(directory, FORMER))) removeFormer(directory);
}

/**
 * Puts back what an upgrade to another layout than ours had replaced; no program runs in its maps.
 */
function putBack(directory: string): void {
  const former = path.join(directory, FORMER);
  // The mark last: without it the rest would be taken for what is left of an upgrade that is over.
  const names = fs.readdirSync(former).toSorted((a, b) => Number(a === MARK) - Number(b === MARK));
  for (const name of names) fs.renameSync(path.join(former, name), path.join(directory, name));
  fs.rmdirSync(former);
}

/**
 * The layout that an upgrade to ours has begun from; undefined when there is none that can go on.
 */
function resumable(directory: string): LayoutMark | undefined {
  const former = path.join(directory, FORMER);
  if (!fs.existsSync(former)) return undefined;
  const mark = readPinnedLayout(former);
  const isOver = mark === undefined || fs.existsSync(path.join(former, DONE));
  if (!isOver && readPinnedLayout(directory)?.layout === LAYOUT) return mark;
  // An upgrade to a layout between that one and ours: where its maps are in use they are what we
  // start from.
  if (isOver || fs.existsSync(path.join(former, SWITCHING))) removeFormer(directory);
  else putBack(directory);
  return undefined;
}

/** What an upgrade leads to. */
export interface UpgradeTo {
  /** The release that this executable is of. */
  readonly release: string;
  /** How values of a former layout become ours; conversionsFrom when absent. */
  readonly conversions?: (former: number) => Conversions;
}

/** An upgrade under way: maps that are replaced, and what is known of the former ones. */
export class MapUpgrade {
  readonly #directory: string;
  readonly #from: LayoutMark;
  readonly #release: string;
  readonly #conversions: Conversions;
  readonly #former = new Map<string, number>();
  /** Maps that are not pinned yet. */
  readonly #made = new Map<string, number>();
  /** Whether programs may be running in the new maps already: an earlier process has got so far. */
  readonly isResumed: boolean;

  private constructor(directory: string, from: LayoutMark, { release, conversions }: UpgradeTo) {
    this.#directory = directory;
    this.#from = from;
    this.#release = release;
    this.#conversions = (conversions ?? conversionsFrom)(from.layout);
    this.isResumed = fs.existsSync(this.#formerPin(SWITCHING));
  }

  /**
   * Looks at pins that are not of a newer layout than ours; undefined when all maps can be used as
   * they are, which the mark says afterwards. Throws Error for maps without a mark that are not
   * those of the first layout either.
   */
  static begin(directory: string, object: BpfObject, to: UpgradeTo): MapUpgrade | undefined {
    const resumed = resumable(directory);
    if (resumed !== undefined) return new MapUpgrade(directory, resumed, to);
    const { release } = to;
    const ours = { layout: LAYOUT, release };
    const hasMaps = object.maps.some(({ name }) => fs.existsSync(path.join(directory, name)));
    const mark = readPinnedLayout(directory);
    if (mark === undefined) requireShapes(directory, FIRST_LAYOUT_MAPS);
    const upgrade = new MapUpgrade(directory, mark ?? (hasMaps ? FIRST_MARK : ours), to);
    if (upgrade.#namesToReplace(object).size > 0) return upgrade;
    if (mark?.layout !== LAYOUT || mark.release !== release) pinLayout(directory, ours);
    return undefined;
  }

  /**
   * Opens all maps of an object, those of this layout, filled as far as it can be; `opened` gets
   * each descriptor at once. Pins stay as they are.
   */
  openMaps(object: BpfObject, btfFd: number, opened: number[]): Map<string, number> {
    const names = this.#namesToReplace(object);
    const maps = new Map<string, number>();
    for (const definition of object.maps) {
      const { name } = definition;
      const former = names.has(name) ? this.#openFormer(name, opened) : undefined;
      if (former === undefined || this.#isReplaced(name, former)) {
        maps.set(name, openOrCreateMap(this.#directory, definition, btfFd));
      } else {
        this.#made.set(name, createDefinedMap(definition, btfFd));
        maps.set(name, this.#made.get(name) ?? -1);
      }
      opened.push(maps.get(name) ?? -1);
      // Of a resumed upgrade ours have been filled, and are in use.
      if (this.isResumed || former === undefined || UNCOPIED_TYPES.has(definition.type)) continue;
      this.#copy(name, former, maps.get(name) ?? -1);
    }
    return maps;
  }

  /** Puts the new maps in the place of the former ones. */
  pin(): void {
    fs.mkdirSync(this.#formerPin('.'), { recursive: true, mode: 0o700 });
    pinLayout(this.#formerPin('.'), this.#from);
    pinLayout(this.#directory, { layout: LAYOUT, release: this.#release });
    for (const [name, fd] of this.#made) {
      if (!fs.existsSync(this.#formerPin(name)))
        pinObject(this.#former.get(name) ?? -1, this.#formerPin(name));
      replacePin(fd, path.join(this.#directory, name));
    }
    this.#made.clear();
  }

  /**
   * Descriptor of the map that a replaced one took the place of; undefined for one that both
   * layouts share.
   */
  formerMap(name: string): number | undefined {
    return this.#former.get(name);
  }

  /** The value of a former map in this layout; undefined when nothing can be made of it. */
  convert(name: string, former: Buffer, size: number): Buffer | undefined {
    const value = this.#conversions.get(name)?.(former) ?? former;
    const isShorter = value.length < size && GROWING_MAPS.has(name);
    if (isShorter) return Buffer.concat([value], size);
    return value.length === size ? value : undefined;
  }

  /** Call before the first program is replaced. */
  beginSwitching(): void {
    fs.mkdirSync(this.#formerPin(SWITCHING), { recursive: true, mode: 0o700 });
  }

  /** Call when no former program is left: lets go of the former maps. */
  finish(): void {
    removeFormer(this.#directory);
    for (const fd of this.#former.values()) fs.closeSync(fd);
    this.#former.clear();
  }

  #formerPin(name: string): string {
    return path.join(this.#directory, FORMER, name);
  }

  /** Names of the pinned maps that have to be made anew, or have been. */
  #namesToReplace({ maps }: BpfObject): Set<string> {
    const names = new Set(
      maps.filter((definition) => this.#mustReplace(definition)).map(({ name }) => name),
    );
    for (const group of TOGETHER)
      if (group.some((name) => names.has(name))) for (const name of group) names.add(name);
    // Former programs go on in each other, and only in those that use the same maps.
    if (names.size > 0)
      for (const { name, type } of maps) if (type === MAP_TYPE.PROG_ARRAY) names.add(name);
    return names;
  }

  #mustReplace(definition: BpfMapDefinition): boolean {
    if (fs.existsSync(this.#formerPin(definition.name))) return true;
    const { name } = definition;
    const isOther = (fd: number): boolean =>
      this.#conversions.has(name) || mapDifference(fd, definition) !== undefined;
    return withPinned(path.join(this.#directory, name), isOther) === true;
  }

  #openFormer(name: string, opened: number[]): number | undefined {
    const fd =
      openIfPinned(this.#formerPin(name)) ?? openIfPinned(path.join(this.#directory, name));
    if (fd === undefined) return undefined;
    opened.push(fd);
    this.#former.set(name, fd);
    return fd;
  }

  #isReplaced(name: string, former: number): boolean {
    const isOther = (fd: number): boolean => mapInfo(fd).id !== mapInfo(former).id;
    return withPinned(path.join(this.#directory, name), isOther) === true;
  }

  #copy(name: string, former: number, fd: number): void {
    const [from, to] = [mapInfo(former), mapInfo(fd)];
    if (from.type !== to.type || from.keySize !== to.keySize) return;
    for (const { keys, values, count } of lookupBatches(former, from.keySize, from.valueSize)) {
      const converted = Array.from({ length: count }, (_, at) =>
        this.convert(
          name,
          values.subarray(at * from.valueSize, (at + 1) * from.valueSize),
          to.valueSize,
        ),
      ).filter((value) => value !== undefined);
      // All or none: what becomes of a value does not hang on what it is.
      if (converted.length < count || count === 0) return;
      updateBatch(fd, { keys, values: Buffer.concat(converted), count });
    }
  }
}
