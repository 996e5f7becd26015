// A network namespace that nobody else sees: where the kernel's abilities are tried without
// touching the node.

import { setNetworkNamespace, unshareNetworkNamespace } from './ffi.ts';
import { currentNetns, type NetNamespace } from './netns.ts';
import { openRt } from './open-rt.ts';
import type { RtSocket } from './rtnetlink.ts';

/**
 * Makes a namespace and opens it. It is gone when it is closed and no socket of it is open any
 * more.
 */
export function makeScratchNetns(): NetNamespace {
  const home = currentNetns();
  try {
    unshareNetworkNamespace();
    try {
      return currentNetns();
    } finally {
      setNetworkNamespace(home.fd);
    }
  } finally {
    home.close();
  }
}

/**
 * Runs `use` with a namespace of its own and closes it afterwards. `use` must not leave sockets
 * open.
 */
export async function withScratchNetns<T>(use: (netns: NetNamespace) => Promise<T>): Promise<T> {
  const netns = makeScratchNetns();
  try {
    return await use(netns);
  } finally {
    netns.close();
  }
}

/** The same with a socket in it, too. */
export function withScratchSocket<T>(
  use: (rt: RtSocket, netns: NetNamespace) => Promise<T>,
): Promise<T> {
  return withScratchNetns(async (netns) => {
    const rt = openRt(netns);
    try {
      return await use(rt, netns);
    } finally {
      rt.close();
    }
  });
}
