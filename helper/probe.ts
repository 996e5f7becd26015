// `podpaced probe`: can this node hold caps, and if not, what is in the way. Touches nothing of the node: the
// kernel's abilities are tried in a namespace of the probe's own.

import os from 'node:os';
import { isTcxSupported } from './kernel/tcx.ts';
import { isBpffs } from './kernel/bpffs.ts';
import { findLink } from './kernel/links.ts';
import { replaceQdisc, TC_H_ROOT } from './kernel/qdiscs.ts';
import { RtSocket } from './kernel/rtnetlink.ts';
import { withScratchNetns } from './kernel/scratch-netns.ts';
import type { ProbeItem, ProbeResult } from './protocol/messages.ts';
import { isKernelSupported, MINIMUM_KERNEL } from './shaping/kernel-version.ts';
import { observeExits } from './shaping/observe.ts';

/** What the probe is asked about besides the kernel. */
export interface ProbeOptions {
  readonly uplinks: readonly string[];
  readonly bpffs: string;
}

type Finding = Omit<ProbeItem, 'name'>;

async function tryFq(): Promise<Finding> {
  await withScratchNetns(async (netns) => {
    const rt = RtSocket.open(netns);
    try {
      const lo = await findLink(rt, { name: 'lo' });
      await replaceQdisc(rt, { ifindex: lo?.index ?? 1, parent: TC_H_ROOT, kind: 'fq' });
    } finally {
      rt.close();
    }
  });
  return { ok: true, found: 'sch_fq works' };
}

async function tryUplinks(wanted: readonly string[]): Promise<Finding> {
  const rt = RtSocket.open();
  try {
    const known = { uplinks: wanted, hostInterfaces: new Set<number>(), equipped: new Set<number>() };
    const { exits, unusable } = await observeExits(rt, known);
    const names = exits.filter(({ role }) => role === 'uplink').map(({ name, kind }) => `${name} (${kind})`);
    if (unusable.length === 0 && names.length > 0) return { ok: true, found: names.join(', ') };
    const lacking = unusable.length > 0 ? unusable.join('; ') : 'no default route';
    return { ok: false, found: lacking, remedy: 'add a default route, or name the uplink with --uplink' };
  } finally {
    rt.close();
  }
}

function tryBpffs(path: string): Finding {
  if (isBpffs(path)) return { ok: true, found: `bpffs on ${path}` };
  return { ok: true, found: `no bpffs on ${path} yet: podpaced run mounts it` };
}

function tryRoot(): Finding {
  const uid = process.getuid?.();
  if (uid === 0) return { ok: true, found: 'root' };
  return { ok: false, found: `user ${String(uid)}`, remedy: 'run podpaced as root' };
}

function tryKernel(): Finding {
  const release = os.release();
  if (isKernelSupported(release)) return { ok: true, found: release };
  return { ok: false, found: release, remedy: `use Linux ${MINIMUM_KERNEL} or newer` };
}

async function item(
  name: string,
  remedy: string,
  find: () => Finding | Promise<Finding>,
): Promise<ProbeItem> {
  try {
    return { name, ...(await find()) };
  } catch (error) {
    return { name, ok: false, found: (error as Error).message, remedy };
  }
}

/** Looks at everything that capping needs; never throws for what it finds. */
export async function probe(options: ProbeOptions): Promise<ProbeResult> {
  const root = 'run podpaced as root';
  const items = [
    await item('privileges', root, tryRoot),
    await item('kernel', `use Linux ${MINIMUM_KERNEL} or newer`, tryKernel),
    await item('sch_fq', 'modprobe sch_fq, or use a kernel with CONFIG_NET_SCH_FQ', tryFq),
    await item('BPF attachment', root, () => ({
      ok: true,
      found: isTcxSupported() ? 'tcx links' : 'clsact filters',
    })),
    await item('bpffs', `mount -t bpf bpf ${options.bpffs}`, () => tryBpffs(options.bpffs)),
    await item('uplink', 'name the uplink with --uplink', () => tryUplinks(options.uplinks)),
  ];
  return { items };
}
