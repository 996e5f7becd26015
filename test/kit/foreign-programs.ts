// Programs of others, a few instructions each, and how they get to where packets pass.

import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import type { ExecutionContext } from 'ava';
import {
  loadProgram,
  pinObject,
  PROG_TYPE_SCHED_CLS,
  programInfo,
} from '../../helper/kernel/bpf.ts';
import { ensureClsact, replaceBpfFilter, type TcHook } from '../../helper/kernel/filters.ts';
import { inNetns } from '../../helper/kernel/netns.ts';
import { createTcxLink, isTcxSupported } from '../../helper/kernel/tcx.ts';
import type { TestNetns } from './netns.ts';
import { once } from './once.ts';

const PROG_TYPE_XDP = 6;
/** BPF_FUNC_* of linux/bpf.h, and where in redirectCode the number stands. */
const [FUNC_REDIRECT_NEIGH, FUNC_REDIRECT_PEER] = [152, 155];
const CALLED_AT = 20;
const BPFFS = '/sys/fs/bpf';
/** Behind podpace's own, where the kernel has no tcx. */
const BEHIND_PRIORITY = 500;

/** `r0 = VERDICT; exit`. */
export function verdictCode(verdict: number): Buffer {
  const code = Buffer.from('b7000000000000009500000000000000', 'hex');
  code.writeInt32LE(verdict, 4);
  return code;
}

/** `return bpf_redirect(IFINDEX, 0)`. */
export function redirectCode(ifindex: number): Buffer {
  const code = Buffer.from(
    'b701000000000000b70200000000000085000000170000009500000000000000',
    'hex',
  );
  code.writeInt32LE(ifindex, 4);
  return code;
}

/** `return bpf_redirect_peer(IFINDEX, 0)`: to the other end of a pair, at once. */
export function redirectPeerCode(ifindex: number): Buffer {
  const code = redirectCode(ifindex);
  code.writeInt32LE(FUNC_REDIRECT_PEER, CALLED_AT);
  return code;
}

/** `return bpf_redirect_neigh(IFINDEX, NULL, 0, 0)`: with the link header that its route has. */
export function redirectNeighCode(ifindex: number): Buffer {
  const zeroes = [3, 4].map((register) => `b70${register}000000000000`).join('');
  const redirect = redirectCode(ifindex);
  redirect.writeInt32LE(FUNC_REDIRECT_NEIGH, CALLED_AT);
  return Buffer.concat([Buffer.from(zeroes, 'hex'), redirect]);
}

/**
 * `skb->queue_mapping = 0; skb->tc_index = 0; return TC_ACT_UNSPEC`: what no packet of a pod
 * survives with a sign.
 */
export function unsigningCode(): Buffer {
  const stores = ['0c00', '2c00'].map((offset) => `6321${offset}00000000`);
  return Buffer.from(`b702000000000000${stores.join('')}b7000000ffffffff9500000000000000`, 'hex');
}

export function indexOf(netns: TestNetns, name: string): number {
  return Number(netns.ipJson('link', 'show', 'dev', name)[0]?.['ifindex']);
}

let loaded = 0;

/** Loads a program that goes with the test. */
export function load(
  t: ExecutionContext,
  instructions: Buffer,
  type = PROG_TYPE_SCHED_CLS,
): { readonly fd: number; readonly id: number } {
  loaded += 1;
  const fd = loadProgram({ type, name: `other${loaded}`, license: 'GPL', instructions });
  t.teardown(() => fs.closeSync(fd));
  return { fd, id: programInfo(fd).id };
}

/**
 * Puts a program in front of all others at a hook, or behind them, as others do it on this kernel.
 * Gives back how to take it off before the test is over.
 */
export async function putProgram(
  t: ExecutionContext,
  netns: TestNetns,
  { device, hook, isFirst }: { device: string; hook: TcHook; isFirst: boolean },
  instructions: Buffer,
): Promise<() => void> {
  const { fd } = load(t, instructions);
  const ifindex = indexOf(netns, device);
  if (isTcxSupported()) {
    const place = hook === 'ingress' && !isFirst ? 'ingressLast' : hook;
    const link = inNetns(netns.netns, () => createTcxLink({ programFd: fd, ifindex, hook: place }));
    const close = once(() => fs.closeSync(link));
    t.teardown(close);
    return close;
  }
  const priority = isFirst ? 1 : BEHIND_PRIORITY;
  await ensureClsact(netns.rt, ifindex);
  const remove = (): void =>
    void netns.tc('filter', 'del', 'dev', device, hook, 'pref', String(priority));
  t.teardown(() => {
    try {
      remove();
    } catch {
      // The test has taken it or its device away.
    }
  });
  const place = { ifindex, hook, priority, handle: loaded };
  await replaceBpfFilter(netns.rt, { ...place, programFd: fd, name: 'other' });
  return remove;
}

/** Pins a program where `ip` finds it outside of its own /sys; gives the path. */
export function pin(t: ExecutionContext, { name }: TestNetns, fd: number, kind: string): string {
  const file = `${BPFFS}/${name}-${kind}`;
  pinObject(fd, file);
  t.teardown(() => fs.rmSync(file, { force: true }));
  return file;
}

/** Runs `ip` in a namespace with bpffs before it: `ip -n` has a /sys of its own, without. */
export function ipWithBpffs({ name }: TestNetns, ...args: readonly string[]): void {
  execFileSync('nsenter', [`--net=/run/netns/${name}`, 'ip', ...args]);
}

/** Puts an XDP program on a device; gives back how to take it off. */
export function putXdp(
  t: ExecutionContext,
  netns: TestNetns,
  device: string,
  instructions: Buffer,
): () => void {
  const { fd } = load(t, instructions, PROG_TYPE_XDP);
  const pinned = pin(t, netns, fd, 'xdp');
  ipWithBpffs(netns, 'link', 'set', 'dev', device, 'xdpgeneric', 'pinned', pinned);
  return () => {
    netns.ip('link', 'set', 'dev', device, 'xdpgeneric', 'off');
    fs.rmSync(pinned);
  };
}
