// What a plan that is not empty means to an operator: each outstanding step is something that is missing now. Pure.

import { aggregatesOf } from './aggregate-ids.ts';
import { qdiscProblems } from './exit-qdiscs.ts';
import {
  shapedDevices,
  type Desired,
  type Observed,
  type Plan,
  type ProgramName,
  type Step,
} from './plan.ts';

const ROLES: Readonly<Record<ProgramName, string>> = {
  classify: 'classifier',
  depart: 'departure program',
  departUpper: 'departure program',
  deliver: 'departure program for ingress',
  forward: 'host routing out of the pod',
  arrive: 'host routing into pods',
};

function nameOf(observed: Observed, ifindex: number): string {
  return observed.devices.get(ifindex)?.name ?? `the interface with index ${ifindex}`;
}

function problemOf(step: Step, observed: Observed): string | undefined {
  switch (step.kind) {
    case 'attach': {
      const place = `${nameOf(observed, step.ifindex)} (${step.hook})`;
      const found = observed.programs.get(`${step.ifindex}/${step.hook}`);
      return found === 'stale'
        ? `The ${ROLES[step.program]} on ${place} is of another podpaced`
        : `The ${ROLES[step.program]} is missing on ${place}`;
    }
    case 'make-page':
      return `The state of aggregates ${aggregatesOf(step.page)} is gone: they have their caps, and neither AQM nor a lane for sparse flows`;
    case 'write-config':
      return `Aggregate ${step.aggregateId} has no configuration or another than its cap`;
    case 'write-host-interface':
      return `${nameOf(observed, step.ifindex)} is not known to the classifier`;
    case 'write-routing':
      return `${nameOf(observed, step.ifindex)} has another entry of host routing than its pod's`;
    case 'write-overhead':
      return `${nameOf(observed, step.ifindex)} has another overhead than ${step.overhead.frameBytes} bytes a packet`;
    // Qdiscs are told of per device, below; what is left over disturbs no cap.
    case 'set-root':
    case 'set-leaf':
    case 'record-exit':
    case 'restore-root':
    case 'remove-host-interface':
    case 'remove-overhead':
    case 'remove-routing':
    case 'detach':
      return undefined;
  }
}

/** Every reason why a cap is not enforced as it should be; empty when all are. */
export function problemsOf(plan: Plan, observed: Observed, desired: Desired): string[] {
  const missing = plan.steps.flatMap((step) => problemOf(step, observed) ?? []);
  const qdiscs = [...shapedDevices(desired)].flatMap((ifindex) => {
    const device = observed.devices.get(ifindex);
    return device === undefined ? [] : qdiscProblems(device, desired.foreignQdisc);
  });
  return [...missing, ...qdiscs];
}
