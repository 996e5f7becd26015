// `podpaced probe`: can this node hold caps, and if not, what is in the way. Touches nothing of the
// node: what the kernel can do is tried in a namespace of the probe's own, with maps and programs
// that are gone at once.

import os from 'node:os';
import type { HelperConfig } from './config.ts';
import { AddonError } from './wire/errors.ts';
import { tryFeatures } from './kernel/features.ts';
import { FEATURES, notTried, type Attempt, type KernelFeatures } from './wire/kernel-features.ts';
import { openRt } from './kernel/open-rt.ts';
import { examinePinPlace } from './pin-place.ts';
import { missingPrivileges, privilegeItems } from './privileges.ts';
import type { ProbeItem, ProbeResult } from './protocol/messages.ts';
import { remedies } from './protocol/remedies.ts';
import { judgeFeatures, judgeUplinks } from './shaping/features.ts';
import { observeExits } from './control/observe.ts';
import { RouteWatch } from './control/route-watch.ts';

type PinSettings = Pick<HelperConfig, 'pinDir' | 'mountBpffs' | 'privateBpffs'>;

/** What the probe is asked about besides the kernel. */
export type ProbeOptions = PinSettings & Pick<HelperConfig, 'uplink'>;

async function uplinkItem(wanted: readonly string[]): Promise<ProbeItem> {
  try {
    const rt = openRt();
    try {
      const known = {
        uplinks: wanted,
        hostInterfaces: new Set<number>(),
        equipped: new Set<number>(),
      };
      const { exits, unusable } = await observeExits({ rt, routes: RouteWatch.of(rt) }, known);
      return judgeUplinks(exits, unusable);
    } finally {
      rt.close();
    }
  } catch (error) {
    // What cannot be asked for want of an addon is not what is missing.
    const remedy = error instanceof AddonError ? error.remedy : remedies.noUplink;
    const { there: _there, ...item } = judgeUplinks([], []);
    return { ...item, found: (error as Error).message, remedy };
  }
}

function pinItem(settings: PinSettings): ProbeItem {
  const place = examinePinPlace(settings);
  const { ok, remedy } = place;
  return {
    ...{ name: 'bpffs', ok, there: ok, found: place.problem ?? place.found },
    neededFor: 'to keep caps in force while podpaced is stopped or replaced',
    withoutIt: 'podpaced does not start',
    ...(remedy !== undefined && { remedy }),
  };
}

function untried(why: string): KernelFeatures {
  const attempts = FEATURES.map((feature) => [feature, notTried(why)] as const);
  return Object.fromEntries(attempts) as Record<(typeof FEATURES)[number], Attempt>;
}

async function featureItems(tryPrograms: () => Attempt): Promise<ProbeItem[]> {
  // What cannot be tried says nothing of the kernel.
  if (missingPrivileges() !== undefined)
    return judgeFeatures(untried('not tried without privileges'));
  try {
    return judgeFeatures({ ...(await tryFeatures()), programs: tryPrograms() });
  } catch (error) {
    const remedy = error instanceof AddonError ? { remedy: error.remedy } : {};
    return judgeFeatures(untried(`not tried: ${(error as Error).message}`)).map((item) =>
      Object.assign(item, item.ok ? {} : remedy),
    );
  }
}

/**
 * The items of `probe` that `status` has, but for uplinks: the kernel's by what was found, the
 * others as they are now.
 */
export function standingItems(settings: PinSettings): (features: KernelFeatures) => ProbeItem[] {
  const [privileges, pins] = [privilegeItems(), pinItem(settings)];
  return (features) => [...privileges, ...judgeFeatures(features), pins];
}

/** Looks at everything that capping needs; never throws for what it finds. */
export async function probe(
  options: ProbeOptions,
  tryPrograms: () => Attempt,
): Promise<ProbeResult> {
  const items = [
    ...privilegeItems(),
    ...(await featureItems(tryPrograms)),
    pinItem(options),
    await uplinkItem(options.uplink),
  ];
  return { kernel: os.release(), items };
}
