// The compiled programs of podpace in the kernel, on maps of their own, with a way to send packets through them.

import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { ExecutionContext } from 'ava';
import { lookupElement, updateElement } from '../../helper/kernel/bpf.ts';
import { closeObject, loadObject, type LoadedObject } from '../../helper/kernel/bpf-loader.ts';
import { testRun } from '../../helper/kernel/bpf-test-run.ts';
import { ensureBpffs } from '../../helper/kernel/bpffs.ts';
import {
  AGGREGATE_CLOCK_SIZE,
  decodeAggregateClock,
  encodeAggregateClock,
  encodeAggregateConfig,
  encodeAggregateKey,
  encodeHostInterface,
  encodeInterfaceKey,
  type AggregateClock,
  type AggregateConfig,
  type HostInterface,
} from '../../helper/wire/aggregate.ts';
import { parseBpfObject } from '../../helper/wire/bpf-object.ts';
import { buildBpf, buildBpfObject } from '../../scripts/lib/bpf-build.ts';

/** Verdicts of linux/pkt_cls.h. */
export const TC_ACT_UNSPEC = -1;
export const TC_ACT_SHOT = 2;

/** The device that a test run's packets are on: loopback. */
export const TEST_IFINDEX = 1;

/** A directory on a bpffs of the test's own, which is unmounted when the test ends. */
export function temporaryBpffs(t: ExecutionContext): string {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), `pp-${process.pid}-`));
  t.teardown(() => fs.rmdirSync(directory));
  ensureBpffs(directory);
  t.teardown(() => execFileSync('umount', [directory]));
  return directory;
}

/** A packet for the program under test. */
export interface TestPacket {
  readonly queueMapping?: number;
  readonly tstampNs?: bigint;
  /** At most 65536: a test run takes no more. */
  readonly wireLen?: number;
}

/** What became of it. */
export interface TestOutcome {
  readonly verdict: number;
  readonly tstampNs: bigint;
}

const FRAME = Buffer.alloc(60);

/** struct __sk_buff of linux/bpf.h, with the orders to test/bpf/enter.bpf.c in cb. */
function encodeContext(
  { queueMapping = 0, tstampNs = 0n, wireLen = FRAME.length }: TestPacket,
  report: number,
): Buffer {
  const context = Buffer.alloc(192);
  context.writeUInt32LE(queueMapping, 48);
  context.writeBigUInt64LE(tstampNs, 52);
  context.writeUInt32LE(report, 60);
  context.writeUInt32LE(wireLen, 160);
  return context;
}

/** Sends one packet `repeat` times through a loaded `enter`. The outcome is that of the last time. */
export function sendThrough(enterFd: number, packet: TestPacket, repeat = 1): TestOutcome {
  const run = testRun(enterFd, { data: FRAME, context: encodeContext(packet, 0), repeat });
  return { verdict: run.returnValue, tstampNs: run.contextOut.readBigUInt64LE(152) };
}

/** The programs and maps, for one test. */
export class TestDatapath {
  readonly #podpace: LoadedObject;
  readonly #enter: LoadedObject;

  /** Loads everything below `directory`, on bpffs, and aims at one of podpace's programs. */
  constructor(t: ExecutionContext, directory: string, program: string) {
    this.#podpace = loadObject(parseBpfObject(fs.readFileSync(buildBpf())), path.join(directory, 'podpace'));
    t.teardown(() => closeObject(this.#podpace));
    const enter = buildBpfObject(path.join(import.meta.dirname, '../bpf/enter.bpf.c'));
    this.#enter = loadObject(parseBpfObject(fs.readFileSync(enter)), path.join(directory, 'enter'));
    t.teardown(() => closeObject(this.#enter));
    const target = Buffer.alloc(4);
    target.writeUInt32LE(this.#programFd(this.#podpace, program));
    updateElement(this.#mapFd(this.#enter, 'under_test'), Buffer.alloc(4), target);
  }

  configure(id: number, config: AggregateConfig): void {
    this.writeConfig(id, encodeAggregateConfig(config));
  }

  /** Any bytes, as damage would have them. */
  writeConfig(id: number, value: Buffer): void {
    updateElement(this.#mapFd(this.#podpace, 'aggregate_config'), encodeAggregateKey(id), value);
  }

  setClock(id: number, clock: AggregateClock): void {
    const map = this.#mapFd(this.#podpace, 'aggregate_clock');
    updateElement(map, encodeAggregateKey(id), encodeAggregateClock(clock));
  }

  clock(id: number): AggregateClock {
    const map = this.#mapFd(this.#podpace, 'aggregate_clock');
    const value = lookupElement(map, encodeAggregateKey(id), AGGREGATE_CLOCK_SIZE);
    if (value === undefined) throw new Error(`no clock for aggregate ${id}`);
    return decodeAggregateClock(value);
  }

  setHostInterface(hostInterface: HostInterface): void {
    const map = this.#mapFd(this.#podpace, 'host_interfaces');
    updateElement(map, encodeInterfaceKey(TEST_IFINDEX), encodeHostInterface(hostInterface));
  }

  /** Sends one packet `repeat` times; the outcome is that of the last time. */
  send(packet: TestPacket, repeat = 1): TestOutcome {
    return sendThrough(this.#programFd(this.#enter, 'enter'), packet, repeat);
  }

  /** Sends one packet and returns the queue_mapping that it comes out with. */
  queueMappingAfter(packet: TestPacket): number {
    const enterFd = this.#programFd(this.#enter, 'enter');
    const run = testRun(enterFd, { data: FRAME, context: encodeContext(packet, 1), repeat: 2 });
    return run.contextOut.readUInt32LE(8);
  }

  #programFd(object: LoadedObject, name: string): number {
    const program = object.programs.get(name);
    if (program === undefined) throw new Error(`no program ${name}`);
    return program.fd;
  }

  #mapFd(object: LoadedObject, name: string): number {
    const fd = object.maps.get(name);
    if (fd === undefined) throw new Error(`no map ${name}`);
    return fd;
  }
}
