// Which kernels can hold caps.

/**
 * The oldest kernel that every test runs on. BPF itself would do with 5.12 (atomic compare-and-exchange); what is
 * not tested is not promised.
 */
export const MINIMUM_KERNEL = '6.1';

/** True when a release string such as `6.1.0-30-cloud-amd64` is at least MINIMUM_KERNEL. */
export function isKernelSupported(release: string): boolean {
  const numbers = /^(\d+)\.(\d+)/.exec(release);
  const [, minimumMajor, minimumMinor] = /^(\d+)\.(\d+)/.exec(MINIMUM_KERNEL) ?? [];
  if (numbers === null) return false;
  const major = Number(numbers[1]) - Number(minimumMajor);
  return major > 0 || (major === 0 && Number(numbers[2]) >= Number(minimumMinor));
}
