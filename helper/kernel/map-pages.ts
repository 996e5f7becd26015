// A map of the datapath whose elements stand in pages: it is an array of maps, each an array of so
// many elements, made when the first of them is needed. What a page holds is found by index alone,
// and takes no memory before.

import fs from 'node:fs';
import { U32 } from '../wire/struct.ts';
import {
  createMap,
  deleteElement,
  lookupElement,
  lookupPerCpu,
  mapFdById,
  mapInfo,
  MAP_TYPE,
  perCpuImage,
  updateEachCpu,
  updateElement,
  updatePerCpu,
  type MapAttributes,
} from './bpf.ts';

/**
 * Before Linux 6.8 whoever looks a page up waits for a grace period of the kernel, some 10 ms
 * (maybe_wait_bpf_programs in kernel/bpf/syscall.c): so it is not done each time there, but at each
 * of the looks that the helper takes every 2 s.
 */
const RECHECK_MS = 1900;
/** A kernel of which any lookup was quicker does not wait. */
const GRACE_PERIOD_MIN_MS = 0.5;

/** Where an element stands. */
interface Place {
  readonly fd: number;
  readonly key: Buffer;
  /** Of a value, of one CPU's where there is one for each. */
  readonly sizeBytes: number;
}

export class MapPages {
  readonly #fd: number;
  readonly #page: MapAttributes;
  readonly #opened = new Map<
    number,
    { readonly id: number; readonly fd: number; readonly seenMs: number }
  >();
  /** Of all lookups of pages. */
  #quickestMs = Infinity;

  /**
   * `fd` is that of the array of maps, which stays the caller's; `page` is what each of its maps is
   * like, with 0 for a size of values that is to be asked for.
   */
  constructor(fd: number, page: MapAttributes) {
    this.#fd = fd;
    this.#page = page;
  }

  /** Bytes of an element; of one CPU's where there is one for each. */
  get valueSize(): number {
    return this.#page.valueSize;
  }

  /**
   * Whether a page is there; where the kernel has lookups wait, whether it was so within the last
   * RECHECK_MS.
   */
  has(number: number): boolean {
    const seenMs = this.#opened.get(number)?.seenMs;
    const waits = this.#quickestMs >= GRACE_PERIOD_MIN_MS;
    if (waits && seenMs !== undefined && performance.now() - seenMs < RECHECK_MS) return true;
    return this.#open(number) !== undefined;
  }

  /**
   * Makes an empty page, unless it is there. Throws KernelError when the kernel has no memory for
   * it.
   */
  make(number: number): void {
    if (this.has(number)) return;
    const fd = createMap(this.#page);
    try {
      updateElement(this.#fd, U32.encode(number), U32.encode(fd));
      this.#opened.set(number, { id: mapInfo(fd).id, fd, seenMs: performance.now() });
    } catch (error) {
      fs.closeSync(fd);
      throw error;
    }
  }

  /**
   * Waits until every program that runs now has ended, when there is a page: with whatever is put
   * into an array of maps the kernel waits for those that may be using what was there
   * (maybe_wait_bpf_programs).
   */
  waitForPrograms(): void {
    const page = this.#opened.get(0)?.fd ?? this.#open(0);
    if (page !== undefined) updateElement(this.#fd, U32.encode(0), U32.encode(page));
  }

  /**
   * Takes a page away that has been seen, with all that it holds; takes a grace period of the
   * kernel.
   */
  remove(number: number): void {
    if (!this.#opened.has(number)) return;
    this.#forget(number);
    deleteElement(this.#fd, U32.encode(number));
  }

  /** The value of an element by its index; undefined while it has no page. */
  get(index: number): Buffer | undefined {
    const place = this.#locate(index);
    return place && lookupElement(place.fd, place.key, place.sizeBytes);
  }

  /** Sets the value of an element, if it has a page. */
  set(index: number, value: Buffer): void {
    const place = this.#locate(index);
    if (place !== undefined) updateElement(place.fd, place.key, value);
  }

  /** The same of each CPU, in the order of lookupPerCpu; none while it has no page. */
  getEachCpu(index: number): Buffer[] {
    const place = this.#locate(index);
    return (place && lookupPerCpu(place.fd, place.key, place.sizeBytes)) ?? [];
  }

  /** All values of a page of a per-CPU array, as perCpuImage has them; undefined without one. */
  image(number: number): Buffer | undefined {
    const fd = this.#opened.get(number)?.fd ?? this.#open(number);
    if (fd === undefined) return undefined;
    return perCpuImage(fd, this.#page.valueSize || mapInfo(fd).valueSize, this.#page.maxEntries);
  }

  setEachCpu(index: number, values: readonly Buffer[]): void {
    const place = this.#locate(index);
    if (place !== undefined) updateEachCpu(place.fd, place.key, values);
  }

  /** Sets an element to zero, of every CPU, if it has a page. */
  clear(index: number): void {
    const place = this.#locate(index);
    if (place === undefined) return;
    const update = this.#page.type === MAP_TYPE.PERCPU_ARRAY ? updatePerCpu : updateElement;
    update(place.fd, place.key, Buffer.alloc(place.sizeBytes));
  }

  /** In the page that was last seen. */
  #locate(index: number): Place | undefined {
    const number = Math.floor(index / this.#page.maxEntries);
    const fd = this.#opened.get(number)?.fd ?? this.#open(number);
    if (fd === undefined) return undefined;
    const sizeBytes = this.#page.valueSize || mapInfo(fd).valueSize;
    return { fd, key: U32.encode(index % this.#page.maxEntries), sizeBytes };
  }

  /** Numbers of the pages that have been seen. */
  get known(): number[] {
    return [...this.#opened.keys()];
  }

  /** Descriptors of the pages that have been seen; for the memory they take. */
  get openPages(): number[] {
    return [...this.#opened.values()].map(({ fd }) => fd);
  }

  close(): void {
    for (const number of [...this.#opened.keys()]) this.#forget(number);
  }

  /**
   * The array gives a page's id. One that has been put in its place by somebody else has another.
   */
  #open(number: number): number | undefined {
    const startMs = performance.now();
    const id = lookupElement(this.#fd, U32.encode(number), 4)?.readUInt32LE();
    this.#quickestMs = Math.min(this.#quickestMs, performance.now() - startMs);
    const opened = this.#opened.get(number);
    if (opened?.id !== id) this.#forget(number);
    if (id === undefined) return undefined;
    const fd = opened?.id === id ? opened.fd : mapFdById(id);
    this.#opened.set(number, { id, fd, seenMs: performance.now() });
    return fd;
  }

  #forget(number: number): void {
    const opened = this.#opened.get(number);
    if (opened === undefined) return;
    this.#opened.delete(number);
    fs.closeSync(opened.fd);
  }
}
