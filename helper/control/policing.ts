// The program that polices what pods send to the node itself, where it stands or why it cannot.

import type { LoadedProgram } from '../kernel/bpf-loader.ts';
import { KernelError } from '../wire/errors.ts';
import type { NodeHook } from '../kernel/node-hook.ts';
import type { PolicingStanding } from '../shaping/policing.ts';

export class Policing {
  readonly #hook: NodeHook;
  readonly #program: LoadedProgram | Error;
  #failure: Error | undefined;

  /** `program`: or why the kernel refuses it. */
  constructor(hook: NodeHook, program: LoadedProgram | Error) {
    this.#hook = hook;
    this.#program = program;
  }

  /** Why the program cannot stand; undefined while nothing is known. */
  get refusal(): string | undefined {
    const error = this.#program instanceof Error ? this.#program : this.#failure;
    if (error === undefined) return undefined;
    // Of a refused program the verifier's whole log is no sentence.
    return error instanceof KernelError
      ? `cannot ${error.operation}: ${error.errno}`
      : error.message;
  }

  standing(): PolicingStanding {
    if (!this.#hook.isThere()) return 'none';
    const ours = this.#program instanceof Error ? undefined : this.#program.id;
    const id = this.#hook.programId();
    return id !== undefined && id === ours ? 'ours' : 'stale';
  }

  /**
   * Puts the program in its place; what is in its way is the refusal then, and no error: all other
   * caps hold.
   */
  begin(): void {
    if (this.#program instanceof Error) return;
    try {
      this.#hook.attach(this.#program);
      this.#failure = undefined;
    } catch (error) {
      this.#failure = error as Error;
    }
  }

  end(): void {
    this.#hook.detach();
  }

  /** What was in the way may be there no more. */
  tryAgain(): void {
    this.#failure = undefined;
  }
}
