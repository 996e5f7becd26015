// What the helper takes of a node with many attachments, and how long whoever asks it waits.

import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { createVethPair, listLinks } from '../../helper/kernel/links.ts';
import { openNetns } from '../../helper/kernel/netns.ts';
import { openRt } from '../../helper/kernel/open-rt.ts';
import { askHelper } from '../../helper/protocol/client.ts';
import {
  keyOf,
  type AttachParams,
  type Method,
  type Methods,
} from '../../helper/protocol/messages.ts';
import { ATTACHMENTS, DEFAULT_SOCKET, RUN_DIRECTORY } from '../../helper/protocol/state-files.ts';
import { formatRecord, type AttachmentRecord } from '../../helper/shaping/record-schema.ts';
import { AGGREGATE_ID_MIN } from '../../helper/wire/aggregate.ts';
import { hasSchFq } from '../../scripts/lib/needs.ts';
import { say, step } from '../../scripts/lib/progress.ts';
import { startHelper } from '../bed/helper.ts';
import { median } from '../bed/statistics.ts';
import { makeTestBed, type TestBed } from '../bed/testbed.ts';
import { cpuMsAtRest, cpuMsOf } from './control-nodes.ts';
import { SCALE_SCENARIOS, type ScaleScenario } from './names.ts';
import { metric, type Metric } from './record.ts';
import type { SingleBench } from './runner.ts';

const CAP = { rateBitsPerSec: 10_000_000 } as const;
const CAPS = { egress: CAP, ingress: CAP } as const;
const MTU = 1500;

/** Attachments at either end of a row whose costs are compared. */
const COMPARED = 50;
const REQUESTS = 5;
const DEADLINE_MS = 60_000;
/** After a start, or many changes, until the helper does no more than it does at rest. */
const REST_MS = 10_000;
/**
 * A request that needs no look is sent so often: its answer takes as long as the event loop is
 * busy.
 */
const PROBE_EVERY_MS = 5;
const NODE_STARTS = 5;
const US_PER_MS = 1000;

/** A pod that no plugin has added: a pair of interfaces, and what an ADD would ask for. */
interface Pod {
  readonly params: AttachParams;
  readonly ifindex: number;
}

async function addPods(bed: TestBed<'pods'>, count: number): Promise<Pod[]> {
  const sandbox = bed.pods.get('pods') ?? '';
  const [node, pods] = [openNetns(bed.node), openNetns(sandbox)];
  const rt = openRt(node);
  try {
    for (let pod = 0; pod < count; pod += 1)
      await createVethPair(rt, {
        ...{ name: `p${pod}`, mtu: MTU },
        peer: { name: `e${pod}`, netns: pods },
      });
    return (await listLinks(rt))
      .filter(({ name }) => /^p\d+$/.test(name))
      .map(({ name, index }) => ({
        ifindex: index,
        params: {
          ...{ containerId: `bench-${name}`, ifname: 'eth0', network: 'bench', sandbox },
          ...{ hostInterface: name, caps: CAPS },
        },
      }));
  } finally {
    rt.close();
    node.close();
    pods.close();
  }
}

/** Leaves records as a former helper would have: for a kernel on which none can be attached. */
function leaveRecords(bed: TestBed<'pods'>, pods: readonly Pod[]): void {
  const directory = bed.nodeFile(path.join(RUN_DIRECTORY, ATTACHMENTS));
  fs.mkdirSync(directory, { recursive: true, mode: 0o700 });
  for (const [at, { params, ifindex }] of pods.entries()) {
    const egressAggregateId = AGGREGATE_ID_MIN + 2 * at;
    const record: AttachmentRecord = {
      ...{ ...params, hostInterfaceIndex: ifindex },
      ...{ egressAggregateId, ingressAggregateId: egressAggregateId + 1 },
    };
    const file = path.join(directory, `${keyOf(params)}.json`);
    fs.writeFileSync(file, formatRecord(ATTACHMENTS, record));
  }
}

class ScaleNode {
  readonly #socket: string;
  readonly #pid: number;

  constructor(socket: string, pid: number) {
    this.#socket = socket;
    this.#pid = pid;
  }

  ask<M extends Method>(method: M, params: Methods[M]['params']): Promise<Methods[M]['result']> {
    const edges = { connect: async (file: string) => net.connect(file) };
    return askHelper(edges, this.#socket, method, params, { deadlineMs: DEADLINE_MS });
  }

  /** Attaches pods; returns the helper's processor time for each of the first and the last. */
  async attach(pods: readonly Pod[]): Promise<Metric[]> {
    const costs: number[] = [];
    for (let at = 0; at < pods.length; at += COMPARED) {
      const some = pods.slice(at, at + COMPARED);
      const isCompared = at === 0 || at + COMPARED >= pods.length;
      const before = isCompared ? await cpuMsAtRest(this.#pid) : 0;
      for (const { params } of some) await this.ask('attach', params);
      if (isCompared) costs.push((cpuMsOf(this.#pid) - before) / some.length);
    }
    const [first = 0, last = 0] = [costs[0], costs.at(-1)];
    return [
      metric('attach_first_cpu_ms', 'ms', first),
      metric('attach_last_cpu_ms', 'ms', last),
      metric('attach_ratio', '', last / first),
    ];
  }

  /** Medians of how long a question takes to be answered, and of the helper's processor time. */
  async question(name: string, ask: () => Promise<unknown>): Promise<Metric[]> {
    const [waits, costs]: [number[], number[]] = [[], []];
    for (let round = 0; round < REQUESTS; round += 1) {
      const [startMs, before] = [performance.now(), cpuMsOf(this.#pid)];
      await ask();
      waits.push(performance.now() - startMs);
      costs.push(cpuMsOf(this.#pid) - before);
    }
    return [
      metric(`${name}_ms`, 'ms', median(waits)),
      metric(`${name}_cpu_ms`, 'ms', median(costs)),
    ];
  }

  /** All pages of `list`. */
  async list(): Promise<void> {
    for (let after: string | undefined; ;) {
      const { next } = await this.ask('list', after === undefined ? {} : { after });
      if (next === undefined) return;
      after = next;
    }
  }

  /** The part of a processor that the helper takes while nobody asks for anything. */
  async idleShare(seconds: number): Promise<number> {
    const [startMs, before] = [performance.now(), cpuMsOf(this.#pid)];
    await delay(seconds * 1000);
    return (cpuMsOf(this.#pid) - before) / (performance.now() - startMs);
  }

  /** The longest that an answer took which needs no more than the event loop. */
  async longestBusyMs(seconds: number): Promise<number> {
    const socket = net.connect(this.#socket);
    const answers = socket[Symbol.asyncIterator]();
    const endMs = performance.now() + seconds * 1000;
    let longestMs = 0;
    try {
      while (performance.now() < endMs) {
        const askedMs = performance.now();
        socket.write('{}\n');
        await answers.next();
        longestMs = Math.max(longestMs, performance.now() - askedMs);
        await delay(PROBE_EVERY_MS);
      }
    } finally {
      socket.destroy();
    }
    return longestMs;
  }

  /** What it holds of the machine's memory. */
  rssMib(): number {
    const status = fs.readFileSync(`/proc/${this.#pid}/status`, 'utf8');
    return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) / 1024;
  }
}

/** Processor time of a start of Node that does nothing: what the helper's own is measured by. */
function nodeStartMs(): number {
  const script = 'const { user, system } = process.cpuUsage(); console.log(user + system)';
  const costs = Array.from({ length: NODE_STARTS }, () =>
    Number(execFileSync(process.execPath, ['-e', script], { encoding: 'utf8' })),
  );
  return median(costs) / US_PER_MS;
}

/** The bench. `idleSeconds`: for how long the helper is left alone. */
export function scaleBench(idleSeconds: number): SingleBench<ScaleScenario, 'podpace'> {
  return {
    name: 'scale',
    scenarios: SCALE_SCENARIOS,
    systemsOf: () => ['podpace'],
    measure: async (_, { name, attachments }, { undo, signal }) => {
      const hasFq = await hasSchFq();
      if (!hasFq)
        say(
          'scale: this kernel has no sch_fq: nothing can be attached, so the helper starts with the records of ' +
            'a former one, and every interface has a fault that list and status have to tell of',
        );
      const bed = await makeTestBed(['pods'], undo, signal, { label: `scale-${name}-` });
      const pods = await step(`scale: ${attachments} pairs`, () => addPods(bed, attachments));
      if (!hasFq) leaveRecords(bed, pods);
      const startMs = performance.now();
      const helper = await startHelper(bed, undo, signal);
      const start = metric('start_ms', 'ms', performance.now() - startMs);
      const node = new ScaleNode(bed.nodeFile(DEFAULT_SOCKET), helper.pid);
      const attaching = hasFq ? await node.attach(pods) : [];
      const known = (await node.ask('status', {})).attachments;
      if (known !== attachments)
        throw new Error(`Cannot measure ${attachments} attachments: the helper knows ${known}`);
      await delay(REST_MS, undefined, { signal });
      const rss = metric('rss_mib', 'MiB', node.rssMib());
      const idle = await node.idleShare(idleSeconds);
      const busyMs = await node.longestBusyMs(idleSeconds);
      return {
        metrics: [
          ...[metric('idle_share', '', idle), metric('node_start_cpu_ms', 'ms', nodeStartMs())],
          ...(await node.question('status', () => node.ask('status', {}))),
          ...(await node.question('list', () => node.list())),
          ...[rss, metric('longest_busy_ms', 'ms', busyMs), start, ...attaching],
        ],
      };
    },
  };
}
