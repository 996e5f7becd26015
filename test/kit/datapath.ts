// The compiled programs of podpace in the kernel, on maps of their own, with a way to send packets through them.

import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { deleteElement, lookupElement, updateElement } from '../../helper/kernel/bpf.ts';
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
const TEST_IFINDEX = 1;

/** A bpffs of the test's own. */
export interface TemporaryBpffs {
  readonly directory: string;
  remove(): void;
}

/** Mounts a bpffs; `remove` takes it away again with all pins on it. */
export function mountTemporaryBpffs(): TemporaryBpffs {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), `pp-${process.pid}-`));
  try {
    ensureBpffs(directory);
  } catch (error) {
    fs.rmdirSync(directory);
    throw error;
  }
  return {
    directory,
    remove() {
      execFileSync('umount', [directory]);
      fs.rmdirSync(directory);
    },
  };
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

function programFd(object: LoadedObject, name: string): number {
  const program = object.programs.get(name);
  if (program === undefined) throw new Error(`no program ${name}`);
  return program.fd;
}

function mapFd(object: LoadedObject, name: string): number {
  const fd = object.maps.get(name);
  if (fd === undefined) throw new Error(`no map ${name}`);
  return fd;
}

/** The programs and maps, for the tests of one file. */
export class TestDatapath {
  readonly #undo: (() => void)[] = [];
  readonly #bpffs: TemporaryBpffs;
  readonly #podpace: LoadedObject;
  readonly #enter: LoadedObject;

  constructor() {
    try {
      this.#bpffs = mountTemporaryBpffs();
      this.#undo.unshift(() => this.#bpffs.remove());
      this.#podpace = this.#load(buildBpf(), 'podpace');
      this.#enter = this.#load(buildBpfObject(path.join(import.meta.dirname, '../bpf/enter.bpf.c')), 'enter');
    } catch (error) {
      this.close();
      throw error;
    }
  }

  close(): void {
    for (const undo of this.#undo) undo();
  }

  /** Where another process finds the program that sends packets. */
  get enterPin(): string {
    return path.join(this.#bpffs.directory, 'enter', 'enter');
  }

  /** Chooses which of podpace's programs the packets meet. */
  aimAt(program: string): void {
    const target = Buffer.alloc(4);
    target.writeUInt32LE(programFd(this.#podpace, program));
    updateElement(mapFd(this.#enter, 'under_test'), Buffer.alloc(4), target);
  }

  configure(id: number, config: AggregateConfig): void {
    this.writeConfig(id, encodeAggregateConfig(config));
  }

  /** Any bytes, as damage would have them. */
  writeConfig(id: number, value: Buffer): void {
    updateElement(mapFd(this.#podpace, 'aggregate_config'), encodeAggregateKey(id), value);
  }

  setClock(id: number, clock: AggregateClock): void {
    const map = mapFd(this.#podpace, 'aggregate_clock');
    updateElement(map, encodeAggregateKey(id), encodeAggregateClock(clock));
  }

  clock(id: number): AggregateClock {
    const map = mapFd(this.#podpace, 'aggregate_clock');
    const value = lookupElement(map, encodeAggregateKey(id), AGGREGATE_CLOCK_SIZE);
    if (value === undefined) throw new Error(`no clock for aggregate ${id}`);
    return decodeAggregateClock(value);
  }

  /** A host interface entry for the device that the packets are on; undefined removes it. */
  setHostInterface(hostInterface: HostInterface | undefined): void {
    const map = mapFd(this.#podpace, 'host_interfaces');
    const key = encodeInterfaceKey(TEST_IFINDEX);
    if (hostInterface === undefined) deleteElement(map, key);
    else updateElement(map, key, encodeHostInterface(hostInterface));
  }

  /** Sends one packet `repeat` times; the outcome is that of the last time. */
  send(packet: TestPacket, repeat = 1): TestOutcome {
    return sendThrough(programFd(this.#enter, 'enter'), packet, repeat);
  }

  /** Sends one packet and returns the queue_mapping that it comes out with. */
  queueMappingAfter(packet: TestPacket): number {
    const enterFd = programFd(this.#enter, 'enter');
    const run = testRun(enterFd, { data: FRAME, context: encodeContext(packet, 1), repeat: 2 });
    return run.contextOut.readUInt32LE(8);
  }

  #load(file: string, name: string): LoadedObject {
    const object = loadObject(parseBpfObject(fs.readFileSync(file)), path.join(this.#bpffs.directory, name));
    this.#undo.unshift(() => closeObject(object));
    return object;
  }
}
