// What the kernel can do of what podpace uses, each found by doing it once: maps and programs that
// are gone at once, devices and qdiscs in a namespace of their own. The number of a kernel says
// nothing of this: vendors add what is newer, and leave out.

import fs from 'node:fs';
import { notTried, THERE, type Attempt, type KernelFeatures } from '../wire/kernel-features.ts';
import { attempt, judged, loadPassing, TRIAL_NAME, tryBpf, wordsOf } from './bpf-trials.ts';
import { tryPodpace } from './bpf-loader.ts';
import { hasErrno, KernelError } from '../wire/errors.ts';
import { networkNamespaceCookie } from './ffi.ts';
import { ensureClsact, replaceBpfFilter } from './filters.ts';
import { describeModule } from './kernel-modules.ts';
import { createNetkitPair, findLink } from './links.ts';
import { inNetns, type NetNamespace } from './netns.ts';
import { replaceQdisc, TC_H_ROOT } from './qdiscs.ts';
import type { RtSocket } from './rtnetlink.ts';
import { withScratchSocket } from './scratch-netns.ts';
import { isTcxSupported, queryTcx } from './tcx.ts';

async function attemptRequest(
  request: Promise<unknown>,
  refusals: readonly string[],
): Promise<Attempt> {
  try {
    await request;
    return THERE;
  } catch (error) {
    return judged(error, refusals);
  }
}

/** The loopback device, which every network namespace has. */
const LOOPBACK = 1;

function putRoot(rt: RtSocket, kind: string): Promise<void> {
  return replaceQdisc(rt, { ifindex: LOOPBACK, parent: TC_H_ROOT, kind });
}

/** ENOENT is how the kernel says that it has no such qdisc, and could not load a module with it. */
async function tryFqIn(rt: RtSocket): Promise<Attempt> {
  const found = await attemptRequest(putRoot(rt, 'fq'), ['ENOENT']);
  return found.there === false
    ? { ...found, why: `${found.why}; ${describeModule('sch_fq')}` }
    : found;
}

/** A device with one queue cannot have it, which the kernel finds out after it has found mq. */
async function tryMq(rt: RtSocket): Promise<Attempt> {
  try {
    await putRoot(rt, 'mq');
    return THERE;
  } catch (error) {
    return hasErrno(error, 'ENOTSUP') ? THERE : judged(error, ['ENOENT']);
  }
}

function tryTcx(): Attempt {
  return attempt(() => {
    if (!isTcxSupported()) throw new KernelError('list the programs of a tcx hook', 'EINVAL');
  });
}

/** The qdisc, and a filter with a program on it. */
async function tryClsact(rt: RtSocket): Promise<Attempt> {
  let programFd: number;
  try {
    programFd = loadPassing();
  } catch (error) {
    return notTried(wordsOf(error));
  }
  const put = async (): Promise<void> => {
    await ensureClsact(rt, LOOPBACK);
    const place = { ifindex: LOOPBACK, hook: 'egress', priority: 1, handle: 1 } as const;
    await replaceBpfFilter(rt, { ...place, programFd, name: TRIAL_NAME });
  };
  try {
    return await attemptRequest(put(), ['ENOENT']);
  } finally {
    fs.closeSync(programFd);
  }
}

/**
 * A pair with the hook at its far end. Where the kernel does not know the hook no pair is asked
 * for: it would look for a module, of which there is none. Where it does, it says of the loopback
 * device that it is no netkit.
 */
async function tryNetkit(rt: RtSocket, netns: NetNamespace): Promise<Attempt> {
  const [name, peer] = ['trial0', 'trial1'];
  const make = async (): Promise<void> => {
    try {
      queryTcx(LOOPBACK, 'peer');
    } catch (error) {
      if (!hasErrno(error, 'ENXIO')) throw error;
    }
    await createNetkitPair(rt, { name, mtu: 1500, peer: { name: peer } });
    const index = (await findLink(rt, { name }))?.index ?? LOOPBACK;
    inNetns(netns, () => queryTcx(index, 'peer'));
  };
  return attemptRequest(make(), ['ENOTSUP', 'EINVAL']);
}

type NetworkFeature = 'tcx' | 'clsact' | 'fq' | 'mq' | 'netkit';

async function tryIn(rt: RtSocket, netns: NetNamespace): Promise<Record<NetworkFeature, Attempt>> {
  const tcx = tryTcx();
  // What is not used is not tried: the kernel would load modules for it.
  const clsact = tcx.there === true ? notTried('not tried: tcx is used') : await tryClsact(rt);
  return {
    tcx,
    clsact,
    fq: await tryFqIn(rt),
    mq: await tryMq(rt),
    netkit: await tryNetkit(rt, netns),
  };
}

async function tryNetwork(): Promise<Record<NetworkFeature, Attempt>> {
  try {
    return await withScratchSocket(tryIn);
  } catch (error) {
    const untried = notTried(`not tried: ${wordsOf(error)}`);
    return { tcx: tryTcx(), clsact: untried, fq: untried, mq: untried, netkit: untried };
  }
}

function tryNetnsCookie(): Attempt {
  return networkNamespaceCookie() === undefined
    ? { there: false, why: 'no socket option SO_NETNS_COOKIE' }
    : THERE;
}

/** Whether the verifier takes podpace's own programs: half a second. */
export function tryPrograms(): Attempt {
  return attempt(() => tryPodpace());
}

/**
 * Tries everything but the programs themselves, which take a hundred times as long: some
 * milliseconds, and now and then some tens, since namespaces are made one at a time. The kernel
 * loads modules for what it can. Rejects with AddonError when nothing can be asked.
 */
export async function tryFeatures(): Promise<Omit<KernelFeatures, 'programs'>> {
  return { ...tryBpf(), ...(await tryNetwork()), netnsCookie: tryNetnsCookie() };
}

/** Tries fq alone. */
export async function tryFq(): Promise<Attempt> {
  try {
    return await withScratchSocket(tryFqIn);
  } catch (error) {
    return notTried(wordsOf(error));
  }
}
