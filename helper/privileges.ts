// What podpaced has to be allowed to do, and what for: found out by taking the capabilities away
// one by one.

import {
  effectiveCapabilities,
  isInInitialUserNamespace,
  type Capability,
} from './kernel/capabilities.ts';
import type { ProbeItem } from './protocol/messages.ts';
import { remedies } from './protocol/remedies.ts';

/** A capability that podpaced uses. */
interface Need {
  readonly capability: Capability;
  /** A clause that begins with "to". */
  readonly purpose: string;
  /**
   * Another one that the kernel takes for it (bpf_capable and perfmon_capable of
   * linux/capability.h).
   */
  readonly coveredBy?: Capability;
  /** What it costs to be without it, where caps hold all the same. */
  readonly cost?: string;
}

const NEEDS: readonly Need[] = [
  { capability: 'CAP_NET_ADMIN', purpose: 'to set qdiscs and put programs at devices' },
  {
    capability: 'CAP_SYS_ADMIN',
    purpose: 'to open maps of an earlier podpaced, enter the namespaces of pods, and mount bpffs',
  },
  { capability: 'CAP_BPF', purpose: 'to load programs and make maps', coveredBy: 'CAP_SYS_ADMIN' },
  {
    capability: 'CAP_PERFMON',
    purpose: 'to have the verifier accept the programs',
    coveredBy: 'CAP_SYS_ADMIN',
  },
  {
    capability: 'CAP_SYS_PTRACE',
    purpose:
      'to see whether the bpffs is the one of the node, and enter namespaces that are named by process',
    cost: "a bpffs is taken for the node's, and pods whose namespace is named by process are refused",
  },
];

const NO_START = 'podpaced does not start';

function itemOf(
  { capability, purpose, coveredBy, cost }: Need,
  held: ReadonlySet<Capability>,
): ProbeItem {
  const isCovered = coveredBy !== undefined && held.has(coveredBy);
  const there = held.has(capability) || isCovered;
  return {
    ...{ name: capability, ok: there || cost !== undefined, there },
    found: held.has(capability) ? 'held' : isCovered ? `covered by ${coveredBy}` : 'not held',
    ...{ neededFor: purpose, withoutIt: cost ?? NO_START },
    ...(!there && { remedy: `add ${capability} to podpaced's container or unit` }),
  };
}

/** Judges what is held, one capability after the other. Pure. */
export function judgeCapabilities(held: ReadonlySet<Capability>): ProbeItem[] {
  return NEEDS.map((need) => itemOf(need, held));
}

/** The capabilities of this process. */
function examineCapabilities(): ProbeItem[] {
  return judgeCapabilities(effectiveCapabilities());
}

/**
 * Why this process may not do podpaced's work, in one sentence with the remedy; undefined when it
 * may.
 */
export function missingPrivileges(): string | undefined {
  const uid = process.getuid?.();
  if (uid !== 0) return `podpaced must run as root, not as user ${String(uid)}: ${remedies.root}`;
  const missing = examineCapabilities().filter(({ ok }) => !ok);
  if (missing.length > 0) {
    const list = missing
      .map(({ name, found, neededFor }) => `${name} (${found}, needed ${neededFor})`)
      .join(', ');
    return `podpaced lacks ${list}: ${remedies.capabilities}`;
  }
  if (isInInitialUserNamespace()) return undefined;
  return (
    'podpaced runs in a user namespace of its own, where capabilities do not count for the node: ' +
    'run it as root of the node (in a pod without hostUsers: false)'
  );
}

export const PRIVILEGE_REMEDY =
  'run podpaced as root of the node, with the capabilities that are listed here';

/** The items of `probe` and `status` that are of this process. */
export function privilegeItems(): ProbeItem[] {
  const missing = missingPrivileges();
  const ok = missing === undefined;
  const summary: ProbeItem = {
    ...{ name: 'privileges', ok, there: ok, found: missing ?? 'root' },
    ...{ neededFor: "to do podpaced's work on this node", withoutIt: NO_START },
    ...(!ok && { remedy: PRIVILEGE_REMEDY }),
  };
  return [summary, ...examineCapabilities()];
}
