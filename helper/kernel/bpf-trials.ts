// What bpf(2) can do of what podpace uses, found by doing it once, with maps and programs that are
// gone at once.

import fs from 'node:fs';
import { THERE, type Attempt } from '../wire/kernel-features.ts';
import {
  LOCK_TYPES,
  lockProgram,
  PASSING,
  REDIRECT_PROGRAM,
  STAMP_PROGRAM,
  tailCallProgram,
} from '../wire/trial.ts';
import {
  createMap,
  loadBtf,
  loadProgram,
  lookupBatches,
  MAP_TYPE,
  PROG_TYPE_CGROUP_SKB,
  PROG_TYPE_SCHED_CLS,
  type MapAttributes,
} from './bpf.ts';
import { hasErrno, KernelError } from '../wire/errors.ts';

/** The kernel's ENOTSUPP, which is none of the C library's (include/linux/errno.h). */
const ENOTSUPP = 'Unknown system error -524';

/** How bpf(2) says that it does not know something, or does not allow it. */
const BPF_REFUSALS = ['EINVAL', 'EACCES', 'EPERM', 'ENOSYS', 'ENOTSUP', ENOTSUPP] as const;

/** An error in one clause: of a verifier's log the line that says what was refused. */
export function wordsOf(error: unknown): string {
  if (!(error instanceof KernelError)) return (error as Error).message;
  const said = (error.detail ?? '').split('\n');
  const reason = said.findLast(
    (line) => !/^(processed|verification time|stack depth|\s*$)/.test(line),
  );
  return `cannot ${error.operation}: ${error.errno}${reason === undefined ? '' : ` (${reason.trim()})`}`;
}

/** What an error says of a feature: that it is not there, by these errnos, or nothing. */
export function judged(error: unknown, refusals: readonly string[]): Attempt {
  return { there: hasErrno(error, ...refusals) ? false : undefined, why: wordsOf(error) };
}

/** Does something that bpf(2) may refuse; what it opens is closed. */
export function attempt(use: (opened: (fd: number) => number) => unknown): Attempt {
  const fds: number[] = [];
  try {
    use((fd) => {
      fds.push(fd);
      return fd;
    });
    return THERE;
  } catch (error) {
    return judged(error, BPF_REFUSALS);
  } finally {
    for (const fd of fds) fs.closeSync(fd);
  }
}

export const TRIAL_NAME = 'podpace_trial';

const TRIAL = { name: TRIAL_NAME, keySize: 4, valueSize: 4, maxEntries: 1, flags: 0 } as const;
const ARRAY: MapAttributes = { ...TRIAL, type: MAP_TYPE.ARRAY };

function load(instructions: Buffer, type = PROG_TYPE_SCHED_CLS): number {
  return loadProgram({ type, name: TRIAL.name, license: 'GPL', instructions });
}

/** Loads a program that lets every packet pass, and returns its descriptor. Throws KernelError. */
export function loadPassing(): number {
  return load(PASSING);
}

/**
 * Whether a departure time can be set with its clock; a kernel that can also keeps it when the
 * packet changes namespaces.
 */
export function tryStamp(): Attempt {
  return attempt((opened) => opened(load(STAMP_PROGRAM)));
}

function trySpinLock(): Attempt {
  const { btf, keyTypeId, valueTypeId, valueSize } = LOCK_TYPES;
  return attempt((opened) => {
    const types = { btfFd: opened(loadBtf(btf)), keyTypeId, valueTypeId };
    opened(load(lockProgram(opened(createMap({ ...ARRAY, valueSize }, types)))));
  });
}

/** BPF_F_NO_PREALLOC of linux/bpf.h, without which there is no trie. */
const BPF_F_NO_PREALLOC = 1;

/** Lists all elements in batches, of the kinds of map of which that is done. */
function tryBatch(): Attempt {
  return attempt((opened) => {
    const [keySize, valueSize] = [8, 4];
    for (const type of [MAP_TYPE.HASH, MAP_TYPE.LPM_TRIE]) {
      const fd = opened(createMap({ ...TRIAL, type, keySize, flags: BPF_F_NO_PREALLOC }));
      Array.from(lookupBatches(fd, keySize, valueSize));
    }
  });
}

type BpfFeature =
  | 'bpf'
  | 'btf'
  | 'spinLock'
  | 'mapInMap'
  | 'tailCall'
  | 'stamp'
  | 'redirect'
  | 'batch'
  | 'cgroupSkb';

/**
 * Tries everything. What is refused for want of a right, or by a rule of the node's, counts as not
 * there.
 */
export function tryBpf(): Readonly<Record<BpfFeature, Attempt>> {
  return {
    bpf: attempt((opened) => [opened(createMap(ARRAY)), opened(loadPassing())]),
    btf: attempt((opened) => opened(loadBtf(LOCK_TYPES.btf))),
    spinLock: trySpinLock(),
    mapInMap: attempt((opened) =>
      opened(
        createMap({ ...TRIAL, type: MAP_TYPE.ARRAY_OF_MAPS }, undefined, opened(createMap(ARRAY))),
      ),
    ),
    tailCall: attempt((opened) =>
      opened(load(tailCallProgram(opened(createMap({ ...TRIAL, type: MAP_TYPE.PROG_ARRAY }))))),
    ),
    stamp: tryStamp(),
    redirect: attempt((opened) => opened(load(REDIRECT_PROGRAM))),
    batch: tryBatch(),
    cgroupSkb: attempt((opened) => opened(load(PASSING, PROG_TYPE_CGROUP_SKB))),
  };
}
