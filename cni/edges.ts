// Where the plugin touches its process. Everything else takes these as a parameter, so that a test
// can run the whole plugin in its own process and see every edge.

import type { Stream } from '../helper/protocol/client.ts';
import { printable } from '../helper/protocol/printable.ts';
import type { UncappedPod } from './uncapped.ts';
import type { Attachment } from './wiring/alias.ts';
import type { Kernel } from './wiring/kernel.ts';

/** The environment variables of the process. */
export type Environment = Readonly<Record<string, string | undefined>>;

export interface Edges {
  /** The attachment that a call is about, for people: notes name it. */
  readonly about?: string;
  readonly env: Environment;
  /** The same as another program gets it: an entry `NAME=value` for each, byte for byte. */
  environment(): Buffer[];
  /** Effective user id. */
  readonly euid: number;
  /**
   * All of stdin. Stops reading once more than `limitBytes` have come, and returns what there is by
   * then.
   */
  readStdin(limitBytes: number): Promise<Buffer>;
  /** Throws when the reader is gone (EPIPE). */
  writeStdout(text: string): void;
  /** Never throws: a note that nobody can read is lost. */
  writeStderr(text: string): void;
  /** A unix stream socket on its way to being connected. */
  connect(path: string): Promise<Stream>;
  /**
   * The operations of the kernel, loaded when first asked for: VERSION and chained pass-through
   * need none.
   */
  loadKernel(): Promise<Kernel>;
  /**
   * False only where no device of the node can be the host interface with this alias; takes no
   * addon.
   */
  mayHaveInterface(alias: string): boolean;
  /** False only where no device of the node can be the bandwidth plugin's ifb of an attachment. */
  mayHaveFormerIfb(attachment: Attachment): Promise<boolean>;
  /**
   * Leaves the record of a pod without a cap. Rejects with Error that says why it cannot be left.
   */
  keepUncapped(socket: string, pod: UncappedPod): Promise<void>;
  /**
   * Has another program take the place of this process, to read `stdin` and to answer; returns
   * where that cannot be done for sure.
   */
  become(file: string, stdin: Buffer): void;
  /** A signal that fires when the process is asked to stop (SIGTERM, SIGINT), from this call on. */
  watchTermination(): AbortSignal;
}

/**
 * Writes a note for the log of the runtime: one line, whatever the text holds. It names the
 * attachment that the call is about, unless the text does.
 */
export function note(edges: Edges, text: string): void {
  const { about } = edges;
  const whose = about === undefined || text.includes(about) ? '' : `${about}: `;
  edges.writeStderr(`podpace: ${printable(`${whose}${text}`)}\n`);
}
