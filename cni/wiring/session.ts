// Netlink sockets in the node's namespace and in the pod's, open for the length of one command.

import { hasErrno } from '../../helper/wire/errors.ts';
import type { NetNamespace } from '../../helper/kernel/netns.ts';
import type { RtSocket } from '../../helper/kernel/rtnetlink.ts';
import { CniError, ErrorCode } from '../types.ts';
import type { Kernel } from './kernel.ts';

export interface Session {
  readonly kernel: Kernel;
  /** The pod's namespace, and the path by which the runtime named it. */
  readonly netns: NetNamespace;
  /** Socket in the node's namespace. */
  readonly node: RtSocket;
  /** Socket in the pod's namespace. */
  readonly pod: RtSocket;
}

function openNetns(kernel: Kernel, path: string): NetNamespace {
  try {
    return kernel.openNetns(path);
  } catch (error) {
    if (!hasErrno(error, 'ENOENT', 'EINVAL', 'ENOTDIR')) throw error;
    throw new CniError(
      ErrorCode.invalidEnvironment,
      `failed to open netns "${path}": ${(error as Error).message}`,
      'CNI_NETNS must name the network namespace of a living sandbox',
    );
  }
}

/**
 * Runs `use` with both sockets and closes them. Throws CniError 4 when CNI_NETNS names no
 * namespace.
 */
export async function withSession<T>(
  kernel: Kernel,
  netnsPath: string,
  use: (session: Session) => Promise<T>,
): Promise<T> {
  const open: { close(): void }[] = [];
  try {
    const netns = openNetns(kernel, netnsPath);
    open.push(netns);
    const pod = kernel.openSocket(netns);
    open.push(pod);
    const node = kernel.openSocket();
    open.push(node);
    return await use({ kernel, netns, node, pod });
  } finally {
    for (const resource of open.reverse()) resource.close();
  }
}
