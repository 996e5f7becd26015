// CHECK: everything that ADD made must be there, down to the programs and qdiscs that enforce the
// caps.

import { ipamType, previousResult, type Settings } from '../config.ts';
import { enforcementOf } from '../default-caps.ts';
import type { Edges } from '../edges.ts';
import { checkCaps, needsHelper, type Enforcement, type WiredPair } from '../enforce.ts';
import { findPlugin } from '../find-plugin.ts';
import { parsePreviousResult, type CniResult } from '../result.ts';
import type { Invocation } from '../skel.ts';
import { CniError, ErrorCode } from '../types.ts';
import { findPair, podAddressesOf } from '../wiring/host-interface.ts';
import { requireWiring } from '../wiring/inspect.ts';
import { planWiring } from '../wiring/plan.ts';
import { withSession, type Session } from '../wiring/session.ts';
import { findOtherWays } from '../wiring/ways.ts';

function requirePreviousResult({ config, cniVersion }: Invocation): CniResult {
  const previous = previousResult(config);
  if (previous !== undefined) return parsePreviousResult(previous, cniVersion).result;
  throw new CniError(
    ErrorCode.invalidConfig,
    'Required prevResult missing',
    'CHECK compares with the result of ADD, which the runtime must pass as prevResult',
  );
}

interface Check extends Enforcement {
  readonly result: CniResult;
}

/** The pod's interface as ADD has listed it. Throws CniError 7 when it is not there. */
function podInterface({ interfaces = [] }: CniResult, ifname: string) {
  const index = interfaces.findIndex(
    ({ name, sandbox }) => name === ifname && sandbox !== undefined,
  );
  const found = interfaces[index];
  if (found !== undefined) return { index, mac: found.mac };
  const listed = interfaces.map(({ name, sandbox }) =>
    sandbox === undefined ? `${name} (node)` : name,
  );
  throw new CniError(
    ErrorCode.invalidConfig,
    `Cannot find interface "${ifname}" of the pod in prevResult: it lists ${listed.join(', ') || 'none'}`,
    'CHECK compares with the result of ADD, which the runtime must pass as prevResult',
  );
}

/** Main plugin. */
async function checkPod(
  { edges, call, settings, result }: Check,
  type: string,
): Promise<WiredPair> {
  const { delegate } = await import('../ipam.ts');
  const { index, mac } = podInterface(result, call.ifname);
  await delegate(edges, call, findPlugin(type, call.path), 'CHECK');
  const ips = (result.ips ?? []).filter(
    (ip) => ip.interface === undefined || ip.interface === index,
  );
  const plan = planWiring(ips, result.routes ?? []);
  const kernel = await edges.loadKernel();
  return withSession(kernel, call.netns, async (session) => {
    const pair = await requireWiring(session, call, plan, mac);
    await checkCongestionControl(session, settings);
    const others = await findOtherWays(session, call.ifname, result, 'check');
    return { ...pair, addresses: plan.podAddresses.map(({ address }) => address), others };
  });
}

/** Chained plugin. */
async function checkChained({ edges, call, settings, result }: Check): Promise<WiredPair> {
  const kernel = await edges.loadKernel();
  return withSession(kernel, call.netns, async (session) => {
    const pair = await findPair(session, call.ifname);
    await checkCongestionControl(session, settings);
    const addresses = podAddressesOf(result, { ...call, hostInterface: pair.host.name });
    return {
      ...pair,
      addresses,
      others: await findOtherWays(session, call.ifname, result, 'check'),
    };
  });
}

async function checkCongestionControl(
  session: Session,
  { congestionControl }: Settings,
): Promise<void> {
  if (congestionControl === undefined) return;
  const { requireCongestionControl } = await import('../wiring/congestion-control.ts');
  requireCongestionControl(session, congestionControl);
}

/** Runs CHECK. */
export async function check(edges: Edges, call: Invocation): Promise<undefined> {
  const checking: Check = {
    ...enforcementOf(edges, call),
    result: requirePreviousResult(call),
  };
  const type = ipamType(call.config);
  const isOurs = needsHelper(checking) || checking.settings.congestionControl !== undefined;
  if (type === undefined && !isOurs) return;
  const pair = type === undefined ? await checkChained(checking) : await checkPod(checking, type);
  if (needsHelper(checking)) await checkCaps(checking, pair);
}
