// Which congestion control TCP uses in a pod: a parameter of its network namespace, of which the node's own is untouched.

import { hasErrno } from '../../helper/kernel/errors.ts';
import { CniError, ErrorCode } from '../types.ts';
import type { Session } from './session.ts';

const PARAMETER = 'net/ipv4/tcp_congestion_control';
const AVAILABLE = 'net/ipv4/tcp_available_congestion_control';

/** Before this version the time at which a socket wants a packet to leave is lost when it crosses namespaces. */
const FIRST_KERNEL = [5, 18] as const;

function keepsDepartureTimes(release: string): boolean {
  const [major = 0, minor = 0] = release.split('.', 2).map((part) => Number.parseInt(part, 10));
  return major > FIRST_KERNEL[0] || (major === FIRST_KERNEL[0] && minor >= FIRST_KERNEL[1]);
}

/** Why the kernel did not take an algorithm. */
function refusal({ kernel, netns }: Session, name: string, error: unknown): Error {
  const message = `Cannot use congestionControl "${name}": `;
  if (hasErrno(error, 'ENOENT')) {
    const known = kernel.readSysctl(AVAILABLE, netns);
    return new CniError(
      ErrorCode.invalidConfig,
      `${message}this kernel has no such algorithm`,
      `it has ${known}; others may be in modules that are not installed (tcp_${name})`,
    );
  }
  if (hasErrno(error, 'EPERM')) {
    return new CniError(
      ErrorCode.invalidConfig,
      `${message}the kernel keeps it from network namespaces other than the node's`,
      `add it to net.ipv4.tcp_allowed_congestion_control on the node, or choose another`,
    );
  }
  return error as Error;
}

/**
 * Sets the algorithm in the pod's namespace; returns the one that was set before. Throws CniError 7 with the reason and the
 * remedy when the kernel does not have it or does not allow it, 100 when it would lose the departure times.
 */
export function setCongestionControl(session: Session, name: string, kernelRelease: string): string {
  const { kernel, netns } = session;
  if (!keepsDepartureTimes(kernelRelease)) {
    throw new CniError(
      ErrorCode.unenforceable,
      `Cannot use congestionControl "${name}": Linux ${kernelRelease} loses the departure times of its packets`,
      `leave it out, or run Linux ${FIRST_KERNEL.join('.')} or newer`,
    );
  }
  const former = kernel.readSysctl(PARAMETER, netns);
  try {
    kernel.writeSysctl(PARAMETER, name, netns);
  } catch (error) {
    throw refusal(session, name, error);
  }
  return former;
}

/** Throws CniError 103 when the pod's TCP uses another algorithm. */
export function requireCongestionControl({ kernel, netns }: Session, name: string): void {
  const found = kernel.readSysctl(PARAMETER, netns);
  if (found === name) return;
  throw new CniError(
    ErrorCode.checkFailed,
    `Cannot find congestion control "${name}" in ${netns.path}: it is "${found}"`,
    'something in the pod has changed it: recreate the pod',
  );
}
