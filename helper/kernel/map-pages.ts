// A map of the datapath whose elements stand in pages: it is an array of maps, each an array of so
// many elements, made when the first of them is needed. What a page holds is found by index alone,
// and takes no memory before.

import fs from 'node:fs';
import {
  createMap,
  deleteElement,
  lookupElement,
  mapFdById,
  mapInfo,
  updateElement,
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
export interface MapPlace {
  /** Descriptor of the page. It is MapPages's own, and closed when the page is found to be gone. */
  readonly fd: number;
  readonly key: Buffer;
}

function indexKey(index: number): Buffer {
  const key = Buffer.alloc(4);
  key.writeUInt32LE(index);
  return key;
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
   * like.
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
      updateElement(this.#fd, indexKey(number), indexKey(fd));
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
    if (page !== undefined) updateElement(this.#fd, indexKey(0), indexKey(page));
  }

  /**
   * Takes a page away that has been seen, with all that it holds; takes a grace period of the
   * kernel.
   */
  remove(number: number): void {
    if (!this.#opened.has(number)) return;
    this.#forget(number);
    deleteElement(this.#fd, indexKey(number));
  }

  /**
   * The place of an element by its index, in the page that was last seen; undefined when there is
   * none.
   */
  locate(index: number): MapPlace | undefined {
    const number = Math.floor(index / this.#page.maxEntries);
    const fd = this.#opened.get(number)?.fd ?? this.#open(number);
    return fd === undefined ? undefined : { fd, key: indexKey(index % this.#page.maxEntries) };
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
    const id = lookupElement(this.#fd, indexKey(number), 4)?.readUInt32LE();
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
