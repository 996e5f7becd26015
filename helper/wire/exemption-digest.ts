// Whether the entries of a list of exemptions are those that it should have, without having both
// side by side: there may be a hundred thousand, and they are looked at every few seconds.

import { EXEMPTION_KEY_SIZE, EXEMPTION_SIZE } from './exemption.ts';

const KEY_WORDS = EXEMPTION_KEY_SIZE / 4;
const VALUE_WORDS = EXEMPTION_SIZE / 4;
/** Word of the key that says which list it is. */
const LIST_WORD = 1;

/**
 * FNV-1a over words, with the high bits mixed into the low ones; and another function beside it.
 */
const SEEDS = [0x811c_9dc5, 0x9e37_79b9] as const;
const FACTORS = [0x0100_0193, 0x85eb_ca6b] as const;

interface Sums {
  count: number;
  first: number;
  second: number;
}

function wordsOf(bytes: Buffer, count: number): Uint32Array {
  const isAligned = bytes.byteOffset % 4 === 0;
  const aligned = isAligned ? bytes : new Uint8Array(bytes);
  return new Uint32Array(aligned.buffer, aligned.byteOffset, count);
}

/**
 * Digests by list of entries that come in any order and in parts. Not proof against somebody who
 * looks for two lists with the same one, but against damage: 64 bits and the number of entries.
 */
export class ExemptionDigests {
  readonly #sums = new Map<number, Sums>();

  /** Takes entries of the map exemptions, keys and values without gaps. */
  add(keys: Buffer, values: Buffer, count: number): void {
    const [keyWords, valueWords] = [
      wordsOf(keys, count * KEY_WORDS),
      wordsOf(values, count * VALUE_WORDS),
    ];
    for (let entry = 0; entry < count; entry += 1) {
      let [first, second]: number[] = [...SEEDS];
      const mix = (word: number): void => {
        first = Math.imul((first ?? 0) ^ word, FACTORS[0]);
        first ^= first >>> 15;
        second = Math.imul((second ?? 0) + word, FACTORS[1]);
        second ^= second >>> 13;
      };
      const keyAt = entry * KEY_WORDS;
      for (let word = 0; word < KEY_WORDS; word += 1)
        if (word !== LIST_WORD) mix(keyWords[keyAt + word] ?? 0);
      for (let word = 0; word < VALUE_WORDS; word += 1)
        mix(valueWords[entry * VALUE_WORDS + word] ?? 0);
      this.#take(keyWords[keyAt + LIST_WORD] ?? 0, first ?? 0, second ?? 0);
    }
  }

  /**
   * By list; a list without entries is not in it. The same entries have the same digest in every
   * list.
   */
  digests(): Map<number, string> {
    return new Map(
      [...this.#sums].map(([list, { count, first, second }]) => [
        list,
        `${count}:${first}:${second}`,
      ]),
    );
  }

  #take(list: number, first: number, second: number): void {
    const sums = this.#sums.get(list) ?? { count: 0, first: 0, second: 0 };
    sums.count += 1;
    sums.first = (sums.first + first) | 0;
    sums.second = (sums.second + second) | 0;
    this.#sums.set(list, sums);
  }
}
