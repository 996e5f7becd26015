// What podpace uses of a kernel that not every kernel has, and what came of trying it. Pure.

/** Everything that podpace uses of a kernel and not every kernel has. */
export const FEATURES = [
  'bpf',
  'btf',
  'spinLock',
  'mapInMap',
  'tailCall',
  'stamp',
  'redirect',
  'batch',
  'cgroupSkb',
  'programs',
  'tcx',
  'clsact',
  'fq',
  'mq',
  'netkit',
  'netnsCookie',
] as const;

export type Feature = (typeof FEATURES)[number];
export type KernelFeatures = Readonly<Record<Feature, Attempt>>;

/** What came of trying something. */
export interface Attempt {
  /** Undefined when it was not tried, or the try says nothing. */
  readonly there: boolean | undefined;
  /** Unless it is there: the kernel's words, or why it was not tried. */
  readonly why: string;
}

export const THERE: Attempt = { there: true, why: '' };

export function notTried(why: string): Attempt {
  return { there: undefined, why };
}
