// What to tell of an entry of a map that was not as the helper had left it. Pure.

import type { AggregateConfig } from '../wire/aggregate.ts';
import { aggregateIdOf, DIRECTIONS, nameOf } from './effective.ts';
import type { ObservedMaps, Step } from './plan.ts';
import type { AttachmentRecord } from './records.ts';
import { formatDuration, formatRate } from './units.ts';

function configText(config: AggregateConfig): string {
  const { rateBytesPerSec, horizonNs, idleCreditNs, sparseCreditNs, targetNs, intervalNs } = config;
  return [
    `rate ${formatRate(rateBytesPerSec * 8)}`,
    `horizon ${formatDuration(horizonNs)}`,
    `burst ${formatDuration(idleCreditNs)} + ${formatDuration(sparseCreditNs)}`,
    targetNs === 0 ? 'AQM off' : `AQM ${formatDuration(targetNs)} in ${formatDuration(intervalNs)}`,
  ].join(', ');
}

/** The warning that belongs to a step which reconciling found necessary; undefined for steps on anything but maps. */
export function repairOf(
  step: Step,
  attachments: readonly AttachmentRecord[],
  observed: ObservedMaps,
): string | undefined {
  if (step.kind === 'write-config') {
    for (const direction of DIRECTIONS) {
      const record = attachments.find((each) => aggregateIdOf(each, direction) === step.aggregateId);
      if (record === undefined) continue;
      const found = observed.configs.get(step.aggregateId);
      return (
        `The map entry of the ${direction} cap of ${nameOf(record)} was wrong: ` +
        `found ${found === undefined ? 'nothing' : configText(found)}; wrote ${configText(step.config)}`
      );
    }
  }
  if (step.kind === 'write-host-interface') {
    const record = attachments.find(({ hostInterfaceIndex }) => hostInterfaceIndex === step.ifindex);
    if (record === undefined) return undefined;
    const found = observed.hostInterfaces.get(step.ifindex);
    const entry = found === undefined ? 'nothing' : `aggregates ${found.egressId} and ${found.ingressId}`;
    const { egressId, ingressId } = step.entry;
    return `The map entry of ${record.hostInterface} of ${nameOf(record)} was wrong: found ${entry}; wrote aggregates ${egressId} and ${ingressId}`;
  }
  return undefined;
}
