// What the kernel lets this process do: capabilities(7) one by one, not whether it is root.

import fs from 'node:fs';

/** Numbers of linux/capability.h, of those that anybody here asks for. */
const CAPABILITIES = {
  CAP_NET_ADMIN: 12,
  CAP_SYS_PTRACE: 19,
  CAP_SYS_ADMIN: 21,
  CAP_PERFMON: 38,
  CAP_BPF: 39,
} as const;

export type Capability = keyof typeof CAPABILITIES;

/** The effective capabilities in the content of /proc/PID/status. */
export function parseCapabilities(status: string): ReadonlySet<Capability> {
  const mask = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`);
  const names = Object.keys(CAPABILITIES) as Capability[];
  return new Set(names.filter((name) => ((mask >> BigInt(CAPABILITIES[name])) & 1n) === 1n));
}

/**
 * Effective capabilities of a process; without `pid` of the calling one. Throws Node's ENOENT when
 * there is no such process.
 */
export function effectiveCapabilities(pid?: number): ReadonlySet<Capability> {
  return parseCapabilities(fs.readFileSync(`/proc/${pid ?? 'thread-self'}/status`, 'utf8'));
}

/** USER_NS_INIT_INO of linux/proc_ns.h. */
const INITIAL_USER_NAMESPACE = 'user:[4026531837]';

/**
 * Whether capabilities count for the node: those of another user namespace count only for what
 * belongs to that one.
 */
export function isInInitialUserNamespace(): boolean {
  return fs.readlinkSync('/proc/thread-self/ns/user') === INITIAL_USER_NAMESPACE;
}
