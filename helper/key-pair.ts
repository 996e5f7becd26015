// A certificate and its key in two files that are renewed in place: one after the other, or both at
// once where they are links, as those of a Secret are.

import fs from 'node:fs';

/** In PEM. */
export interface KeyPair {
  readonly cert: Buffer;
  readonly key: Buffer;
}

/** Paths of a certificate and of its key. */
export interface KeyPairFiles {
  readonly certificate: string;
  readonly key: string;
}

function read({ certificate, key }: KeyPairFiles): KeyPair {
  return { cert: fs.readFileSync(certificate), key: fs.readFileSync(key) };
}

/** What is in the files, and what was when it was last asked. */
export class RenewedKeyPair {
  readonly #files: KeyPairFiles;
  readonly #warn: (message: string) => void;
  #tried: KeyPair;
  #fault = '';

  /** Throws Error when a file cannot be read. */
  constructor(files: KeyPairFiles, warn: (message: string) => void) {
    [this.#files, this.#warn] = [files, warn];
    this.#tried = read(files);
  }

  /** The pair that was there first. */
  get first(): KeyPair {
    return this.#tried;
  }

  /**
   * Uses a pair that has come. One that `use` throws at, such as a pair of which only one half is
   * there yet, leaves the former in service, which is said once.
   */
  renew(use: (pair: KeyPair) => void): void {
    try {
      const pair = read(this.#files);
      if (pair.cert.equals(this.#tried.cert) && pair.key.equals(this.#tried.key)) return;
      this.#tried = pair;
      use(pair);
      this.#fault = '';
    } catch (error) {
      const { certificate, key } = this.#files;
      const fault = `The former certificate stays in service: ${certificate} and ${key}: ${(error as Error).message}; put a certificate and its key there`;
      if (fault !== this.#fault) this.#warn(fault);
      this.#fault = fault;
    }
  }
}
