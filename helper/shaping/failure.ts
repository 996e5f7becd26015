// The one error that shaping raises on purpose: it carries what the caller of the protocol is told.

import { hasErrno, KernelError } from '../wire/errors.ts';
import type { ErrorCode, ProtocolError } from '../protocol/messages.ts';
import { remedies } from '../protocol/remedies.ts';

export class ShapingError extends Error {
  override readonly name = 'ShapingError';
  readonly code: ErrorCode;
  readonly remedy: string | undefined;

  constructor(code: ErrorCode, message: string, remedy?: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
    this.remedy = remedy;
  }
}

/** Any error as the protocol sends it. */
export function toProtocolError(error: unknown): ProtocolError {
  if (error instanceof ShapingError) {
    const { code, message, remedy } = error;
    return remedy === undefined ? { code, message } : { code, message, remedy };
  }
  if (hasErrno(error, 'EPERM', 'EACCES')) {
    const message = error instanceof Error ? error.message : String(error);
    return {
      code: 'internal',
      message,
      remedy: 'run podpaced as root with CAP_NET_ADMIN, CAP_BPF and CAP_SYS_ADMIN',
    };
  }
  return { code: 'internal', message: error instanceof Error ? error.message : String(error) };
}

/**
 * How the kernel says that it has no such qdisc (net/sched/sch_api.c, qdisc_create). ENOENT also
 * stands for a parent that is gone.
 */
const UNKNOWN_KIND = 'Specified qdisc kind is unknown';

/**
 * Whether a refusal holds for every device: the kernel has looked for a module of this kind, and
 * there is none.
 */
export function isUnknownQdisc(error: unknown): error is KernelError {
  return error instanceof KernelError && error.errno === 'ENOENT' && error.detail === UNKNOWN_KIND;
}

/**
 * What it means on a device that the kernel has no such qdisc. Of every device the same words,
 * whichever was refused.
 */
export function qdiscFailure(
  { errno, detail }: KernelError,
  device: string,
  qdisc: string,
): ShapingError {
  return new ShapingError(
    'unenforceable',
    `Cannot hold packets on ${device}: this kernel has no sch_${qdisc} (${errno}: ${detail})`,
    remedies.missingQdisc(qdisc),
  );
}
