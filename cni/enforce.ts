// Asks the helper to enforce an attachment's caps, and decides what its refusal means.

import { askHelper, HelperError } from '../helper/protocol/client.ts';
import type {
  AttachParams,
  AttachResult,
  Caps,
  HostRouting,
  PairBeside,
} from '../helper/protocol/messages.ts';
import type { CapSource } from '../helper/protocol/cap-sources.ts';
import { networkSays } from '../helper/protocol/network-keys.ts';
import { remedies } from '../helper/protocol/remedies.ts';
import { CallBudget } from './budget.ts';
import { hasCaps } from './caps.ts';
import type { Settings } from './config.ts';
import { detach } from './detach.ts';
import { note, type Edges } from './edges.ts';
import { hardwareAddressOf } from './result.ts';
import type { Invocation } from './skel.ts';
import type { Undo } from './undo.ts';
import type { Pair } from './wiring/pair.ts';
import type { OtherWays } from './wiring/ways.ts';
import { forgetWish, keepWish } from './wishes.ts';

/** What ADD and CHECK know about the caps of an attachment. */
export interface Enforcement {
  readonly edges: Edges;
  readonly call: Invocation;
  readonly settings: Settings;
  readonly caps: Caps;
  /** Who asks for these, or for none. */
  readonly capSource: CapSource;
  /** The helper has a cap for a pod that asks for none. */
  readonly isDefaulted: boolean;
}

/** What an ADD has to keep to. */
export interface Limits {
  readonly undo: Undo;
  /** Fires when the runtime gives up: the next step does not begin. */
  readonly signal: AbortSignal;
  readonly budget: CallBudget;
}

/** Whether the helper is needed at all. */
export function needsHelper({
  caps,
  settings,
  isDefaulted,
}: Pick<Enforcement, 'caps' | 'settings' | 'isDefaulted'>): boolean {
  return hasCaps(caps) || settings.hostRouting || isDefaulted;
}

/** A pod's pair with the addresses of the pod's end. */
export interface PairWithAddresses extends Pair {
  readonly addresses: readonly string[];
}

/** The pair of an attachment, and what else leads out of the pod. */
export interface WiredPair extends PairWithAddresses {
  readonly others: OtherWays;
}

function besideOf(
  { host, pod, addresses }: PairWithAddresses,
  { hostRouting }: Settings,
): PairBeside {
  const isRouted = hostRouting && addresses.length > 0;
  return {
    ...{ podInterface: pod.name, hostInterface: host.name, hostInterfaceIndex: host.index },
    ...(isRouted && { hostRouting: { addresses, ...hardwareAddressOf(pod) } }),
  };
}

function attachParams(
  { call, caps, settings, capSource }: Enforcement,
  { host, pod, addresses, others }: WiredPair,
): AttachParams {
  const { containerId, ifname, network, netns, pod: podNames } = call;
  const routing: HostRouting = { addresses, ...hardwareAddressOf(pod) };
  return {
    ...{ network, containerId, ifname, hostInterface: host.name, sandbox: netns, caps },
    ...networkSays(settings),
    ...(settings.hostRouting && { hostRouting: routing }),
    ...(others.pairs.length > 0 && {
      beside: others.pairs.map((pair) => besideOf(pair, settings)),
    }),
    ...(others.unheld.length > 0 && { unheld: others.unheld }),
    ...podNames,
    capSource,
  };
}

/** A helper that knows one interface of a pod would hold that one and say nothing of the others. */
function requireAllKnown({ beside = [], unheld = [] }: AttachParams, { held }: AttachResult): void {
  if (held !== undefined) return;
  const [other] = [...beside, ...unheld];
  if (other === undefined) return;
  throw new HelperError(
    'unenforceable',
    `Cannot enforce the cap on interface "${other.podInterface}" too: this podpaced knows one interface of a pod`,
    remedies.newerHelper(process.execPath),
  );
}

/**
 * Runs a request; with `onUnenforceable: allow` a refusal is a warning on stderr, which ends with
 * what `onRefused` returns.
 */
async function tolerate(
  { edges, settings }: Enforcement,
  request: () => Promise<void>,
  onRefused: (error: HelperError) => Promise<string> = () => Promise.resolve(''),
): Promise<void> {
  try {
    await request();
  } catch (error) {
    if (!(error instanceof HelperError) || settings.onUnenforceable === 'fail') throw error;
    const remedy = error.remedy === undefined ? '' : `; ${error.remedy}`;
    const end = await onRefused(error);
    note(
      edges,
      `WARNING: the cap is not enforced (onUnenforceable is allow): ${error.message}${remedy}${end}`,
    );
  }
}

/**
 * Has the caps enforced and the packets routed; without either the helper is not asked. Throws
 * HelperError, unless the configuration allows pods without their cap.
 */
export async function enforceCaps(
  enforcement: Enforcement,
  pair: WiredPair,
  { undo, signal, budget }: Limits,
): Promise<void> {
  const { edges, call, settings } = enforcement;
  if (!needsHelper(enforcement)) return;
  undo.push('detach at the helper', () =>
    detachUnlessAbsent(edges, call, settings.socket, budget.detachMs()),
  );
  const params = attachParams(enforcement, pair);
  const request = async (): Promise<void> => {
    const patience = { deadlineMs: budget.attachMs(), signal };
    const result = await askHelper(edges, settings.socket, 'attach', params, patience);
    const { degraded, notices } = result;
    for (const notice of notices) note(edges, notice);
    requireAllKnown(params, result);
    if (degraded.length === 0) return forgetWish(settings.socket, call);
    throw new HelperError(
      'unenforceable',
      `Cannot enforce the cap of interface "${call.ifname}": ${degraded.join('; ')}`,
      'run "podpaced probe" on this node, or set onUnenforceable to "allow"',
    );
  };
  await tolerate(enforcement, request, async ({ reason, remedy }) => {
    const refusal = {
      host: pair.host,
      reason: remedy === undefined ? reason : `${reason}; ${remedy}`,
    };
    return `; ${await keepWish(settings.socket, params, refusal)}`;
  });
}

async function detachUnlessAbsent(
  edges: Edges,
  call: Invocation,
  socket: string,
  deadlineMs: number,
): Promise<void> {
  try {
    await detach(edges, call, socket, deadlineMs);
  } catch (error) {
    // Nobody listened, so nothing was attached.
    if (!(error instanceof HelperError && error.isAbsent)) throw error;
  }
}

/**
 * Has the helper look whether everything that enforces the caps is in place. Throws HelperError.
 */
export async function checkCaps(enforcement: Enforcement, pair: WiredPair): Promise<void> {
  const { edges, settings } = enforcement;
  const params = attachParams(enforcement, pair);
  await tolerate(enforcement, async () => {
    const patience = { deadlineMs: new CallBudget().checkMs() };
    await askHelper(edges, settings.socket, 'check', params, patience);
  });
}
