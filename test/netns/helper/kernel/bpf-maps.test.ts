// Maps of the datapath in the kernel: values of each CPU, many elements at once.

import fs from 'node:fs';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { BookPages } from '../../../../helper/control/book-pages.ts';
import {
  deleteBatch,
  deleteElement,
  loadBtf,
  mapElements,
  mapImage,
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
  HOST_INTERFACE,
  INTERFACE_KEY,
  isConfigInUse,
  type AggregateConfig,
  type HostInterface,
} from '../../../../helper/wire/aggregate.ts';
import {
  AGGREGATE_BOOK_SIZE,
  decodeAggregateBook,
  type AggregateBook,
} from '../../../../helper/wire/book.ts';
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

test('the image of a map is the same until an element comes, changes or goes', (t) => {
  const { maps } = load(t, 'host_interfaces');
  const codec = { key: INTERFACE_KEY, value: HOST_INTERFACE };
  const map = new TypedMap(maps.get('host_interfaces')!, codec);
  const image = (): string => mapImage(map).toString('hex');
  const seen = new Set([image()]);
  for (let ifindex = 1; ifindex <= 300; ifindex += 1)
    map.set(ifindex, { egressId: 4096 + ifindex, ingressId: 0 });
  const changes = [
    () => undefined,
    () => map.set(77, { egressId: 4096, ingressId: 0 }),
    () => map.set(77, { egressId: 4096, ingressId: 4097 }),
    () => void map.delete(300),
    () => map.set(301, { egressId: 0, ingressId: 4097 }),
  ];
  for (const change of changes) {
    change();
    const after = image();
    t.is(image(), after);
    t.false(seen.has(after));
    seen.add(after);
  }
});

test('the first values of an array are those that are asked for one by one', (t) => {
  const { maps } = load(t, 'aggregate_config');
  const codec = { key: AGGREGATE_KEY, value: AGGREGATE_CONFIG };
  const map = new TypedMap(maps.get('aggregate_config')!, codec);
  const rateOf = (index: number): number => (index % 3 === 0 ? 0 : 1000 + index);
  for (let index = 0; index < 200; index += 1)
    map.set(AGGREGATE_ID_MIN + index, {
      ...{ rateBytesPerSec: rateOf(index), horizonNs: 1, idleCreditNs: 2, sparseCreditNs: 3 },
      ...{ targetNs: 4, intervalNs: 5, exemptions: 0 },
    });
  for (const count of [0, 1, 199]) {
    const ids = Array.from({ length: count }, (_, index) => AGGREGATE_ID_MIN + index);
    t.deepEqual(
      map.first(count),
      ids.map((id) => map.at(id)),
    );
    t.deepEqual(
      map.first(count).map(({ rateBytesPerSec }) => rateBytesPerSec),
      ids.map((_, index) => rateOf(index)),
    );
  }
});

test('of few keys and of many the same values are found, and keys are those that are there', (t) => {
  const { maps } = load(t, 'host_interfaces');
  const codec = { key: INTERFACE_KEY, value: HOST_INTERFACE };
  const map = new TypedMap(maps.get('host_interfaces')!, codec);
  const there = Array.from({ length: 100 }, (_, at) => 3 * at + 1);
  const valueOf = (key: number): HostInterface => ({ egressId: 4096 + key, ingressId: 0 });
  for (const key of there) map.set(key, valueOf(key));
  for (const most of [10, 300]) {
    const asked = Array.from({ length: most }, (_, at) => at + 1);
    const wanted = there.filter((key) => key <= most);
    const found = map.getAmong(asked);
    t.deepEqual(
      new Map([...found].toSorted(([a], [b]) => a - b)),
      new Map(wanted.map((key) => [key, valueOf(key)])),
    );
  }
  t.deepEqual(
    map.keys().toSorted((a, b) => a - b),
    there,
  );
});

test('books that are read by the page are those that are read one by one, after each change too', (t) => {
  const pages = load(t, 'aggregate_books').pages.get('aggregate_books')!;
  for (const page of [0, 2]) pages.make(page);
  // The first and the last of a page, its neighbour, and one whose page is not there.
  const ids = [0, 63, 128, 190, 191, 64].map((index) => AGGREGATE_ID_MIN + index);
  const books = new BookPages(pages);
  for (let round = 1; round <= 3; round += 1) {
    const index = ids[round]! - AGGREGATE_ID_MIN;
    const values = possibleCpus().map((cpu) => {
      const value = Buffer.alloc(AGGREGATE_BOOK_SIZE);
      for (let at = 0; at < AGGREGATE_BOOK_SIZE; at += 8)
        value.writeBigUInt64LE(BigInt(1000 * round + 10 * at + cpu), at);
      return value;
    });
    pages.setEachCpu(index, values);
    const one = (id: number): AggregateBook =>
      decodeAggregateBook(pages.getEachCpu(id - AGGREGATE_ID_MIN));
    for (let look = 0; look < 2; look += 1)
      t.deepEqual(books.read(ids), new Map(ids.map((id) => [id, one(id)])));
    t.is(books.read(ids).get(ids[round]!)?.seen.frames, one(ids[round]!).seen.frames);
    t.true(one(ids[round]!).seen.frames > 0n);
  }
});
