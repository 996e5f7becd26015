// What the API server sends: a page of a list as one JSON text, a watch as lines of JSON that come
// in pieces cut anywhere, within a character too. Pure.

import {
  anyObject,
  boolean,
  fail,
  integer,
  list,
  object,
  optional,
  string,
  text,
  type Read,
} from '../protocol/shape.ts';
import { readPod, type Pod } from './pods.ts';

/** etcd takes objects of 1.5 MiB; nothing that a server sends in one line comes near. */
export const MAX_LINE_BYTES = 4 * 1024 * 1024;

const NEWLINE = 0x0a;

/** Not what a server of the API sends. */
export class StreamError extends Error {
  override readonly name = 'StreamError';
}

/** Puts lines together again. Whole lines alone are decoded, so that a cut splits no character. */
export class Lines {
  #pending: Uint8Array[] = [];
  #pendingBytes = 0;

  /** The lines that end in this piece, without their ends. Throws StreamError for a longer one. */
  push(piece: Uint8Array): Uint8Array[] {
    const lines: Uint8Array[] = [];
    let from = 0;
    for (let end = piece.indexOf(NEWLINE); end >= 0; end = piece.indexOf(NEWLINE, from)) {
      this.#keep(piece.subarray(from, end));
      lines.push(Buffer.concat(this.#pending));
      this.#pending = [];
      this.#pendingBytes = 0;
      from = end + 1;
    }
    this.#keep(piece.subarray(from));
    return lines;
  }

  #keep(part: Uint8Array): void {
    if (part.length === 0) return;
    this.#pendingBytes += part.length;
    if (this.#pendingBytes > MAX_LINE_BYTES)
      throw new StreamError(`a line of more than ${MAX_LINE_BYTES} bytes`);
    this.#pending.push(part);
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true });

/** The value of a JSON text. Throws StreamError. */
function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(utf8.decode(bytes)) as unknown;
  } catch (error) {
    throw new StreamError(`no JSON: ${(error as Error).message}`, { cause: error });
  }
}

/** Runs a reader; what it throws becomes a StreamError. */
function orStreamError<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof StreamError) throw error;
    throw new StreamError((error as Error).message, { cause: error });
  }
}

/** One line of a watch. */
export type WatchMessage =
  | { readonly type: 'put' | 'gone'; readonly pod: Pod; readonly resourceVersion: string }
  | { readonly type: 'bookmark'; readonly resourceVersion: string }
  | { readonly type: 'error'; readonly code: number; readonly message: string };

const watchLine = object({ type: text, object: anyObject });
const versioned = object({ metadata: object({ resourceVersion: text }) });
const status = object({ code: optional(integer(0)), message: optional(string) });

/** What a line of a watch says; undefined of an empty one. Throws StreamError. */
export function parseWatchLine(line: Uint8Array): WatchMessage | undefined {
  if (line.length === 0) return undefined;
  const value = parseJson(line);
  return orStreamError((): WatchMessage => {
    const { type, object: said } = watchLine(value, '');
    if (type === 'ERROR') {
      const { code = 0, message = '' } = status(said, 'object');
      return { type: 'error', code, message };
    }
    const { resourceVersion } = versioned(said, 'object').metadata;
    if (type === 'BOOKMARK') return { type: 'bookmark', resourceVersion };
    const pod = readPod(said, 'object');
    if (type === 'ADDED' || type === 'MODIFIED') return { type: 'put', pod, resourceVersion };
    if (type === 'DELETED') return { type: 'gone', pod, resourceVersion };
    return fail('type', 'ADDED, MODIFIED, DELETED, BOOKMARK or ERROR', type);
  });
}

const page = object({
  metadata: object({ resourceVersion: text, continue: optional(string) }),
  items: (value, place) => (value === null ? [] : list(readPod)(value, place)),
});

/** A page of a list of pods. `continue` asks for the next one; absent in the last. */
export interface Page {
  readonly pods: readonly Pod[];
  readonly resourceVersion: string;
  readonly continue?: string;
}

/** The page in an answer. Throws StreamError. */
export function parsePage(body: Uint8Array): Page {
  const value = parseJson(body);
  return orStreamError(() => {
    const { metadata, items }: Read<typeof page> = page(value, '');
    const { resourceVersion, continue: next = '' } = metadata;
    return { pods: items, resourceVersion, ...(next !== '' && { continue: next }) };
  });
}

const wholePods = object({
  items: list(
    object({
      metadata: object({ uid: text }),
      spec: object({ hostNetwork: optional(boolean) }),
      status: object({ phase: optional(string) }),
    }),
  ),
});

/**
 * What network the running pod of a uid is in, by a list of whole pods; undefined where it is not
 * among them, or not running. Throws StreamError.
 */
export function parsePodNetwork(
  body: Uint8Array,
  uid: string,
): 'host network' | 'own network' | undefined {
  const value = parseJson(body);
  return orStreamError(() => {
    const pod = wholePods(value, '').items.find(({ metadata }) => metadata.uid === uid);
    if (pod?.status.phase !== 'Running') return undefined;
    return pod.spec.hostNetwork === true ? 'host network' : 'own network';
  });
}

/** The message of a refusal, where it is one of the API's; else empty. */
export function statusMessage(body: Uint8Array): string {
  try {
    return status(parseJson(body), '').message ?? '';
  } catch {
    return '';
  }
}
