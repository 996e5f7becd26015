// The one error that shaping raises on purpose: it carries what the caller of the protocol is told.

import { hasErrno, KernelError } from '../kernel/errors.ts';
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

/** What the kernel's refusal of a qdisc means on an exit: ENOENT is how it says that it has no such qdisc. */
export function qdiscFailure(error: unknown, device: string, qdisc: string): unknown {
  if (!(error instanceof KernelError) || error.errno !== 'ENOENT') return error;
  return new ShapingError(
    'unenforceable',
    `Cannot hold packets on ${device}: this kernel has no sch_${qdisc} (${error.message})`,
    remedies.missingQdisc(qdisc),
    error,
  );
}
