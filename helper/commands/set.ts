// set: another cap for a pod that runs.

import type { Command } from 'commander';
import { DEFAULT_SOCKET } from '../protocol/state-files.ts';
import { renderSet } from '../render.ts';
import { parseSetFlags, type SetFlags } from './set-flags.ts';
import {
  type CliEdges,
  type QueryOptions,
  ask,
  print,
  allPods,
  select,
  POD,
  POD_IS,
} from './asking.ts';

export function addSet(program: Command, edges: CliEdges): void {
  program
    .command('set')
    .description(
      'change how a running pod is capped, also one without a cap, at once; "default" takes an earlier change back',
    )
    .argument(`<${POD}>`, `see podpaced list --all; ${POD_IS}`)
    .option('--egress', 'what the pod sends')
    .option('--ingress', 'what the pod receives')
    .option('--rate <rate>', 'bits per second: 800k, 10M, 2.5G')
    .option('--burst <bits>', 'what may leave at once after idleness: 100k, 8M')
    .option('--horizon <duration>', 'longest wait of a packet: 50ms')
    .option('--aqm-target <duration>', 'queueing time that the AQM tolerates: 5ms, or off')
    .option('--aqm-interval <duration>', 'how long it may last before the AQM acts: 100ms')
    .option('--reset', 'take all earlier changes back first')
    .option('--socket <path>', 'unix socket of the helper', DEFAULT_SOCKET)
    .option('--json', 'print JSON')
    .action(async (selector: string, options: QueryOptions & SetFlags) => {
      const request = parseSetFlags(options);
      const { socket } = options;
      const { capped, uncapped } = await allPods(socket);
      const { key, pod } = select([...capped, ...uncapped], selector, edges);
      const result = await ask(socket, 'set', { ...key, ...request });
      for (const notice of result.notices ?? []) edges.stderr(`podpaced: ${notice}\n`);
      print(edges, options.json, { ...key, ...pod, direction: request.direction, ...result }, () =>
        renderSet({ ...key, ...pod }, request.direction, result),
      );
    });
}
