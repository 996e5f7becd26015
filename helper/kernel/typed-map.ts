// Maps by what their keys and values mean.

import type { SizedCodec } from '../wire/struct.ts';
import {
  deleteElement,
  lookupBatches,
  mapElements,
  lookupElement,
  lookupPerCpu,
  updateElement,
} from './bpf.ts';

/** Key and value of a map. */
export interface ElementCodec<K, V> {
  readonly key: SizedCodec<K>;
  readonly value: SizedCodec<V>;
}

/** So many lookups take as long as reading a map of a thousand elements. */
const FEW_KEYS = 64;

export class TypedMap<K, V> {
  /** Whoever has loaded the map closes it. */
  readonly fd: number;
  /** In bytes. */
  readonly keySize: number;
  readonly valueSize: number;
  readonly #key: SizedCodec<K>;
  readonly #value: SizedCodec<V>;

  constructor(fd: number, { key, value }: ElementCodec<K, V>) {
    this.fd = fd;
    this.keySize = key.size;
    this.valueSize = value.size;
    this.#key = key;
    this.#value = value;
  }

  get(key: K): V | undefined {
    const value = lookupElement(this.fd, this.#key.encode(key), this.#value.size);
    return value && this.#value.decode(value);
  }

  /** The values under some keys, of those that are there: of many, by reading the whole map. */
  getAmong(keys: Iterable<K & number>): Map<K, V> {
    const wanted = new Set<K>(keys);
    if (wanted.size > FEW_KEYS) return new Map(this.entries().filter(([key]) => wanted.has(key)));
    const found = new Map<K, V>();
    for (const key of wanted) {
      const value = this.get(key);
      if (value !== undefined) found.set(key, value);
    }
    return found;
  }

  /** The value of an array, of which every element is there. */
  at(index: K): V {
    return this.#value.decode(
      lookupElement(this.fd, this.#key.encode(index), this.#value.size) ??
        Buffer.alloc(this.#value.size),
    );
  }

  /** Of a per-CPU map: the values of all CPUs; none for a key that is not there. */
  getEachCpu(key: K): V[] {
    const values = lookupPerCpu(this.fd, this.#key.encode(key), this.#value.size) ?? [];
    return values.map((value) => this.#value.decode(value));
  }

  set(key: K, value: V): void {
    updateElement(this.fd, this.#key.encode(key), this.#value.encode(value));
  }

  /** Sets all bytes of a value to zero. */
  clear(key: K): void {
    updateElement(this.fd, this.#key.encode(key), Buffer.alloc(this.#value.size));
  }

  /** False when it was not there. */
  delete(key: K): boolean {
    return deleteElement(this.fd, this.#key.encode(key));
  }

  keys(): K[] {
    return this.entries().map(([key]) => key);
  }

  /** The values of the first elements of an array, by one system call. */
  first(count: number): V[] {
    const [batch] = count === 0 ? [] : lookupBatches(this.fd, this.keySize, this.valueSize, count);
    return Array.from({ length: batch?.count ?? 0 }, (_, index) => {
      const at = index * this.valueSize;
      return this.#value.decode(batch?.values.subarray(at, at + this.valueSize) ?? Buffer.alloc(0));
    });
  }

  /** All elements whose values are wanted, by the bytes that begin at `at`. */
  entries(isWanted?: (values: Buffer, at: number) => boolean): (readonly [K, V])[] {
    const elements = mapElements(this.fd, this.#key.size, this.#value.size, isWanted);
    return Array.from(elements, ([key, value]) => [
      this.#key.decode(key),
      this.#value.decode(value),
    ]);
  }
}
