// What the kernel said when it refused, kept whole: the operation, the errno and the extended-ack
// text. What keeps us from asking it, and from understanding it.

/** An operation that the kernel refused. */
export class KernelError extends Error {
  /** What was attempted, in words that name the object: `create link "eth0"`. */
  readonly operation: string;
  /** The errno's symbol, for instance `ENOENT`. */
  readonly errno: string;
  /** The text of the netlink extended ack or of the BPF verifier, when the kernel gave one. */
  readonly detail: string | undefined;

  constructor(operation: string, errno: string, detail?: string) {
    super(
      `Cannot ${operation}: ${errno}${detail === undefined || detail === '' ? '' : ` (${detail})`}`,
    );
    this.name = 'KernelError';
    this.operation = operation;
    this.errno = errno;
    this.detail = detail;
  }
}

/** A native addon that could not be loaded, with what to do about it. */
export class AddonError extends Error {
  override readonly name = 'AddonError';
  readonly remedy: string;

  constructor(message: string, remedy: string) {
    super(message);
    this.remedy = remedy;
  }
}

/**
 * Bytes that are no such message, attribute or object. The message says what was expected and what
 * came.
 */
export class WireError extends Error {
  override readonly name = 'WireError';
}

/**
 * True when `error` is a KernelError, or an error of Node's own, with one of these errno symbols.
 */
export function hasErrno(error: unknown, ...symbols: readonly string[]): boolean {
  if (error instanceof KernelError) return symbols.includes(error.errno);
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' && symbols.includes(code);
}

/** What a call gives; undefined where it fails with one of these errnos. */
export function unlessErrno<T>(errnos: readonly string[], call: () => T): T | undefined {
  try {
    return call();
  } catch (error) {
    if (hasErrno(error, ...errnos)) return undefined;
    throw error;
  }
}

/** What an answer is; `otherwise` where it is rejected with one of these errnos. */
export async function unlessRefused<T, U>(
  errnos: readonly string[],
  answer: Promise<T>,
  otherwise: U,
): Promise<T | U> {
  try {
    return await answer;
  } catch (error) {
    if (hasErrno(error, ...errnos)) return otherwise;
    throw error;
  }
}
