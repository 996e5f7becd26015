// Programs as BPF links on tcx: pinned, so that they outlive the helper and die with the device.

import fs from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Breaks } from './breaks.ts';
import { loadProgram, nameOfProgram, pinObject, PROG_TYPE_SCHED_CLS } from './bpf.ts';
import { closing } from './descriptors.ts';
import { hasErrno, unlessErrno } from '../wire/errors.ts';
import { placesIn, type AttachableProgram, type Hooks, type Standing } from './hook-places.ts';
import { isLast, nameOfPlace, type Occupant, type Place } from '../wire/hook-place.ts';
import { hurrying } from './grace-periods.ts';
import { currentNetns, inNetns } from './netns.ts';
import { openIfPinned } from './pins.ts';
import {
  createTcxLink,
  detachLink,
  linkInfo,
  queryTcxLinks,
  updateLink,
  type TcxProgram,
} from './tcx.ts';

/**
 * Whether a link still is where it was made. The kernel says 0 once its device is gone, and at the
 * far end of a netkit the index there, in a namespace that may be another one.
 */
function isAttached(linkIfindex: number, { ifindex, hook }: Place): boolean {
  return hook === 'peer' || hook === 'peerLast' ? linkIfindex !== 0 : linkIfindex === ifindex;
}

/** A link ends so long after its last reference at most, by far. */
const LINK_END_MS = 3000;
const LINK_RETRY_MS = 2;

/**
 * Links a program to a place. A link whose pin is gone ends a while later: after grace periods of
 * the kernel, and from a work queue (bpf_link_put of kernel/bpf/syscall.c). Until then its program
 * may not be linked again (EEXIST), so the end is waited for, without keeping the caller's thread.
 * Rejects with KernelError EEXIST when somebody holds that link.
 */
async function makeLink(place: Place, program: AttachableProgram): Promise<number> {
  const link = (): number => hurrying(() => createTcxLink({ programFd: program.fd, ...place }));
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

/** The programs at a place in their order; none when the device is gone. */
function programsAt({ ifindex, hook }: Place): TcxProgram[] {
  return unlessErrno(['ENODEV'], () => queryTcxLinks(ifindex, hook)) ?? [];
}

/** How a link's program stands at its place; undefined when the link is not there. */
function standingOfLink(place: Place, linkId: number | undefined): Standing | undefined {
  const programs = programsAt(place);
  const position = programs.findIndex((program) => program.linkId === linkId);
  const own = programs[position];
  if (own === undefined) return undefined;
  const before = isLast(place.hook) ? [] : programs.slice(0, position);
  const inFront = before.map(({ programId: id }): Occupant => {
    return { kind: 'program', id, name: nameOfProgram(id) ?? '' };
  });
  return { programId: own.programId, inFront, canPass: true };
}

/** Of a link that the kernel has ended, with its device or by somebody's hand. */
const ENDED: Standing = { programId: undefined, inFront: [], canPass: true };

/** Pins of so many places are looked for one by one, those of more in the whole directory. */
const FEW_PLACES = 64;

/** `r0 = TCX_NEXT; exit`: lets every packet go on to the next program. */
const LET_PASS = Buffer.from('b7000000ffffffff9500000000000000', 'hex');

/**
 * A program of its own each time: a hook takes none twice, and the link of the last one may not
 * have ended yet.
 */
function loadLetPass(): number {
  return loadProgram({
    ...{ type: PROG_TYPE_SCHED_CLS, name: 'podpace_let_pass' },
    ...{ license: 'Dual BSD/GPL', instructions: LET_PASS },
  });
}

export class TcxHooks implements Hooks {
  readonly kind = 'tcx';
  readonly #directory: string;
  /** By pin: the id of its link, which the kernel gives to no other. */
  readonly #linkIds = new Map<string, number>();

  constructor(directory: string) {
    this.#directory = directory;
  }

  #pin(place: Place): string {
    return `${this.#directory}/${nameOfPlace(place)}`;
  }

  /** Descriptor of the pinned link when it is still attached to its device; `ended` when not. */
  #openLink(place: Place): number | 'ended' | undefined {
    const fd = openIfPinned(this.#pin(place));
    if (fd === undefined) return undefined;
    const { id, ifindex } = linkInfo(fd);
    if (isAttached(ifindex, place)) {
      this.#linkIds.set(this.#pin(place), id);
      return fd;
    }
    fs.closeSync(fd);
    return 'ended';
  }

  /** The same for what is about to change the place: the pin of a link that has ended goes. */
  #takeLink(place: Place): number | undefined {
    const link = this.#openLink(place);
    if (link !== 'ended') return link;
    this.#removePin(place);
    return undefined;
  }

  #removePin(place: Place): void {
    const pin = this.#pin(place);
    this.#linkIds.delete(pin);
    fs.rmSync(pin, { force: true });
  }

  async attachedProgramId(place: Place): Promise<number | undefined> {
    return this.#standing(place, fs.existsSync(this.#pin(place)))?.programId;
  }

  async standings(places: readonly Place[]): Promise<(Standing | undefined)[]> {
    if (places.length <= FEW_PLACES)
      return places.map((place) => this.#standing(place, fs.existsSync(this.#pin(place))));
    const pins = new Set(fs.existsSync(this.#directory) ? fs.readdirSync(this.#directory) : []);
    const breaks = new Breaks();
    const standings: (Standing | undefined)[] = [];
    for (const place of places) {
      standings.push(this.#standing(place, pins.has(nameOfPlace(place))));
      await breaks.mayCome();
    }
    return standings;
  }

  /**
   * One question to the kernel where the pin's link is known already: a node has thousands of them.
   */
  #standing(place: Place, isPinned: boolean): Standing | undefined {
    const pin = this.#pin(place);
    if (!isPinned) {
      this.#linkIds.delete(pin);
      return undefined;
    }
    const linkId = this.#linkIds.get(pin);
    const known = linkId === undefined ? undefined : standingOfLink(place, linkId);
    if (known !== undefined) return known;
    const fd = this.#openLink(place);
    if (fd === undefined) return undefined;
    if (fd === 'ended') return ENDED;
    fs.closeSync(fd);
    return standingOfLink(place, this.#linkIds.get(pin));
  }

  async attach(place: Place, program: AttachableProgram): Promise<void> {
    const existing = this.#takeLink(place);
    if (existing !== undefined) {
      closing(existing, (link) => updateLink(link, program.fd));
      return;
    }
    fs.mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
    closing(await makeLink(place, program), (fd) => pinObject(fd, this.#pin(place)));
    this.#linkIds.delete(this.#pin(place));
  }

  /**
   * A link keeps its place for life, and no program stands at a hook twice. So the link that is
   * there gets a program that lets everything pass, and then a new one is made in front: two system
   * calls, some tens of microseconds. The old link ends with its pin. Whoever dies in between
   * leaves a program that the next helper knows not to be its own.
   */
  async comeFirst(place: Place, program: AttachableProgram): Promise<void> {
    const former = this.#takeLink(place);
    if (former === undefined) return this.attach(place, program);
    const letPass = loadLetPass();
    try {
      const next = hurrying(() => {
        updateLink(former, letPass);
        return this.#linkInstead(former, place, program);
      });
      this.#removePin(place);
      closing(next, (fd) => pinObject(fd, this.#pin(place)));
    } finally {
      fs.closeSync(letPass);
      fs.closeSync(former);
    }
  }

  /** A link in front of all others; where that fails the former one gets the program. */
  #linkInstead(former: number, place: Place, program: AttachableProgram): number {
    try {
      return createTcxLink({ programFd: program.fd, ...place });
    } catch (error) {
      updateLink(former, program.fd);
      throw error;
    }
  }

  /**
   * Without its pin the link ends by itself. To end it takes a grace period of the kernel, for
   * which this thread would wait; but whoever deletes the device waits for all of them, so where
   * the kernel can be hurried the link is ended.
   */
  async detach(place: Place): Promise<void> {
    const leaveIt = (): void => undefined;
    hurrying(() => this.#endLink(place), leaveIt);
    this.#removePin(place);
  }

  #endLink(place: Place): void {
    const link = this.#openLink(place);
    if (typeof link === 'number') closing(link, detachLink);
  }

  knownPlaces(): Place[] {
    return placesIn(this.#directory);
  }
}
