// A name for each kind of fault and note, with where on a packet's way it is, how bad that is and
// what to do. Pure.

import { remedies } from './remedies.ts';

/** The stations of a pod's packets, in their order: out of the pod, and back into it. */
export const STAGES = [
  'host-interface',
  'classifier',
  'routing',
  'exit',
  'node-sockets',
  'delivery',
  'caps',
  'books',
  'node',
] as const;
export type Stage = (typeof STAGES)[number];

/** `error`: a cap is not enforced by it; `warning`: it may not be; `info`: to be known. */
export type Severity = 'error' | 'warning' | 'info';

interface Kind {
  readonly stage: Stage;
  readonly severity: Severity;
  /** What to do; absent where each message says it. */
  readonly remedy?: string;
}

function error(stage: Stage, remedy?: string): Kind {
  return { stage, severity: 'error', ...(remedy !== undefined && { remedy }) };
}

function warning(stage: Stage, remedy?: string): Kind {
  return { ...error(stage, remedy), severity: 'warning' };
}

function info(stage: Stage): Kind {
  return { stage, severity: 'info' };
}

const REPAIRED = remedies.waitForRepair;
const KINDS = {
  'network-second': info('host-interface'),
  'host-interface-gone': error('host-interface', 'delete the pod, so that it is added again'),
  'interface-unheld': error('host-interface', 'give the pod a veth or netkit pair there'),
  'xdp-present': warning('host-interface', 'see that it passes packets on (XDP_PASS)'),
  'classifier-missing': error('classifier', REPAIRED),
  'classifier-stale': error('classifier', REPAIRED),
  'classifier-behind': error('classifier'),
  'host-interface-unknown': error('classifier', REPAIRED),
  'redirect-past-cap': error('classifier', 'have its owner attach it behind podpace, or detach it'),
  'redirect-detour': warning('classifier'),
  'host-routing-missing': error('routing', REPAIRED),
  'host-routing-stale': error('routing', REPAIRED),
  'host-routing-behind': error('routing'),
  'host-routing-entry': error('routing', REPAIRED),
  'reverse-path-strict': info('routing'),
  'arrival-none': info('routing'),
  'netfilter-bypassed': info('routing'),
  'uplink-none': error('exit', remedies.noUplink),
  'uplink-unnamed': error('exit', 'name it, too (--uplink), or leave the choice to podpaced'),
  'uplink-unusable': error('exit', 'name another uplink (--uplink)'),
  'departure-missing': error('exit', REPAIRED),
  'departure-stale': error('exit', REPAIRED),
  'departure-behind': error('exit'),
  'overhead-wrong': error('exit', REPAIRED),
  'fq-missing': error('exit', remedies.missingQdisc('fq')),
  'qdisc-foreign': error('exit'),
  'qdisc-replaced': error('exit', REPAIRED),
  'policing-missing': error('node-sockets', REPAIRED),
  'policing-refused': warning('node-sockets'),
  'delivery-missing': error('delivery', REPAIRED),
  'delivery-stale': error('delivery', REPAIRED),
  'delivery-behind': error('delivery'),
  'continuation-missing': error('delivery', REPAIRED),
  'ingress-unseen': error('delivery'),
  'cap-not-in-force': error(
    'caps',
    'put right what it names; podpaced then caps the pod by itself',
  ),
  'config-wrong': error('caps', REPAIRED),
  'state-missing': error('caps', REPAIRED),
  'exemptions-wrong': error('caps', REPAIRED),
  'egress-unaccounted': error('books'),
  'repair-failed': error('node', 'put right what it names; podpaced tries again by itself'),
  'node-fault': error('node', 'put right what it names'),
  'helper-old': error('node'),
} satisfies Readonly<Record<string, Kind>>;

/** A code keeps its meaning in later releases. */
export type ProblemCode = keyof typeof KINDS;

/** Where each is looked for, how bad it is, and what to do. */
export const PROBLEM_CODES: Readonly<Record<ProblemCode, Kind>> = KINDS;

/** What follows from a fault besides: told of, and no fault of its own. */
export const CONSEQUENCES: Readonly<Partial<Record<ProblemCode, readonly ProblemCode[]>>> = {
  'fq-missing': ['qdisc-replaced', 'repair-failed'],
};
