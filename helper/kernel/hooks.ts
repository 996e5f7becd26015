// Where programs stand: the ingress and egress hooks of a device, and the far end of a netkit pair.
//
// Where the kernel has tcx these are BPF links, pinned, so that they outlive the helper and die with the device. Elsewhere
// they are cls_bpf filters under a clsact qdisc. Either way the programs of others keep their place.

import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { openPinned, pinObject } from './bpf.ts';
import {
  createTcxLink,
  isTcxSupported,
  linkInfo,
  queryTcxLinks,
  updateLink,
  type HookName,
  type TcxProgram,
} from './tcx.ts';
import { hasErrno, KernelError } from './errors.ts';
import {
  deleteFilter,
  ensureClsact,
  hasFilters,
  listBpfFilters,
  removeClsact,
  replaceBpfFilter,
  type FilterPlace,
} from './filters.ts';
import { currentNetns, inNetns } from './netns.ts';
import type { RtSocket } from './rtnetlink.ts';

/** A place for a program. */
export interface Place {
  readonly ifindex: number;
  readonly hook: HookName;
}

export type { HookName } from './tcx.ts';

/** A program as far as attaching needs it. */
export interface AttachableProgram {
  readonly fd: number;
  readonly name: string;
}

/** Our filters' places among others: first, or last but for what nobody can follow, with a handle by which they are known. */
const FIRST_PRIORITY = 1;
const LAST_PRIORITY = 0xfff0;
const FILTER_HANDLE = 0x7070;

/** The programs that podpace has at device hooks. */
export interface Hooks {
  /** How programs are attached on this kernel. */
  readonly kind: 'tcx' | 'clsact';
  /** Id of podpace's program at a place; undefined when there is none. */
  attachedProgramId(place: Place): Promise<number | undefined>;
  /** The same of many places, in their order. */
  attachedProgramIds(places: readonly Place[]): Promise<(number | undefined)[]>;
  /** Puts a program at a place, replacing podpace's former one there without a gap. */
  attach(place: Place, program: AttachableProgram): Promise<void>;
  /** Takes podpace's program away; does nothing when there is none. */
  detach(place: Place): Promise<void>;
  /** Lets go of what stood at a device that is gone. */
  forgetDevice(ifindex: number): void;
  /** Devices at whose hooks podpace has left something, living or not. */
  knownPlaces(): Place[];
}

/**
 * Attaches in the way of this kernel, or in the one that is asked for. `links` is a directory on bpffs for pinned
 * links, `marks` one for notes on what filters were made; `rt` is a socket of the node.
 */
export function openHooks(
  rt: RtSocket,
  { links, marks }: { readonly links: string; readonly marks: string },
  kind: Hooks['kind'] = isTcxSupported() ? 'tcx' : 'clsact',
): Hooks {
  return kind === 'tcx' ? new TcxHooks(links) : new ClsactHooks(rt, marks);
}

const HOOK_NAMES: readonly HookName[] = ['ingress', 'egress', 'ingressLast', 'peer', 'peerLast'];

function placeFromName(name: string): Place[] {
  const match = /^(\d+)-(ingress|egress|ingressLast|peer|peerLast)$/.exec(name);
  return match === null ? [] : [{ ifindex: Number(match[1]), hook: match[2] as HookName }];
}

/** Whether a name is one that hooks give, to pinned links and to notes on filters. */
export function isHookMark(name: string): boolean {
  return placeFromName(name).length > 0 || /^\d+-clsact$/.test(name);
}

function nameOfPlace({ ifindex, hook }: Place): string {
  return `${ifindex}-${hook}`;
}

function placesIn(directory: string): Place[] {
  return fs.existsSync(directory) ? fs.readdirSync(directory).flatMap(placeFromName) : [];
}

/** The filter that stands for a program at a place. Throws KernelError for the far end of a netkit: those kernels have tcx. */
function filterAt({ ifindex, hook }: Place): FilterPlace {
  if (hook === 'peer' || hook === 'peerLast')
    throw new KernelError(`attach a program to ${hook} of interface ${ifindex}`, 'ENOTSUP');
  const priority = hook === 'ingressLast' ? LAST_PRIORITY : FIRST_PRIORITY;
  return { ifindex, hook: hook === 'egress' ? 'egress' : 'ingress', priority, handle: FILTER_HANDLE };
}

/**
 * Whether a link still is where it was made. The kernel says 0 once its device is gone, and at the far end of a netkit the
 * index there, in a namespace that may be another one.
 */
function isAttached(linkIfindex: number, { ifindex, hook }: Place): boolean {
  return hook === 'peer' || hook === 'peerLast' ? linkIfindex !== 0 : linkIfindex === ifindex;
}

/** A link ends so long after its last reference at most, by far. */
const LINK_END_MS = 3000;
const LINK_RETRY_MS = 2;

/**
 * Links a program to a place. A link whose pin is gone ends a while later: after grace periods of the kernel, and from a work
 * queue (bpf_link_put of kernel/bpf/syscall.c). Until then its program may not be linked again (EEXIST), so the end is
 * waited for, without keeping the caller's thread. Rejects with KernelError EEXIST when somebody holds that link.
 */
async function makeLink(place: Place, program: AttachableProgram): Promise<number> {
  const link = (): number => createTcxLink({ programFd: program.fd, ...place });
  try {
    return link();
  } catch (error) {
    if (!hasErrno(error, 'EEXIST')) throw error;
  }
  const netns = currentNetns();
  try {
    return await linkInTime(() => inNetns(netns, link));
  } finally {
    netns.close();
  }
}

async function linkInTime(link: () => number): Promise<number> {
  const endMs = performance.now() + LINK_END_MS;
  for (;;) {
    await sleep(LINK_RETRY_MS);
    try {
      return link();
    } catch (error) {
      if (!hasErrno(error, 'EEXIST') || performance.now() > endMs) throw error;
    }
  }
}

/** What a link has at its place; undefined when the link is not there. */
function programOfLink({ ifindex, hook }: Place, linkId: number | undefined): number | undefined {
  let programs: TcxProgram[];
  try {
    programs = queryTcxLinks(ifindex, hook);
  } catch (error) {
    if (hasErrno(error, 'ENODEV')) return undefined;
    throw error;
  }
  return programs.find((program) => program.linkId === linkId)?.programId;
}

class TcxHooks implements Hooks {
  readonly kind = 'tcx';
  readonly #directory: string;
  /** By pin: the id of its link, which the kernel gives to no other. */
  readonly #linkIds = new Map<string, number>();

  constructor(directory: string) {
    this.#directory = directory;
  }

  #pin(place: Place): string {
    return path.join(this.#directory, nameOfPlace(place));
  }

  /** Descriptor of the pinned link when it is still attached to its device; a dead pin is removed. */
  #openLink(place: Place): number | undefined {
    let fd: number;
    try {
      fd = openPinned(this.#pin(place));
    } catch (error) {
      if (hasErrno(error, 'ENOENT')) return undefined;
      throw error;
    }
    const { id, ifindex } = linkInfo(fd);
    if (isAttached(ifindex, place)) {
      this.#linkIds.set(this.#pin(place), id);
      return fd;
    }
    fs.closeSync(fd);
    this.#removePin(place);
    return undefined;
  }

  #removePin(place: Place): void {
    const pin = this.#pin(place);
    this.#linkIds.delete(pin);
    fs.rmSync(pin, { force: true });
  }

  async attachedProgramId(place: Place): Promise<number | undefined> {
    return this.#programId(place, fs.existsSync(this.#pin(place)));
  }

  async attachedProgramIds(places: readonly Place[]): Promise<(number | undefined)[]> {
    const pins = new Set(fs.existsSync(this.#directory) ? fs.readdirSync(this.#directory) : []);
    return places.map((place) => this.#programId(place, pins.has(nameOfPlace(place))));
  }

  /** One question to the kernel where the pin's link is known already: a node has thousands of them. */
  #programId(place: Place, isPinned: boolean): number | undefined {
    const pin = this.#pin(place);
    if (!isPinned) {
      this.#linkIds.delete(pin);
      return undefined;
    }
    const linkId = this.#linkIds.get(pin);
    const known = linkId === undefined ? undefined : programOfLink(place, linkId);
    if (known !== undefined) return known;
    const fd = this.#openLink(place);
    if (fd === undefined) return undefined;
    fs.closeSync(fd);
    return programOfLink(place, this.#linkIds.get(pin));
  }

  async attach(place: Place, program: AttachableProgram): Promise<void> {
    const existing = this.#openLink(place);
    if (existing !== undefined) {
      try {
        updateLink(existing, program.fd);
      } finally {
        fs.closeSync(existing);
      }
      return;
    }
    fs.mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
    const fd = await makeLink(place, program);
    try {
      pinObject(fd, this.#pin(place));
      this.#linkIds.delete(this.#pin(place));
    } finally {
      fs.closeSync(fd);
    }
  }

  /**
   * Without its pin the link ends by itself. To detach it (BPF_LINK_DETACH) would keep this thread for a grace period of the
   * kernel, tens of milliseconds for each link of a pod that goes.
   */
  async detach(place: Place): Promise<void> {
    this.#removePin(place);
  }

  forgetDevice(ifindex: number): void {
    for (const hook of HOOK_NAMES)
      if (fs.existsSync(this.#pin({ ifindex, hook }))) this.#removePin({ ifindex, hook });
  }

  knownPlaces(): Place[] {
    return placesIn(this.#directory);
  }
}

class ClsactHooks implements Hooks {
  readonly kind = 'clsact';
  readonly #rt: RtSocket;
  /** One empty file per place, and `<ifindex>-clsact` where the clsact qdisc itself is ours to remove. */
  readonly #directory: string;

  /** The files as they should be: somebody may take the directory away. */
  readonly #marks: Set<string>;

  constructor(rt: RtSocket, directory: string) {
    this.#rt = rt;
    this.#directory = directory;
    this.#makeDirectory();
    this.#marks = new Set(fs.readdirSync(directory));
  }

  #makeDirectory(): boolean {
    return fs.mkdirSync(this.#directory, { recursive: true, mode: 0o700 }) !== undefined;
  }

  #mark(name: string): string {
    return path.join(this.#directory, name);
  }

  /** Leaves a mark, and those that were lost with the directory. */
  #leaveMark(name: string): void {
    this.#marks.add(name);
    for (const each of this.#makeDirectory() ? this.#marks : [name]) fs.writeFileSync(this.#mark(each), '');
  }

  #removeMark(name: string): void {
    this.#marks.delete(name);
    fs.rmSync(this.#mark(name), { force: true });
  }

  async attachedProgramId(place: Place): Promise<number | undefined> {
    if (place.hook === 'peer' || place.hook === 'peerLast') return undefined;
    const { ifindex, hook, ...wanted } = filterAt(place);
    try {
      const filters = await listBpfFilters(this.#rt, ifindex, hook);
      return filters.find(({ handle, priority }) => handle === wanted.handle && priority === wanted.priority)
        ?.programId;
    } catch (error) {
      if (hasErrno(error, 'ENODEV', 'ENOENT', 'EINVAL')) return undefined;
      throw error;
    }
  }

  async attachedProgramIds(places: readonly Place[]): Promise<(number | undefined)[]> {
    const ids: (number | undefined)[] = [];
    for (const place of places) ids.push(await this.attachedProgramId(place));
    return ids;
  }

  async attach(place: Place, program: AttachableProgram): Promise<void> {
    const { ifindex } = place;
    const filter = filterAt(place);
    if (await ensureClsact(this.#rt, ifindex)) this.#leaveMark(`${ifindex}-clsact`);
    this.#leaveMark(nameOfPlace(place));
    await replaceBpfFilter(this.#rt, { ...filter, programFd: program.fd, name: program.name });
  }

  async detach(place: Place): Promise<void> {
    const { ifindex } = place;
    if ((await this.attachedProgramId(place)) !== undefined) {
      await deleteFilter(this.#rt, filterAt(place));
    }
    this.#removeMark(nameOfPlace(place));
    const clsactMark = `${ifindex}-clsact`;
    const isLast = !this.knownPlaces().some((other) => other.ifindex === ifindex);
    if (!isLast || !this.#marks.has(clsactMark)) return;
    if (!(await this.#hasFilters(ifindex))) await this.#removeClsact(ifindex);
    this.#removeMark(clsactMark);
  }

  /** The notes stay: filters go with a device into another namespace, and come back with it. */
  forgetDevice(): void {}

  knownPlaces(): Place[] {
    return [...this.#marks].flatMap(placeFromName);
  }

  async #hasFilters(ifindex: number): Promise<boolean> {
    for (const hook of ['ingress', 'egress'] as const) {
      try {
        if (await hasFilters(this.#rt, ifindex, hook)) return true;
      } catch (error) {
        if (!hasErrno(error, 'ENODEV', 'ENOENT', 'EINVAL')) throw error;
      }
    }
    return false;
  }

  async #removeClsact(ifindex: number): Promise<void> {
    try {
      await removeClsact(this.#rt, ifindex);
    } catch (error) {
      if (!hasErrno(error, 'ENODEV', 'ENOENT', 'EINVAL')) throw error;
    }
  }
}
