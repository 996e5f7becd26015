// Which congestion control TCP uses in a pod: a parameter of its network namespace, of which the
// node's own is untouched.

import { hasErrno } from '../../helper/wire/errors.ts';
import { CniError, ErrorCode } from '../types.ts';
import type { Session } from './session.ts';

const PARAMETER = 'net/ipv4/tcp_congestion_control';
const AVAILABLE = 'net/ipv4/tcp_available_congestion_control';

/**
 * Throws CniError 100 where the time at which a socket wants a packet to leave is lost when it
 * crosses namespaces. Linux 5.18 has the clock of a time beside it, and keeps the time of which it
 * knows the clock; what sets both came with that (bpf_skb_set_tstamp), and vendors took it over as
 * one. Where it cannot be tried it is taken to be so.
 */
export async function requireDepartureTimes({ kernel }: Session, name: string): Promise<void> {
  const { there, why } = await kernel.tryStamp();
  if (there !== false) return;
  throw new CniError(
    ErrorCode.unenforceable,
    `Cannot use congestionControl "${name}": this kernel loses the departure times of its packets (${why})`,
    'leave it out, or run Linux 5.18 or newer',
  );
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
 * Sets the algorithm in the pod's namespace; returns the one that was set before. Throws CniError 7
 * with the reason and the remedy when the kernel does not have it or does not allow it.
 */
export function setCongestionControl(session: Session, name: string): string {
  const { kernel, netns } = session;
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
