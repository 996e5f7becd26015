// Helpers asked without a program in between: the command line takes a second to start in a VM.

import net from 'node:net';
import { askHelper } from '../../helper/protocol/client.ts';
import type { Method, Methods } from '../../helper/protocol/messages.ts';
import { DEFAULT_SOCKET } from '../../helper/protocol/state-files.ts';
import type { TestBed } from '../bed/testbed.ts';

const DEADLINE_MS = 30_000;

/** One request to the helper behind a socket. Throws HelperError. */
export function askSocket<M extends Method>(
  socket: string,
  method: M,
  params: Methods[M]['params'],
): Promise<Methods[M]['result']> {
  const edges = { connect: async (file: string) => net.connect(file) };
  return askHelper(edges, socket, method, params, { deadlineMs: DEADLINE_MS });
}

/**
 * One request to the helper that runs on a test bed's node with its usual socket. Throws
 * HelperError.
 */
export function askNode<M extends Method>(
  bed: Pick<TestBed<string>, 'nodeFile'>,
  method: M,
  params: Methods[M]['params'],
): Promise<Methods[M]['result']> {
  return askSocket(bed.nodeFile(DEFAULT_SOCKET), method, params);
}
