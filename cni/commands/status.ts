// STATUS: can this node serve an ADD, now or soon? Runtimes ask every few seconds, and take a node
// whose network is not ready out of service. So it fails only where a pod with a cap has no hope,
// and costs no round trip to the helper while that shows signs of life.

import { readRegularFile } from '../../helper/control/regular-file.ts';
import { bootId, bootSeconds } from '../../helper/kernel/boot-clock.ts';
import { heartbeatFile } from '../../helper/protocol/state-files.ts';
import { hasErrno } from '../../helper/wire/errors.ts';
import {
  MAX_HEARTBEAT_BYTES,
  outlookOf,
  type FoundHeartbeat,
  type Outlook,
} from '../../helper/wire/heartbeat.ts';
import { ipamType, parseSettings, type Settings } from '../config.ts';
import { note, type Edges } from '../edges.ts';
import { combine } from '../failure.ts';
import { findPlugin } from '../find-plugin.ts';
import type { Invocation } from '../skel.ts';
import { CniError, ErrorCode } from '../types.ts';

const STATUS_DEADLINE_MS = 2_000;

/** Without ever waiting for what is there, or following it elsewhere. */
function findHeartbeat(socket: string): FoundHeartbeat {
  try {
    const demands = { maxBytes: MAX_HEARTBEAT_BYTES, isRoots: true };
    return { kind: 'text', text: readRegularFile(heartbeatFile(socket), demands) };
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return { kind: 'none' };
    return { kind: 'bad', why: (error as Error).message };
  }
}

function outlook({ socket, helperAwaySeconds }: Settings): Outlook {
  try {
    const found = findHeartbeat(socket);
    const now = { bootId: bootId(), bootSeconds: bootSeconds() };
    return outlookOf(found, now, helperAwaySeconds);
  } catch (error) {
    return { state: 'none', why: (error as Error).message };
  }
}

/**
 * Asks at the socket where the file gives no hope: the helper may be of a release without it, or
 * unable to write it. One that answers serves, whatever the file says.
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

/**
 * Why ADD of a pod with a cap has no hope, or undefined when it has. Of the specification's codes
 * it is 50, not 51: pods that run keep their connections and their caps.
 */
async function hopelessness(edges: Edges, settings: Settings): Promise<CniError | undefined> {
  const found = outlook(settings);
  if (found.state === 'hope') return undefined;
  if (found.state === 'none') return askAfterAll(edges, settings.socket, found.why);
  const remedy = 'run "podpaced probe" on this node, or set onUnenforceable to "allow"';
  return new CniError(ErrorCode.notAvailable, found.why, remedy);
}

/**
 * What the IPAM plugin says, in its own words and with its own code, as the specification asks.
 * When it has the last word, it says so itself.
 */
async function ipamFailure(
  edges: Edges,
  call: Invocation,
  isLast: boolean,
): Promise<Error | undefined> {
  const type = ipamType(call.config);
  if (type === undefined) return undefined;
  try {
    const ipam = findPlugin(type, call.path);
    if (isLast) edges.become(ipam, call.stdin);
    const { delegate } = await import('../ipam.ts');
    await delegate(edges, call, ipam, 'STATUS');
    return undefined;
  } catch (error) {
    return error as Error;
  }
}

/** Runs STATUS. Whoever reads its error learns of everything that is in the way at once. */
export async function status(edges: Edges, call: Invocation): Promise<undefined> {
  const settings = parseSettings(call.config);
  const hopeless = await hopelessness(edges, settings);
  const own = settings.onUnenforceable === 'fail' ? hopeless : undefined;
  if (hopeless !== undefined && own === undefined)
    note(
      edges,
      `WARNING: caps are not enforced now (onUnenforceable is allow): ${hopeless.message}`,
    );
  const failures = [await ipamFailure(edges, call, own === undefined), own];
  const failure = combine(failures.filter((found) => found !== undefined));
  if (failure !== undefined) throw failure;
}
