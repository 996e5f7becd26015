// The bpffs under the pins. On it hangs whether caps outlive the helper: with the last mount of a
// bpffs all pins are gone. So it has to be the node's, and podpaced mounts one only when it is told
// to.

import path from 'node:path';
import type { HelperConfig } from './config.ts';
import { bpffsOwner, ensureBpffs, isBpffs, removeBpffs } from './kernel/bpffs.ts';
import { remedies } from './protocol/remedies.ts';
import { Refusal } from './refusal.ts';

type Settings = Pick<HelperConfig, 'pinDir' | 'mountBpffs' | 'privateBpffs'>;

/**
 * Mount point of the bpffs that holds a pin directory: its parent, as /sys/fs/bpf is of
 * /sys/fs/bpf/podpace.
 */
export function bpffsOf(pinDir: string): string {
  return path.dirname(pinDir);
}

/** What there is at the place for pins. */
export interface PinPlace {
  readonly ok: boolean;
  readonly found: string;
  readonly remedy?: string;
  /** Why caps are not safe there although podpaced works. */
  readonly problem?: string;
}

/** Looks at the place for pins, and judges it as `podpaced run` would. Changes nothing. */
export function examinePinPlace({ pinDir, mountBpffs, privateBpffs }: Settings): PinPlace {
  const place = bpffsOf(pinDir);
  if (!isBpffs(place)) {
    if (mountBpffs) return { ok: true, found: `no bpffs on ${place} yet: podpaced run mounts it` };
    const remedy = `${remedies.nodeBpffs(place)}; ${remedies.mountBpffs}`;
    return { ok: false, found: `there is no bpffs on ${place}`, remedy };
  }
  const owner = bpffsOwner(place);
  if (owner === 'node') return { ok: true, found: `bpffs on ${place}` };
  if (owner !== 'private' && !privateBpffs) {
    return {
      ok: true,
      found: `bpffs on ${place}; whether it is the node's cannot be seen ${owner.unknown}`,
    };
  }
  const found =
    owner === 'private'
      ? `the bpffs on ${place} is not the node's`
      : `the bpffs on ${place} is not known to be the node's (--private-bpffs)`;
  const problem = `${found}: all caps end when the last process in podpaced's mount namespace does; ${remedies.nodeBpffs(place)}`;
  if (privateBpffs) return { ok: true, found, problem };
  return { ok: false, found, remedy: `${remedies.nodeBpffs(place)}; ${remedies.privateBpffs}` };
}

/**
 * Throws Refusal when podpaced may not pin what it would find at the place for pins. Changes
 * nothing.
 */
export function requirePinPlace(settings: Settings): void {
  const { ok, found, remedy = '' } = examinePinPlace(settings);
  if (!ok) throw new Refusal(`${found}: ${remedy}`);
}

/**
 * Sees to it that there is a bpffs for pins; returns what is wrong with it although it can be used,
 * for `status`. Throws Refusal when there is none, or not the node's, and the settings do not allow
 * that: then nothing is mounted.
 */
export function providePinPlace(settings: Settings): string[] {
  const place = bpffsOf(settings.pinDir);
  const wasMounted = settings.mountBpffs && ensureBpffs(place);
  try {
    requirePinPlace(settings);
  } catch (error) {
    if (wasMounted) removeBpffs(place);
    throw error;
  }
  const { problem } = examinePinPlace(settings);
  return problem === undefined ? [] : [problem];
}
