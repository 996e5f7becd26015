// Names of the files in which the helper keeps what outlives it; the plugin looks for some of them
// as well. Pure.

/** Where the helper keeps what ends with the boot, and listens, unless it is told otherwise. */
export const RUN_DIRECTORY = '/run/podpace';
export const DEFAULT_SOCKET = `${RUN_DIRECTORY}/helper.sock`;

/**
 * The mark that stands with records of every release since there are layouts, in the state
 * directory.
 */
export const RECORDS_MARK = 'layout.json';

/** Directory of the records of attachments, in the state directory. */
export const ATTACHMENTS = 'attachments';

/** Directory of the records of exits, in the state directory. */
export const EXITS = 'exits';

/** Directory of the marks of programs at hooks without links, in the state directory. */
export const HOOK_MARKS = 'hooks';

/** Directory of the pins of BPF links, in the pin directory. */
export const LINK_PINS = 'links';

/** Directory of the wishes, beside the helper's socket. */
export const WISHES = 'wishes';

/** Directory of the records of pods that were added without a cap, beside the helper's socket. */
export const UNCAPPED = 'uncapped';

/**
 * The helper's sign of life (helper/wire/heartbeat.ts). It is named after the socket, so that
 * helpers whose sockets share a directory do not pass for each other.
 */
export function heartbeatFile(socket: string): string {
  return `${socket}.heartbeat`;
}

/**
 * For which namespaces there are caps that nobody asks for (cap-sources.ts); absent where there are
 * none. It is named after the socket as well.
 */
export function defaultsFile(socket: string): string {
  return `${socket}.defaults`;
}

/**
 * What the file of a record ends in; before that stands what the record is of, an attachment's by
 * `keyOf`.
 */
export const RECORD_SUFFIX = {
  whole: '.json',
  /** On its way out: what it is of is being taken away. */
  removing: '.json.removing',
  /**
   * Where podpaced of 23c71bb put a record that it could not read, also one of a newer podpaced.
   */
  movedAside: '.json.unreadable',
  /** Not written to its end. */
  staged: '.json.new',
} as const;
