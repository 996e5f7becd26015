// Maps by what their keys and values mean.

import type { SizedCodec } from '../wire/struct.ts';
import {
  deleteElement,
  mapElements,
  lookupElement,
  lookupPerCpu,
  mapKeys,
  updateElement,
} from './bpf.ts';

/** Key and value of a map. */
export interface ElementCodec<K, V> {
  readonly key: SizedCodec<K>;
  readonly value: SizedCodec<V>;
}

export class TypedMap<K, V> {
  /** Whoever has loaded the map closes it. */
  readonly fd: number;
  readonly #key: SizedCodec<K>;
  readonly #value: SizedCodec<V>;

  constructor(fd: number, { key, value }: ElementCodec<K, V>) {
    this.fd = fd;
    this.#key = key;
    this.#value = value;
  }

  get(key: K): V | undefined {
    const value = lookupElement(this.fd, this.#key.encode(key), this.#value.size);
    return value && this.#value.decode(value);
  }

  /** The values under some keys, of those that are there. */
  getAmong(keys: Iterable<K>): Map<K, V> {
    const found = new Map<K, V>();
    for (const key of keys) {
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
    return Array.from(mapKeys(this.fd, this.#key.size), (key) => this.#key.decode(key));
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
