// What went wrong anywhere below, as one of the specification's errors.

import { AddonError, hasErrno, KernelError } from '../helper/wire/errors.ts';
import { HelperError, type HelperFailure } from '../helper/protocol/client.ts';
import { CniError, ErrorCode } from './types.ts';

/** Codes of requests to the helper that did not get their result. */
const HELPER_CODES: Readonly<Record<HelperFailure, number>> = {
  absent: ErrorCode.tryAgainLater,
  unreachable: ErrorCode.tryAgainLater,
  silent: ErrorCode.tryAgainLater,
  closed: ErrorCode.tryAgainLater,
  garbled: ErrorCode.helperProtocol,
  'bad-request': ErrorCode.helperProtocol,
  'bad-value': ErrorCode.invalidConfig,
  'protocol-version': ErrorCode.helperProtocol,
  'unknown-need': ErrorCode.helperProtocol,
  unenforceable: ErrorCode.unenforceable,
  'not-found': ErrorCode.checkFailed,
  'check-failed': ErrorCode.checkFailed,
  busy: ErrorCode.tryAgainLater,
  internal: ErrorCode.kernelRefused,
};

/**
 * Any error as one of the specification. One that nobody foresaw gets code 999 and keeps its text.
 */
export function toCniError(error: unknown): CniError {
  if (error instanceof CniError) return error;
  if (error instanceof HelperError)
    return new CniError(HELPER_CODES[error.failure], error.message, error.remedy);
  if (error instanceof KernelError) {
    const isForbidden = hasErrno(error, 'EPERM', 'EACCES');
    const remedy = isForbidden
      ? 'podpace needs CAP_NET_ADMIN and CAP_SYS_ADMIN on the node: run it as root, outside of a container'
      : undefined;
    return new CniError(ErrorCode.kernelRefused, error.message, remedy);
  }
  if (error instanceof AddonError)
    return new CniError(ErrorCode.kernelRefused, error.message, error.remedy);
  return new CniError(ErrorCode.internal, error instanceof Error ? error.message : String(error));
}

/** One error that says all of them, with the code of the first; undefined where there is none. */
export function combine(errors: readonly Error[]): Error | undefined {
  const [first] = errors;
  if (first === undefined || errors.length === 1) return first;
  return new CniError(toCniError(first).code, errors.map(({ message }) => message).join('; '));
}
