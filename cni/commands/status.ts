// STATUS: can this node serve an ADD now? Runtimes ask every few seconds, so the answer must come fast.

import { askHelper, HelperError } from '../../helper/protocol/client.ts';
import { ipamType, parseSettings } from '../config.ts';
import { note, type Edges } from '../edges.ts';
import type { Invocation } from '../skel.ts';
import { CniError, ErrorCode } from '../types.ts';

const STATUS_DEADLINE_MS = 2_000;

async function requireHelper(edges: Edges, socket: string, isRequired: boolean): Promise<void> {
  try {
    const { problems } = await askHelper(edges, socket, 'status', {}, { deadlineMs: STATUS_DEADLINE_MS });
    for (const problem of problems) note(edges, `the helper reports: ${problem}`);
  } catch (error) {
    if (!(error instanceof HelperError)) throw error;
    if (isRequired) throw new CniError(ErrorCode.notAvailable, error.message, error.remedy);
    note(edges, `WARNING: caps are not enforced now (onUnenforceable is allow): ${error.message}`);
  }
}

/** Runs STATUS. */
export async function status(edges: Edges, call: Invocation): Promise<undefined> {
  const { socket, onUnenforceable } = parseSettings(call.config);
  const type = ipamType(call.config);
  if (type !== undefined) {
    const { delegate, findPlugin } = await import('../ipam.ts');
    await delegate(edges, call, findPlugin(type, call.path), 'STATUS');
  }
  await requireHelper(edges, socket, onUnenforceable === 'fail');
}
