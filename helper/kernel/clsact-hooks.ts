// Programs as cls_bpf filters under a clsact qdisc, for kernels that have no tcx.

import fs from 'node:fs';
import path from 'node:path';
import { KernelError, unlessRefused } from '../wire/errors.ts';
import {
  bpfFilterOf,
  deleteFilter,
  ensureHook,
  ETH_P_ALL,
  filtersAt,
  removeClsact,
  replaceBpfFilter,
  type FilterLists,
  type TcFilter,
  type TcHook,
} from './filters.ts';
import { type AttachableProgram, type Hooks, type Standing } from './hook-places.ts';
import {
  isLast,
  nameOfPlace,
  placeFromName,
  type Occupant,
  type Place,
} from '../wire/hook-place.ts';
import type { RtSocket } from './rtnetlink.ts';

/** Our filters' places among others: in front or behind, with a handle by which they are known. */
const FIRST_PRIORITY = 1;
const LAST_PRIORITY = 0xfff0;
/** Those in front have lower priorities than this, those behind others at least this. */
const MIDDLE_PRIORITY = 0x8000;
const FILTER_HANDLE = 0x7070;

/**
 * The hook of clsact that a place is at. Throws KernelError for the far end of a netkit: those
 * kernels have tcx.
 */
function tcHookOf({ ifindex, hook }: Place): TcHook {
  if (hook === 'peer' || hook === 'peerLast')
    throw new KernelError(`attach a program to ${hook} of interface ${ifindex}`, 'ENOTSUP');
  return hook === 'egress' ? 'egress' : 'ingress';
}

/**
 * Where our filter for a place stands in a list of all filters at its hook; -1 when it is not
 * there.
 */
function positionOfOurs(filters: readonly TcFilter[], place: Place): number {
  return filters.findIndex((filter) => {
    const isOurs = filter.handle === FILTER_HANDLE && bpfFilterOf(filter) !== undefined;
    return isOurs && filter.priority >= MIDDLE_PRIORITY === isLast(place.hook);
  });
}

/**
 * Whether another BPF filter may have this priority: all of one number have one kind and one
 * protocol.
 */
function isFree(filters: readonly TcFilter[], priority: number): boolean {
  return filters.every((filter) => {
    if (filter.priority !== priority || filter.chain !== 0) return true;
    return filter.kind === 'bpf' && filter.protocol === ETH_P_ALL;
  });
}

/** The priority for a filter that is to come first, or last, of those that are free. */
function freePriority(filters: readonly TcFilter[], { hook }: Place): number {
  const [begin, step] = isLast(hook) ? [LAST_PRIORITY, -1] : [FIRST_PRIORITY, 1];
  let priority = begin;
  while (!isFree(filters, priority)) priority += step;
  return priority;
}

/** A hash table of u32 is no filter: its handle is but the table's number, in the upper 12 bits. */
function runs({ kind, handle, chain }: TcFilter): boolean {
  return handle !== 0 && chain === 0 && !(kind === 'u32' && (handle & 0xf_ffff) === 0);
}

function occupantOf(filter: TcFilter): Occupant {
  const bpf = bpfFilterOf(filter);
  return bpf === undefined || bpf.programId === 0
    ? { kind: 'filter', type: filter.kind, priority: filter.priority }
    : { kind: 'program', id: bpf.programId, name: bpf.name };
}

/** How our filter for a place stands in a list of all filters at its hook. */
function standingIn(filters: readonly TcFilter[], place: Place): Standing | undefined {
  const position = positionOfOurs(filters, place);
  const own = filters[position];
  if (own === undefined) return undefined;
  const before = isLast(place.hook) ? [] : filters.slice(0, position).filter(runs);
  // Of one priority the filter that was made last comes first.
  const best = freePriority(filters, place);
  const first = before[0]?.priority ?? best;
  return {
    programId: bpfFilterOf(own)?.programId ?? 0,
    ...{ inFront: before.map(occupantOf), canPass: best <= first },
  };
}

export class ClsactHooks implements Hooks {
  readonly kind = 'clsact';
  readonly #rt: RtSocket;
  /**
   * One empty file per place, and `<ifindex>-clsact` where the clsact qdisc itself is ours to
   * remove.
   */
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
    for (const each of this.#makeDirectory() ? this.#marks : [name])
      fs.writeFileSync(this.#mark(each), '');
  }

  #removeMark(name: string): void {
    this.#marks.delete(name);
    fs.rmSync(this.#mark(name), { force: true });
  }

  async attachedProgramId(place: Place): Promise<number | undefined> {
    const [standing] = await this.standings([place]);
    return standing?.programId;
  }

  async standings(
    places: readonly Place[],
    known?: FilterLists,
  ): Promise<(Standing | undefined)[]> {
    const lists = new Map(known);
    const standings: (Standing | undefined)[] = [];
    for (const place of places) {
      if (place.hook === 'peer' || place.hook === 'peerLast') {
        standings.push(undefined);
        continue;
      }
      standings.push(standingIn(await this.#filters(place, lists), place));
    }
    return standings;
  }

  /**
   * The filters at a place's hook; `lists` has those that were read already, and takes what is read
   * now. Asked for those at egress of an `ingress` qdisc, the kernel gives those that it has, at
   * ingress (sch_ingress.c finds its one block for any class).
   */
  async #filters(
    place: Place,
    lists = new Map<string, readonly TcFilter[]>(),
  ): Promise<readonly TcFilter[]> {
    const { ifindex } = place;
    const at = async (hook: TcHook): Promise<readonly TcFilter[]> => {
      const name = nameOfPlace({ ifindex, hook });
      const filters = lists.get(name) ?? (await filtersAt(this.#rt, ifindex, hook));
      lists.set(name, filters);
      return filters;
    };
    const filters = await at(tcHookOf(place));
    const own = filters[positionOfOurs(filters, place)];
    if (tcHookOf(place) === 'ingress' || own === undefined) return filters;
    const same = bpfFilterOf(own)?.programId;
    const isSame = (filter: TcFilter): boolean => bpfFilterOf(filter)?.programId === same;
    return (await at('ingress')).some(isSame) ? [] : filters;
  }

  async attach(place: Place, program: AttachableProgram): Promise<void> {
    const { ifindex } = place;
    const hook = tcHookOf(place);
    if (await ensureHook(this.#rt, ifindex, hook)) this.#leaveMark(`${ifindex}-clsact`);
    this.#leaveMark(nameOfPlace(place));
    const filters = await this.#filters(place);
    const priority =
      filters[positionOfOurs(filters, place)]?.priority ?? freePriority(filters, place);
    const filter = { ifindex, hook, priority, handle: FILTER_HANDLE };
    await replaceBpfFilter(this.#rt, { ...filter, programFd: program.fd, name: program.name });
  }

  /** One system call that deletes the filter and makes it again. */
  async comeFirst(place: Place, program: AttachableProgram): Promise<void> {
    const { ifindex } = place;
    const hook = tcHookOf(place);
    const filters = await this.#filters(place);
    const own = filters[positionOfOurs(filters, place)];
    if (own === undefined) return this.attach(place, program);
    const base = { ifindex, hook, handle: FILTER_HANDLE };
    const next = { ...base, priority: freePriority(filters, place) };
    const former = { ...base, priority: own.priority };
    await replaceBpfFilter(
      this.#rt,
      { ...next, programFd: program.fd, name: program.name },
      former,
    );
  }

  async detach(place: Place): Promise<void> {
    const { ifindex } = place;
    const filters = await this.#filters(place);
    const own = filters[positionOfOurs(filters, place)];
    if (own !== undefined) {
      const { priority, handle } = own;
      await deleteFilter(this.#rt, { ifindex, hook: tcHookOf(place), priority, handle });
    }
    this.#removeMark(nameOfPlace(place));
    const clsactMark = `${ifindex}-clsact`;
    const isLast = !this.knownPlaces().some((other) => other.ifindex === ifindex);
    if (!isLast || !this.#marks.has(clsactMark)) return;
    const gone = ['ENODEV', 'ENOENT', 'EINVAL'];
    if (!(await this.#hasFilters(ifindex)))
      await unlessRefused(gone, removeClsact(this.#rt, ifindex), undefined);
    this.#removeMark(clsactMark);
  }

  knownPlaces(): Place[] {
    return [...this.#marks].flatMap(placeFromName);
  }

  async #hasFilters(ifindex: number): Promise<boolean> {
    for (const hook of ['ingress', 'egress'] as const)
      if ((await filtersAt(this.#rt, ifindex, hook)).length > 0) return true;
    return false;
  }
}
