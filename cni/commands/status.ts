// STATUS: can this node serve an ADD, now or soon? Runtimes ask every few seconds, and take a node
// whose network is not ready out of service. So it fails only where a pod with a cap has no hope,
// and costs no round trip to the helper while that shows signs of life.

import fs from 'node:fs';
import path from 'node:path';
import { bootId, bootSeconds } from '../../helper/kernel/boot-clock.ts';
import { HEARTBEAT } from '../../helper/protocol/state-files.ts';
import { outlookOf, type Outlook } from '../../helper/wire/heartbeat.ts';
import { ipamType, parseSettings, type Settings } from '../config.ts';
import { note, type Edges } from '../edges.ts';
import type { Invocation } from '../skel.ts';
import { CniError, ErrorCode } from '../types.ts';

const STATUS_DEADLINE_MS = 2_000;

/** No heartbeat comes near; what is longer is none. */
const MAX_HEARTBEAT_BYTES = 4096;

/**
 * What the helper's file says, or undefined without one. One that cannot be read is a damaged one.
 */
function readHeartbeat(socket: string): string | undefined {
  const file = path.join(path.dirname(socket), HEARTBEAT);
  try {
    const stat = fs.statSync(file, { throwIfNoEntry: false });
    if (stat === undefined) return undefined;
    return stat.isFile() && stat.size <= MAX_HEARTBEAT_BYTES ? fs.readFileSync(file, 'utf8') : '';
  } catch {
    return '';
  }
}

function outlook({ socket, helperAwaySeconds }: Settings): Outlook {
  const text = readHeartbeat(socket);
  return outlookOf(text, { bootId: bootId(), bootSeconds: bootSeconds() }, helperAwaySeconds);
}

/**
 * Asks at the socket where the file gives no hope: the helper may be of a release without it, or
 * unable to write it.
 */
async function askAfterAll(
  edges: Edges,
  socket: string,
  why: string,
): Promise<CniError | undefined> {
  const { askHelper, HelperError } = await import('../../helper/protocol/client.ts');
  try {
    const { problems } = await askHelper(
      edges,
      socket,
      'status',
      {},
      { deadlineMs: STATUS_DEADLINE_MS },
    );
    for (const problem of problems) note(edges, `the helper reports: ${problem}`);
    return undefined;
  } catch (error) {
    if (!(error instanceof HelperError)) throw error;
    return new CniError(ErrorCode.notAvailable, `${error.message}; ${why}`, error.remedy);
  }
}

/** Why ADD of a pod with a cap has no hope, or undefined when it has. */
async function hopelessness(edges: Edges, settings: Settings): Promise<CniError | undefined> {
  const found = outlook(settings);
  if (found.state === 'hope') return undefined;
  if (found.state === 'none') return askAfterAll(edges, settings.socket, found.why);
  const remedy = 'run "podpaced probe" on this node, or set onUnenforceable to "allow"';
  return new CniError(ErrorCode.notAvailable, found.why, remedy);
}

/** Runs STATUS. */
export async function status(edges: Edges, call: Invocation): Promise<undefined> {
  const settings = parseSettings(call.config);
  const type = ipamType(call.config);
  if (type !== undefined) {
    const { delegate, findPlugin } = await import('../ipam.ts');
    await delegate(edges, call, findPlugin(type, call.path), 'STATUS');
  }
  const error = await hopelessness(edges, settings);
  if (error === undefined) return;
  if (settings.onUnenforceable === 'fail') throw error;
  note(edges, `WARNING: caps are not enforced now (onUnenforceable is allow): ${error.message}`);
}
