// What pods send to the node itself: nothing can hold it there, so a program where sockets take packets polices it, by the clock
// that holds the rest (bpf/node.h). A way of its own: where a kernel does not have it all other caps hold.

import type { LoadedProgram } from '../kernel/bpf-loader.ts';
import { KernelError } from '../kernel/errors.ts';
import type { NodeHook } from '../kernel/node-hook.ts';
import type { NodeTraffic as NodeTrafficStatus } from '../protocol/messages.ts';
import type { Problem } from './judgement.ts';

/** Whether what pods send to the node itself belongs to their caps. */
export const NODE_TRAFFIC = ['cap', 'free'] as const;
export type NodeTraffic = (typeof NODE_TRAFFIC)[number];

/** What of it is to be. */
export interface DesiredPolicing {
  /** The program has to stand: somebody has a cap that it serves, and nothing is known to be in its way. */
  readonly policesNode?: boolean;
  /** Why it cannot stand although it should. */
  readonly policingRefusal?: string;
}

/** What stands where sockets take packets: podpace's loaded program, another one of podpace's or a damaged one, or none. */
export type PolicingStanding = 'ours' | 'stale' | 'none';

export type PolicingStep = { readonly kind: 'police-node' } | { readonly kind: 'free-node' };

/** The steps from what is to what should be. Pure. */
export function policingSteps(
  { policesNode = false }: DesiredPolicing,
  { policing = 'none' }: { readonly policing?: PolicingStanding },
): PolicingStep[] {
  if (policesNode) return policing === 'ours' ? [] : [{ kind: 'police-node' }];
  return policing === 'none' ? [] : [{ kind: 'free-node' }];
}

/** The note that this one way is not capped. Pure. */
export function policingNotes({ policingRefusal }: DesiredPolicing): Problem[] {
  if (policingRefusal === undefined) return [];
  const text = `What pods send to the node itself is not capped: ${policingRefusal}`;
  return [{ text, place: 'node', scopes: [{ of: 'senders' }] }];
}

/** The way as `status` tells of it. Pure. */
export function policingStatus(wanted: NodeTraffic, refusal: string | undefined): NodeTrafficStatus {
  if (wanted === 'free') return 'free';
  return refusal === undefined ? 'policed' : 'not capped';
}

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
    return error instanceof KernelError ? `cannot ${error.operation}: ${error.errno}` : error.message;
  }

  standing(): PolicingStanding {
    if (!this.#hook.isThere()) return 'none';
    const ours = this.#program instanceof Error ? undefined : this.#program.id;
    const id = this.#hook.programId();
    return id !== undefined && id === ours ? 'ours' : 'stale';
  }

  /** Puts the program in its place; what is in its way is the refusal then, and no error: all other caps hold. */
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
