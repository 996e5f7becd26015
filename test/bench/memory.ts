// How much memory the BPF maps take, as the kernel accounts it, with many attachments that are
// capped both ways.

import fs from 'node:fs';
import { updateElement } from '../../helper/kernel/bpf.ts';
import {
  AGGREGATE_ID_MIN,
  aggregatePage,
  AGGREGATE_CONFIG,
  AGGREGATE_KEY,
  HOST_INTERFACE,
  INTERFACE_KEY,
} from '../../helper/wire/aggregate.ts';
import { required } from '../bed/programs.ts';
import { MEMORY_SCENARIOS } from './names.ts';
import { metric } from './record.ts';
import type { SingleBench } from './runner.ts';
import { despiteSignals, StepUnderTest } from './step-under-test.ts';

const CONFIG = {
  rateBytesPerSec: 12_500_000,
  horizonNs: 50_000_000,
  idleCreditNs: 250_000,
  sparseCreditNs: 750_000,
  targetNs: 5_000_000,
  intervalNs: 100_000_000,
  exemptions: 0,
} as const;

const BYTES_PER_MIB = 1024 * 1024;
const WIRE_LEN = 1514;

/**
 * What the kernel says a map takes, out of its file in /proc/self/fdinfo. Throws Error when it says
 * nothing.
 */
export function accountedBytes(fdinfo: string): number {
  const bytes = /^memlock:\s*(\d+)$/m.exec(fdinfo)?.[1];
  if (bytes === undefined)
    throw new Error(`Cannot tell the memory of a map: no memlock in ${fdinfo.trim()}`);
  return Number(bytes);
}

/**
 * Gives an aggregate a cap and lets a packet through, with all the state that it will ever have.
 */
async function use(step: StepUnderTest, id: number): Promise<void> {
  const config = required(step.maps, 'aggregate_config');
  for (const pages of step.pages.values()) pages.make(aggregatePage(id));
  updateElement(config, AGGREGATE_KEY.encode(id), AGGREGATE_CONFIG.encode(CONFIG));
  await despiteSignals(() => step.send({ queueMapping: id, wireLen: WIRE_LEN }));
}

/** The bench. */
export const MEMORY_BENCH: SingleBench<(typeof MEMORY_SCENARIOS)[number], 'podpace'> = {
  name: 'memory',
  scenarios: MEMORY_SCENARIOS,
  systemsOf: () => ['podpace'],
  measure: async (_, { attachments }, { undo }) => {
    const step = StepUnderTest.load('podpace', undo);
    for (let index = 0; index < attachments; index += 1) {
      const egressId = AGGREGATE_ID_MIN + 2 * index;
      const ingressId = egressId + 1;
      const value = HOST_INTERFACE.encode({ egressId, ingressId });
      updateElement(required(step.maps, 'host_interfaces'), INTERFACE_KEY.encode(index + 1), value);
      await use(step, egressId);
      await use(step, ingressId);
    }
    const pages = [...step.pages.values()].flatMap(({ openPages }) => openPages);
    const bytes = [...step.maps.values(), ...pages].map((fd) =>
      accountedBytes(fs.readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8')),
    );
    const total = bytes.reduce((sum, each) => sum + each, 0);
    return { metrics: [metric('bpf_map_mib', 'MiB', total / BYTES_PER_MIB)] };
  },
};
