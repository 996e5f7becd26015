// What a device adds to each packet below it, so that the frames that leave the node are what a cap
// counts. Pure.
//
// A packet that is sent on a device has the headers of that device, an Ethernet header where it
// carries frames. What is added is counted from there to the frame on the device at the bottom:
// with all that devices in between add, and its Ethernet header.

import type { Link } from '../wire/link-message.ts';
import type { FrameOverhead } from '../wire/aggregate.ts';
import {
  belowOf,
  ETHERNET,
  hasFrames,
  NO_LIMIT,
  type Certainty,
  type Step,
  type Surroundings,
} from './layers.ts';
import { layerOf, MASTERS, OPEN_VSWITCH, TRANSPARENT } from './tunnel-layers.ts';

export interface Overhead {
  /** Absent when nothing is added. */
  readonly overhead?: FrameOverhead;
  readonly certainty?: Certainty;
}

/** Devices on devices, of which the kernel allows 8 (MAX_NEST_DEV); routes may lead in circles. */
const MAX_DEPTH = 8;

/** All that is done to a packet on its way down. */
interface Descent {
  readonly steps: readonly Step[];
  readonly told: number;
  readonly certainty?: Certainty | undefined;
}

function descend(link: Link, around: Surroundings, passed: readonly number[] = []): Descent {
  if (MASTERS.has(link.kind ?? '')) return descendByPorts(link, around, [...passed, link.index]);
  const layer = layerOf(link, around);
  const { steps, told = 0, certainty } = layer;
  if (layer.goesOnAs === 'done') return { steps, told, certainty };
  const found = belowOf(link, layer, around);
  const isCircle =
    found !== undefined && (found.index === link.index || passed.includes(found.index));
  const below = isCircle || passed.length >= MAX_DEPTH ? undefined : found;
  const header =
    layer.goesOnAs === 'packet' && (below === undefined || hasFrames(below)) ? ETHERNET : 0;
  const own = header === 0 ? steps : [...steps, { add: header }];
  if (below === undefined) return { steps: own, told, certainty };
  const rest = descend(below, around, [...passed, link.index]);
  return { steps: [...own, ...rest.steps], told, certainty: worse(certainty, rest.certainty) };
}

/**
 * Where a packet goes on by one of several ports: what all of them add. Of Open vSwitch's any may
 * be the one, as its flows say; those of its own kind are the node's again. Its tunnels have their
 * outer headers from these flows, too late to be read where the packet is charged.
 */
function descendByPorts(link: Link, around: Surroundings, passed: readonly number[]): Descent {
  const none: Descent = { steps: [], told: 0 };
  if (passed.length > MAX_DEPTH) return none;
  const [first = none, ...others] = around
    .portsOf(link)
    .filter(({ kind }) => kind !== OPEN_VSWITCH)
    .map((port) => descend(port, around, passed));
  const isSwitch = link.kind === OPEN_VSWITCH;
  const text = JSON.stringify(first.steps);
  if (!others.every(({ steps }) => JSON.stringify(steps) === text))
    return isSwitch ? { ...none, certainty: 'estimated' } : none;
  const certainty =
    isSwitch && first.told > 0 ? worse(first.certainty, 'estimated') : first.certainty;
  return { ...first, told: 0, certainty };
}

function worse(a: Certainty | undefined, b: Certainty | undefined): Certainty | undefined {
  return a === 'unknown' || b === 'unknown' ? 'unknown' : (a ?? b);
}

/**
 * The steps as the datapath does them: add, fill up, add. Where two fill up the coarser one counts,
 * which is exact when its multiple is one of the finer one's, and so is all that comes between
 * where the finer one is first.
 */
function inOne(steps: readonly Step[]): {
  readonly frame: FrameOverhead;
  readonly isExact: boolean;
} {
  let [innerBytes, align, mtu, frameBytes, isExact] = [0, 0, 0, 0, true];
  for (const step of steps) {
    if ('add' in step) {
      frameBytes += step.add;
      continue;
    }
    if (align > 0 && align % step.padTo === 0 && step.mtu === NO_LIMIT) {
      frameBytes += (step.padTo - (frameBytes % step.padTo)) % step.padTo;
      continue;
    }
    if (align > 0)
      isExact &&= step.padTo % align === 0 && frameBytes % align === 0 && mtu === NO_LIMIT;
    innerBytes += frameBytes;
    frameBytes = 0;
    align = Math.max(align, step.padTo);
    mtu = step.mtu;
  }
  return { frame: { frameBytes, align, mtu, ...(innerBytes > 0 && { innerBytes }) }, isExact };
}

/** What is added below a device to each packet that is sent on it. */
export function overheadOf(link: Link, around: Surroundings): Overhead {
  const { steps, told, certainty } = descend(link, around);
  const { frame: sum, isExact } = inOne(steps);
  const doubt = isExact ? certainty : worse(certainty, 'estimated');
  const isNone = sum.frameBytes === 0 && sum.align === 0 && told === 0;
  return {
    ...(!isNone && { overhead: { ...sum, ...(told > 0 && { told }) } }),
    ...(doubt !== undefined && { certainty: doubt }),
  };
}

/** Whether outer packets of a device are routed to somewhere, so that it is asked where. */
export function farEndOf({ tunnel, linkIndex = 0 }: Link): string | undefined {
  if (tunnel === undefined || (tunnel.linkIndex ?? linkIndex) !== 0) return undefined;
  return tunnel.remote;
}

/**
 * Whether a device hands packets of its own on to others by IP, so that it is no uplink of theirs
 * for want of something better.
 */
export function isTunnel({ kind = '' }: Link): boolean {
  const isOther =
    TRANSPARENT.has(kind) ||
    kind === 'vlan' ||
    kind === 'macsec' ||
    kind === 'hsr' ||
    kind === 'ppp';
  return kind !== '' && !isOther;
}
