// A departure step in the kernel with nothing around it: packets of BPF_PROG_TEST_RUN go through it
// and nowhere else.

import fs from 'node:fs';
import path from 'node:path';
import { lookupElement, mapInfo, openPinned, updateElement } from '../../helper/kernel/bpf.ts';
import { closeObject, loadObject } from '../../helper/kernel/bpf-loader.ts';
import type { LoadedObject } from '../../helper/kernel/bpf-loader.ts';
import { hasErrno } from '../../helper/wire/errors.ts';
import type { MapPages } from '../../helper/kernel/map-pages.ts';
import {
  AGGREGATE_ID_MIN,
  aggregateIndex,
  aggregatePage,
  decodeAggregateClock,
  DURATION_MAX_NS,
  AGGREGATE_CONFIG,
  AGGREGATE_KEY,
} from '../../helper/wire/aggregate.ts';
import { parseBpfObject } from '../../helper/wire/bpf-object.ts';
import { buildBpf, buildBpfObject } from '../../scripts/lib/bpf-build.ts';
import { projectRoot } from '../../scripts/lib/paths.ts';
import { required } from '../bed/programs.ts';
import { mountTemporaryBpffs } from '../bed/temporary-bpffs.ts';
import { sendThrough, type TestDetails, type TestPacket } from '../bed/test-packet.ts';
import type { UndoStack } from '../bed/undo.ts';
import { compileEdtFifo, encodePlainAggregate, encodePlainId } from './edt-fifo.ts';

/** The aggregate that packets belong to; a valid id for both steps. */
export const AGGREGATE_ID = AGGREGATE_ID_MIN;

/** Where the clock stands in struct plain_aggregate of test/bpf/edt-fifo.bpf.c. */
const PLAIN_CLOCK_OFFSET = 8;

const ATTEMPTS = 5;

/**
 * Does something that test runs are a part of, again from its beginning when a signal has ended one
 * of them.
 */
export async function despiteSignals<T>(work: () => Promise<T> | T): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await work();
    } catch (error) {
      if (!hasErrno(error, 'EINTR') || attempt === ATTEMPTS) throw error;
    }
  }
}

/** How an aggregate is configured and its clock read: what the two steps do not have in common. */
interface Kind {
  readonly object: () => string;
  readonly program: string;
  readonly configure: (object: LoadedObject, rateBytesPerSec: number) => void;
  readonly clockNs: (object: LoadedObject) => bigint;
}

function read(fd: number, key: Buffer): Buffer {
  const value = lookupElement(fd, key, mapInfo(fd).valueSize);
  if (value === undefined)
    throw new Error('Cannot measure: the aggregate has no state, so no packet has reached it');
  return value;
}

function statesOf(object: LoadedObject): MapPages {
  return required(object.pages, 'aggregate_state');
}

/** Begins the aggregate anew, in a page which is made when it is not there. */
function forgetState(object: LoadedObject): void {
  for (const pages of object.pages.values()) pages.make(aggregatePage(AGGREGATE_ID));
  statesOf(object).clear(aggregateIndex(AGGREGATE_ID));
}

function readState(object: LoadedObject): Buffer {
  return statesOf(object).get(aggregateIndex(AGGREGATE_ID))!;
}

/**
 * The step of podpace, without any credit: what is charged can then be told from what is granted.
 */
const PODPACE: Kind = {
  object: buildBpf,
  program: 'podpace_depart',
  configure(object, rateBytesPerSec) {
    const key = AGGREGATE_KEY.encode(AGGREGATE_ID);
    const config = {
      rateBytesPerSec,
      horizonNs: DURATION_MAX_NS,
      idleCreditNs: 0,
      sparseCreditNs: 750_000,
      // The AQM does its arithmetic and never finds a reason to act.
      targetNs: DURATION_MAX_NS,
      intervalNs: 100_000_000,
      exemptions: 0,
    };
    forgetState(object);
    updateElement(required(object.maps, 'aggregate_config'), key, AGGREGATE_CONFIG.encode(config));
  },
  clockNs: (object) => decodeAggregateClock(readState(object)).lastNs,
};

const EDT_FIFO: Kind = {
  object: compileEdtFifo,
  program: 'plain_depart',
  configure(object, rateBytesPerSec) {
    const value = encodePlainAggregate(rateBytesPerSec);
    updateElement(required(object.maps, 'plain_aggregates'), encodePlainId(AGGREGATE_ID), value);
  },
  clockNs: (object) =>
    read(required(object.maps, 'plain_aggregates'), encodePlainId(AGGREGATE_ID)).readBigUInt64LE(
      PLAIN_CLOCK_OFFSET,
    ),
};

/** A program that does nothing: what the test run itself costs. */
const NOTHING: Kind = { ...EDT_FIFO, program: 'plain_nothing' };

const KINDS = { podpace: PODPACE, 'edt-fifo': EDT_FIFO, nothing: NOTHING } as const;

/** The systems that have a step to run by itself. */
export type StepName = keyof typeof KINDS;

function compileEntrance(): string {
  return buildBpfObject(path.join(projectRoot, 'test/bpf/enter.bpf.c'));
}

/** Compiles what steps under test need, unless that has been done. */
export function compileSteps(): void {
  buildBpf();
  compileEdtFifo();
  compileEntrance();
}

/** A step with maps of its own. */
export class StepUnderTest {
  /** Where another process finds the entrance, for sendThrough. */
  readonly enterPin: string;
  readonly #enterFd: number;
  readonly #kind: Kind;
  readonly #object: LoadedObject;

  private constructor(kind: Kind, object: LoadedObject, enterPin: string, enterFd: number) {
    this.enterPin = enterPin;
    this.#kind = kind;
    this.#object = object;
    this.#enterFd = enterFd;
  }

  /** Loads a step on a bpffs of its own; `undo` takes it away. Throws KernelError. */
  static load(name: StepName, undo: UndoStack): StepUnderTest {
    const kind: Kind = KINDS[name];
    const bpffs = mountTemporaryBpffs();
    const { directory } = bpffs;
    undo.defer(`remove ${directory}`, () => bpffs.remove());
    const load = (file: string, folder: string): LoadedObject => {
      const object = loadObject(
        parseBpfObject(fs.readFileSync(file)),
        path.join(directory, folder),
      );
      undo.defer(`close ${file}`, () => closeObject(object));
      return object;
    };
    const object = load(kind.object(), 'step');
    const enter = load(compileEntrance(), 'enter');
    const target = Buffer.alloc(4);
    target.writeUInt32LE(object.programs.get(kind.program)?.fd ?? 0);
    updateElement(required(enter.maps, 'under_test'), Buffer.alloc(4), target);
    const enterPin = path.join(directory, 'enter', 'enter');
    const enterFd = openPinned(enterPin);
    undo.defer('close the entrance', () => fs.closeSync(enterFd));
    return new StepUnderTest(kind, object, enterPin, enterFd);
  }

  /** Descriptors of the step's maps, by name. */
  get maps(): ReadonlyMap<string, number> {
    return this.#object.maps;
  }

  /** Those of the maps whose elements stand in pages. */
  get pages(): ReadonlyMap<string, MapPages> {
    return this.#object.pages;
  }

  /** Begins an aggregate anew at a rate. */
  configure(rateBytesPerSec: number): void {
    this.#kind.configure(this.#object, rateBytesPerSec);
  }

  /** The aggregate's clock, monotonic. Throws Error before its first packet. */
  clockNs(): bigint {
    return this.#kind.clockNs(this.#object);
  }

  /** Sends a packet `repeat` times. */
  send(packet: TestPacket, repeat = 1): TestDetails {
    return sendThrough(this.#enterFd, packet, repeat);
  }

  /** Puts the clock ahead of now, by a packet that asks to depart then. */
  putAhead(flow: number, aheadNs: bigint): void {
    const tstampNs = process.hrtime.bigint() + aheadNs;
    this.send({ queueMapping: AGGREGATE_ID, flow, tstampNs });
  }
}
