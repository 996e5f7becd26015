// `podpaced probe`: can this node hold caps, and if not, what is in the way. Touches nothing of the node: the
// kernel's abilities are tried in a namespace of the probe's own.

import os from 'node:os';
import type { HelperConfig } from './config.ts';
import { AddonError } from './kernel/errors.ts';
import { isTcxSupported } from './kernel/tcx.ts';
import { tryFq } from './kernel/fq-support.ts';
import { RtSocket } from './kernel/rtnetlink.ts';
import { examinePinPlace } from './pin-place.ts';
import { examineCapabilities, missingPrivileges } from './privileges.ts';
import type { ProbeItem, ProbeResult } from './protocol/messages.ts';
import { remedies } from './protocol/remedies.ts';
import { isKernelSupported, MINIMUM_KERNEL } from './shaping/kernel-version.ts';
import { observeExits } from './shaping/observe.ts';
import { RouteWatch } from './shaping/route-watch.ts';

/** What the probe is asked about besides the kernel. */
export type ProbeOptions = Pick<HelperConfig, 'uplink' | 'pinDir' | 'mountBpffs' | 'privateBpffs'>;

type Finding = Omit<ProbeItem, 'name'>;

async function examineFq(): Promise<Finding> {
  await tryFq();
  return { ok: true, found: 'sch_fq works' };
}

async function tryUplinks(wanted: readonly string[]): Promise<Finding> {
  const rt = RtSocket.open();
  try {
    const known = { uplinks: wanted, hostInterfaces: new Set<number>(), equipped: new Set<number>() };
    const { exits, unusable } = await observeExits({ rt, routes: RouteWatch.of(rt) }, known);
    const names = exits.filter(({ role }) => role === 'uplink').map(({ name, kind }) => `${name} (${kind})`);
    if (unusable.length === 0 && names.length > 0) return { ok: true, found: names.join(', ') };
    const lacking = unusable.length > 0 ? unusable.join('; ') : 'no default route';
    return { ok: false, found: lacking, remedy: remedies.noUplink };
  } finally {
    rt.close();
  }
}

function tryPinPlace(options: ProbeOptions): Finding {
  const { ok, found, remedy, problem } = examinePinPlace(options);
  return { ok, found: problem ?? found, ...(remedy !== undefined && { remedy }) };
}

const PRIVILEGE_REMEDY = 'run podpaced as root of the node, with the capabilities that are listed here';

function tryPrivileges(): Finding {
  const missing = missingPrivileges();
  return missing === undefined
    ? { ok: true, found: 'root' }
    : { ok: false, found: missing, remedy: PRIVILEGE_REMEDY };
}

function capabilityItems(): ProbeItem[] {
  return examineCapabilities().map(({ capability, ok, found }) => {
    const remedy = `add ${capability} to podpaced's container or unit`;
    return { name: capability, ok, found, ...(!ok && { remedy }) };
  });
}

function tryKernel(): Finding {
  const release = os.release();
  if (isKernelSupported(release)) return { ok: true, found: release };
  return { ok: false, found: release, remedy: `use Linux ${MINIMUM_KERNEL} or newer` };
}

function tryHooks(): Finding {
  return { ok: true, found: isTcxSupported() ? 'tcx links' : 'clsact filters' };
}

async function item(
  name: string,
  remedy: string,
  find: () => Finding | Promise<Finding>,
): Promise<ProbeItem> {
  try {
    return { name, ...(await find()) };
  } catch (error) {
    // What cannot be asked for want of an addon is not what is missing.
    const helps = error instanceof AddonError ? error.remedy : remedy;
    return { name, ok: false, found: (error as Error).message, remedy: helps };
  }
}

/** Looks at everything that capping needs; never throws for what it finds. */
export async function probe(options: ProbeOptions): Promise<ProbeResult> {
  const privileges = await item('privileges', PRIVILEGE_REMEDY, tryPrivileges);
  // What cannot be tried says nothing of the kernel.
  const tried = (find: () => Finding | Promise<Finding>) => (): Finding | Promise<Finding> =>
    privileges.ok ? find() : { ok: false, found: 'not tried without privileges', remedy: PRIVILEGE_REMEDY };
  const items = [
    privileges,
    ...capabilityItems(),
    await item('kernel', `use Linux ${MINIMUM_KERNEL} or newer`, tryKernel),
    await item('sch_fq', remedies.missingQdisc('fq'), tried(examineFq)),
    await item('BPF attachment', PRIVILEGE_REMEDY, tried(tryHooks)),
    await item('bpffs', 'mount bpffs', () => tryPinPlace(options)),
    await item('uplink', 'name the uplink with --uplink', () => tryUplinks(options.uplink)),
  ];
  return { items };
}
