// What podpaced has to be allowed to do, and what for: found out by taking the capabilities away one by one.

import { effectiveCapabilities, isInInitialUserNamespace, type Capability } from './kernel/capabilities.ts';
import { remedies } from './protocol/remedies.ts';

/** A capability that podpaced uses. */
interface Need {
  readonly capability: Capability;
  /** What it is needed for. */
  readonly purpose: string;
  /** Another one that the kernel takes for it (bpf_capable and perfmon_capable of linux/capability.h). */
  readonly coveredBy?: Capability;
  /** Caps hold without it. */
  readonly isOptional?: true;
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
    isOptional: true,
  },
];

/** One capability as it was found. */
export interface PrivilegeFinding {
  readonly capability: Capability;
  /** False when podpaced cannot do its work like this. */
  readonly ok: boolean;
  readonly found: string;
}

/** Judges what is held, one capability after the other. Pure. */
export function judgeCapabilities(held: ReadonlySet<Capability>): PrivilegeFinding[] {
  return NEEDS.map(({ capability, purpose, coveredBy, isOptional = false }) => {
    if (held.has(capability)) return { capability, ok: true, found: `held, ${purpose}` };
    if (coveredBy !== undefined && held.has(coveredBy)) {
      return { capability, ok: true, found: `covered by ${coveredBy}, ${purpose}` };
    }
    const weight = isOptional ? 'not held, useful' : 'not held, needed';
    return { capability, ok: isOptional, found: `${weight} ${purpose}` };
  });
}

/** The capabilities of this process. */
export function examineCapabilities(): PrivilegeFinding[] {
  return judgeCapabilities(effectiveCapabilities());
}

/** Why this process may not do podpaced's work, in one sentence with the remedy; undefined when it may. */
export function missingPrivileges(): string | undefined {
  const uid = process.getuid?.();
  if (uid !== 0) return `podpaced must run as root, not as user ${String(uid)}: ${remedies.root}`;
  const missing = examineCapabilities().filter(({ ok }) => !ok);
  if (missing.length > 0) {
    const list = missing.map(({ capability, found }) => `${capability} (${found})`).join(', ');
    return `podpaced lacks ${list}: ${remedies.capabilities}`;
  }
  if (isInInitialUserNamespace()) return undefined;
  return (
    'podpaced runs in a user namespace of its own, where capabilities do not count for the node: ' +
    'run it as root of the node (in a pod without hostUsers: false)'
  );
}
