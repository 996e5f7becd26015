// ADD: makes the pod's interface, or takes the one that another plugin made, and has its caps
// enforced. Either all of it happens or nothing stays.

import { hasErrno } from '../../helper/wire/errors.ts';
import { CallBudget } from '../budget.ts';
import { ipamType, previousResult } from '../config.ts';
import { note, type Edges } from '../edges.ts';
import { enforcementOf } from '../default-caps.ts';
import { enforceCaps, needsHelper, type Enforcement, type Limits } from '../enforce.ts';
import { findPlugin } from '../find-plugin.ts';
import { isOwnNetns, ownNetnsError } from '../own-netns.ts';
import { nameOfCall } from '../pod-names.ts';
import { hardwareAddressOf, parsePreviousResult, printResult, type CniResult } from '../result.ts';
import type { Invocation } from '../skel.ts';
import { CniError, ErrorCode, type JsonObject } from '../types.ts';
import { Undo } from '../undo.ts';
import type { UncappedPod } from '../uncapped.ts';
import { findPair, podAddressesOf } from '../wiring/host-interface.ts';
import {
  configurePair,
  createPair,
  defaultRouteMtu,
  deletePair,
  requireAbsent,
  requireMtuFor,
  type Pair,
} from '../wiring/pair.ts';
import { planWiring, type WiringPlan } from '../wiring/plan.ts';
import { withSession, type Session } from '../wiring/session.ts';
import { findOtherWays, NO_OTHERS } from '../wiring/ways.ts';

/** What every step of ADD needs. */
interface Addition extends Enforcement, Limits {}

function podResult(
  { call }: Addition,
  { host, pod }: Pair,
  plan: WiringPlan,
  ipam: CniResult,
): JsonObject {
  const result: CniResult = {
    interfaces: [
      { name: host.name, ...hardwareAddressOf(host), mtu: host.mtu },
      { name: pod.name, ...hardwareAddressOf(pod), mtu: pod.mtu, sandbox: call.netns },
    ],
    ips: plan.ips.map((ip) => ({ ...ip, interface: 1 })),
    ...(ipam.routes === undefined ? {} : { routes: ipam.routes }),
    ...(ipam.dns === undefined ? {} : { dns: ipam.dns }),
  };
  return printResult(result, call.cniVersion);
}

/**
 * Leaves the record of a pod without a cap. Nothing hangs on it but that the pod has a name in
 * `podpaced list --all` and can be capped later, so ADD goes on where it cannot be left.
 */
async function keepRecord(
  { edges, call, settings, capSource }: Addition,
  pod: Pick<UncappedPod, 'result' | 'host'>,
): Promise<void> {
  try {
    await edges.keepUncapped(settings.socket, { call, settings, capSource, ...pod });
  } catch (error) {
    note(
      edges,
      `WARNING: podpaced will not know ${nameOfCall(call)}, which has no cap: ${(error as Error).message}`,
    );
  }
}

/** Sets the pod's congestion control, when there is one to set. Throws CniError. */
async function chooseCongestionControl(
  { settings, undo }: Addition,
  session: Session,
): Promise<void> {
  const { congestionControl } = settings;
  if (congestionControl === undefined) return;
  const { requireDepartureTimes, setCongestionControl } =
    await import('../wiring/congestion-control.ts');
  await requireDepartureTimes(session, congestionControl);
  const former = setCongestionControl(session, congestionControl);
  undo.push('set the former congestion control', async () => {
    setCongestionControl(session, former);
  });
}

/** Main plugin: asks IPAM, creates and configures the pair. */
async function addPod(addition: Addition, type: string): Promise<JsonObject> {
  const { edges, call, settings, undo, signal } = addition;
  const { delegate, parseIpamResult } = await import('../ipam.ts');
  const kernel = await edges.loadKernel();
  const ipam = findPlugin(type, call.path);
  return withSession(kernel, call.netns, (session) =>
    undoOnFailure(addition, async () => {
      // Before IPAM, which some ask for the same address again.
      await requireAbsent(session, call);
      undo.push('release the address', () => delegate(edges, call, ipam, 'DEL'));
      const answer = await delegate(edges, call, ipam, 'ADD', signal);
      const addresses = parseIpamResult(answer, call, type);
      const plan = planWiring(addresses.ips ?? [], addresses.routes ?? []);
      undo.push('delete the pair', () => deletePair(kernel, session.node, call));
      const mtu = settings.mtu ?? (await defaultRouteMtu(session));
      requireMtuFor(mtu, plan);
      const device = await createPair(session, call, { mtu, device: settings.device }).catch(
        (error: unknown) => {
          // Another ADD for this attachment, which no runtime may make beside it, has got there
          // first: what there is belongs to that one.
          if (hasErrno(error, 'EEXIST')) undo.forget();
          throw error;
        },
      );
      if (settings.device === 'auto')
        note(edges, `interface "${call.ifname}" is a ${device} (device is auto)`);
      const pair = await configurePair(session, call, plan);
      signal.throwIfAborted();
      await chooseCongestionControl(addition, session);
      const own = plan.podAddresses.map(({ address }) => address);
      // What was there before is of no plugin of this list, whose first this one is.
      await enforceCaps(addition, { ...pair, addresses: own, others: NO_OTHERS }, addition);
      if (!needsHelper(addition)) await keepRecord(addition, { result: {}, host: pair.host });
      return podResult(addition, pair, plan, addresses);
    }),
  );
}

/**
 * Chained plugin: the interface is there, only the rest is ours. Without caps there may be nothing
 * to do.
 */
async function addCaps(addition: Addition, previous: unknown): Promise<JsonObject> {
  const { edges, call, settings } = addition;
  const { raw, result } = parsePreviousResult(previous, call.cniVersion);
  if (!needsHelper(addition) && settings.congestionControl === undefined) {
    await keepRecord(addition, { result });
    return raw;
  }
  const kernel = await edges.loadKernel();
  return withSession(kernel, call.netns, (session) =>
    undoOnFailure(addition, async () => {
      await chooseCongestionControl(addition, session);
      if (!needsHelper(addition)) {
        await keepRecord(addition, { result });
        return raw;
      }
      const pair = await findPair(session, call.ifname);
      const addresses = podAddressesOf(result, { ...call, hostInterface: pair.host.name });
      const others = await findOtherWays(session, call.ifname, result, 'add');
      await enforceCaps(addition, { ...pair, addresses, others }, addition);
      return raw;
    }),
  );
}

async function undoOnFailure<T>({ undo, signal }: Addition, fn: () => Promise<T>): Promise<T> {
  try {
    const result = await fn();
    signal.throwIfAborted();
    return result;
  } catch (error) {
    await undo.run();
    throw error;
  }
}

/** Runs ADD and returns its result in the input's version. */
export async function add(edges: Edges, call: Invocation): Promise<JsonObject> {
  if (isOwnNetns(call)) throw ownNetnsError(call);
  const addition: Addition = {
    ...enforcementOf(edges, call),
    undo: new Undo(edges),
    budget: new CallBudget(),
    signal: edges.watchTermination(),
  };
  const type = ipamType(call.config);
  const previous = previousResult(call.config);
  if (previous === undefined && type !== undefined) return addPod(addition, type);
  if (previous !== undefined && type === undefined) return addCaps(addition, previous);
  if (type === undefined) {
    throw new CniError(
      ErrorCode.invalidConfig,
      'no plugin name provided: there is neither ipam.type nor prevResult',
      'set ipam.type (for instance "host-local") to make interfaces, or chain podpace after a plugin that does',
    );
  }
  throw new CniError(
    ErrorCode.invalidConfig,
    `Cannot use ipam ${JSON.stringify(type)} in a chain: the plugin before podpace has made the interface`,
    'remove ipam from the entry of podpace, or make podpace the first plugin',
  );
}
