// What listens on a node for its pods, for as long as a test.

import type { ExecutionContext } from 'ava';
import type { NetNamespace } from '../../helper/kernel/netns.ts';
import { listenOn as listenUntil, type NodeListener } from '../bed/node-listener.ts';
import { UndoStack } from '../bed/undo.ts';

export type { NodeListener } from '../bed/node-listener.ts';

/** Listens at a port of all addresses of a namespace, until the test is over. */
export function listenOn(t: ExecutionContext, netns: NetNamespace, port: number): NodeListener {
  return listenUntil(UndoStack.of(t), netns, port);
}
