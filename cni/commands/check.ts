// CHECK: everything that ADD made must be there, down to the programs and qdiscs that enforce the caps.

import { hasCaps, parseCaps } from '../caps.ts';
import { ipamType, parseSettings, previousResult } from '../config.ts';
import type { Edges } from '../edges.ts';
import { checkCaps, type Enforcement } from '../enforce.ts';
import { parsePreviousResult } from '../result.ts';
import type { Invocation } from '../skel.ts';
import { CniError, ErrorCode, type CniResult } from '../types.ts';

function requirePreviousResult({ config, cniVersion }: Invocation): CniResult {
  const previous = previousResult(config);
  if (previous !== undefined) return parsePreviousResult(previous, cniVersion).result;
  throw new CniError(
    ErrorCode.invalidConfig,
    'Required prevResult missing',
    'CHECK compares with the result of ADD, which the runtime must pass as prevResult',
  );
}

/** Main plugin. Returns the host interface's name. */
async function checkPod(edges: Edges, call: Invocation, result: CniResult, type: string): Promise<string> {
  const { delegate, findPlugin } = await import('../ipam.ts');
  const { requireContainerInterface } = await import('../wiring/host-interface.ts');
  const { requireWiring } = await import('../wiring/inspect.ts');
  const { planWiring } = await import('../wiring/plan.ts');
  const { withSession } = await import('../wiring/session.ts');
  requireContainerInterface(result, call.ifname);
  await delegate(edges, call, findPlugin(type, call.path), 'CHECK');
  const interfaces = result.interfaces ?? [];
  const index = interfaces.findIndex(({ name, sandbox }) => name === call.ifname && sandbox !== undefined);
  const ips = (result.ips ?? []).filter((ip) => ip.interface === undefined || ip.interface === index);
  const plan = planWiring(ips, result.routes ?? []);
  const kernel = await edges.loadKernel();
  return withSession(kernel, call.netns, (session) =>
    requireWiring(session, call, plan, interfaces[index]?.mac),
  );
}

/** Chained plugin. Returns the host interface's name. */
async function checkChained(edges: Edges, call: Invocation, result: CniResult): Promise<string> {
  const { findHostInterface, requireContainerInterface } = await import('../wiring/host-interface.ts');
  const { withSession } = await import('../wiring/session.ts');
  requireContainerInterface(result, call.ifname);
  const kernel = await edges.loadKernel();
  const host = await withSession(kernel, call.netns, (session) => findHostInterface(session, call.ifname));
  return host.name;
}

/** Runs CHECK. */
export async function check(edges: Edges, call: Invocation): Promise<undefined> {
  const caps = parseCaps(call.config);
  const enforcement: Enforcement = { edges, call, settings: parseSettings(call.config), caps };
  const result = requirePreviousResult(call);
  const type = ipamType(call.config);
  if (type === undefined && !hasCaps(caps)) return;
  const hostInterface =
    type === undefined ? await checkChained(edges, call, result) : await checkPod(edges, call, result, type);
  if (hasCaps(caps)) await checkCaps(enforcement, hostInterface);
}
