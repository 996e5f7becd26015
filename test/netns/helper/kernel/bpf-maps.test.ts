// Maps of the datapath in the kernel: values of each CPU, many elements at once.

import fs from 'node:fs';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import {
  deleteBatch,
  deleteElement,
  loadBtf,
  mapElements,
  lookupPerCpu,
  updateBatch,
  updateElement,
  updatePerCpu,
} from '../../../../helper/kernel/bpf.ts';
import {
  closeObject,
  loadObject,
  type LoadedObject,
} from '../../../../helper/kernel/bpf-loader.ts';
import { ensureBpffs } from '../../../../helper/kernel/bpffs.ts';
import { possibleCpus } from '../../../../helper/kernel/cpus.ts';
import { TypedMap } from '../../../../helper/kernel/typed-map.ts';
import { KernelError } from '../../../../helper/wire/errors.ts';
import {
  AGGREGATE_CONFIG,
  AGGREGATE_COUNTERS,
  AGGREGATE_ID_MAX,
  AGGREGATE_ID_MIN,
  AGGREGATE_KEY,
  isConfigInUse,
  type AggregateConfig,
} from '../../../../helper/wire/aggregate.ts';
import {
  EXEMPTION_KEY_SIZE,
  EXEMPTION_SIZE,
  NODE_LIST,
  encodeExemption,
  encodeExemptionKey,
  parseExemption,
} from '../../../../helper/wire/exemption.ts';
import { presentObject } from '../../../kit/other-layout.ts';

const KEY = Buffer.alloc(4);

/** Loads a map of the datapath, without programs: an emulated verifier is seconds at them. */
function load(t: ExecutionContext, name: string): LoadedObject {
  ensureBpffs('/sys/fs/bpf');
  const pins = path.join('/sys/fs/bpf', `pp-${process.pid}-maps-${Math.trunc(performance.now())}`);
  t.teardown(() => fs.rmSync(pins, { recursive: true, force: true }));
  const object = presentObject();
  const maps = object.maps.filter((map) => map.name === name);
  const loaded = loadObject({ ...object, maps, programs: [] }, pins);
  t.teardown(() => closeObject(loaded));
  return loaded;
}

/** All elements of the map exemptions, in hexadecimal. */
function listed(fd: number): Map<string, string> {
  const elements = mapElements(fd, EXEMPTION_KEY_SIZE, EXEMPTION_SIZE);
  return new Map(
    Array.from(elements, ([key, value]) => [key.toString('hex'), value.toString('hex')]),
  );
}

function nth(bytes: Buffer, at: number, size: number): string {
  return bytes.toString('hex', at * size, (at + 1) * size);
}

test('a per-CPU value comes apart into those of the possible CPUs', (t) => {
  const aggregateCounters = load(t, 'aggregate_counters').pages.get('aggregate_counters')!;
  aggregateCounters.make(0);
  const fd = aggregateCounters.openPages[0]!;
  const cpus = possibleCpus();
  const written = cpus.map((cpu) => Buffer.alloc(AGGREGATE_COUNTERS.size, cpu + 1));
  updateElement(fd, KEY, Buffer.concat(written));
  t.deepEqual(lookupPerCpu(fd, KEY, AGGREGATE_COUNTERS.size), written);
  const same = Buffer.alloc(AGGREGATE_COUNTERS.size, 9);
  updatePerCpu(fd, KEY, same);
  t.deepEqual(
    lookupPerCpu(fd, KEY, AGGREGATE_COUNTERS.size),
    cpus.map(() => same),
  );
});

test('many elements are written, listed and deleted at once, those that are not there among them', (t) => {
  const exemptions = load(t, 'exemptions').maps.get('exemptions')!;
  const count = 10_000;
  const [keys, values] = [
    Buffer.alloc(count * EXEMPTION_KEY_SIZE),
    Buffer.alloc(count * EXEMPTION_SIZE),
  ];
  for (let index = 0; index < count; index++) {
    const exemption = parseExemption(`10.0.${index >>> 8}.${index & 255}`);
    encodeExemptionKey(NODE_LIST, exemption).copy(keys, index * EXEMPTION_KEY_SIZE);
    encodeExemption(exemption).copy(values, index * EXEMPTION_SIZE);
  }
  t.deepEqual(listed(exemptions), new Map());
  updateBatch(exemptions, { keys, values, count });
  const found = listed(exemptions);
  t.is(found.size, count);
  t.is(found.get(nth(keys, 777, EXEMPTION_KEY_SIZE)), 'a000000001000000');
  t.true(
    deleteElement(exemptions, keys.subarray(777 * EXEMPTION_KEY_SIZE, 778 * EXEMPTION_KEY_SIZE)),
  );
  const last = nth(keys, count - 1, EXEMPTION_KEY_SIZE);
  deleteBatch(exemptions, {
    keys: keys.subarray(0, -EXEMPTION_KEY_SIZE),
    values,
    count: count - 1,
  });
  t.deepEqual([...listed(exemptions).keys()], [last]);
  deleteBatch(exemptions, { keys, values, count });
  t.is(listed(exemptions).size, 0);
});

test('of an array the elements in use are found, wherever they stand and whatever their rate', (t) => {
  const fd = load(t, 'aggregate_config').maps.get('aggregate_config')!;
  const map = new TypedMap(fd, { key: AGGREGATE_KEY, value: AGGREGATE_CONFIG });
  const rest = { horizonNs: 1, idleCreditNs: 2, sparseCreditNs: 3, targetNs: 4, intervalNs: 5 };
  const config = (rateBytesPerSec: number): AggregateConfig => ({
    ...{ rateBytesPerSec, ...rest, exemptions: 0 },
  });
  // First and last, on both sides of where a batch ends; of rates each half may be zero.
  const inUse = new Map([
    [AGGREGATE_ID_MIN, config(1)],
    [AGGREGATE_ID_MIN + 4095, config(2 ** 32)],
    [AGGREGATE_ID_MIN + 4096, config(2 ** 32 - 1)],
    [AGGREGATE_ID_MAX, config(2 ** 31)],
  ]);
  for (const [id, each] of inUse) map.set(id, each);
  // What is no longer used keeps its other settings.
  map.set(AGGREGATE_ID_MIN + 1, config(0));
  t.deepEqual(new Map(map.entries(isConfigInUse)), inUse);
  t.is(map.entries().length, AGGREGATE_ID_MAX - AGGREGATE_ID_MIN + 1);
});

test('types that the kernel refuses are an error with its words', (t) => {
  const btf = Buffer.alloc(24);
  btf.writeUInt32LE(0x0001_eb9f, 0);
  btf.writeUInt32LE(24, 4);
  t.throws(() => loadBtf(btf), {
    instanceOf: KernelError,
    message: /Cannot load BTF: EINVAL.*No data/s,
  });
});
