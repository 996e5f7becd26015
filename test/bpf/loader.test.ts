import fs from 'node:fs';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { KernelError } from '../../helper/wire/errors.ts';
import {
  createMap,
  deleteElement,
  loadProgram,
  lookupElement,
  MAP_TYPE,
  mapInfo,
  mapKeys,
  objectInfo,
  openPinned,
  pinObject,
  programFdById,
  programInfo,
  PROG_TYPE_SCHED_CLS,
  updateElement,
} from '../../helper/kernel/bpf.ts';
import {
  closeObject,
  loadObject,
  loadPodpace,
  type LoadedPodpace,
} from '../../helper/kernel/bpf-loader.ts';
import { ensureBpffs, isBpffs } from '../../helper/kernel/bpffs.ts';
import type { MapPages } from '../../helper/kernel/map-pages.ts';
import {
  AGGREGATE_CONFIG,
  AGGREGATE_COUNTERS,
  AGGREGATE_ID_MIN,
  AGGREGATE_KEY,
} from '../../helper/wire/aggregate.ts';
import { AGGREGATE_BOOK_SIZE } from '../../helper/wire/book.ts';
import { buildBpf } from '../../scripts/lib/bpf-build.ts';
import { presentObject } from '../kit/other-layout.ts';
import { mountTemporaryBpffs } from '../bed/temporary-bpffs.ts';

/** What is loaded once, for tests that only look at it: an emulated verifier is seconds at it. */
let whole: { readonly directory: string; readonly loaded: LoadedPodpace };
const undo: (() => void)[] = [];

test.before(() => {
  buildBpf();
  const bpffs = mountTemporaryBpffs();
  undo.unshift(() => bpffs.remove());
  const directory = path.join(bpffs.directory, 'podpace');
  const loaded = loadPodpace(directory);
  undo.unshift(() => closePodpace(loaded));
  whole = { directory, loaded };
});

test.after.always(() => {
  for (const each of undo) each();
});

function temporaryBpffs(t: ExecutionContext): string {
  const bpffs = mountTemporaryBpffs();
  t.teardown(() => bpffs.remove());
  return bpffs.directory;
}

function closePodpace({ maps, programs }: LoadedPodpace): void {
  for (const { fd } of Object.values(maps)) fs.closeSync(fd);
  for (const { fd } of Object.values(programs)) fs.closeSync(fd);
}

function load(t: ExecutionContext, directory: string): LoadedPodpace {
  const loaded = loadPodpace(directory);
  t.teardown(() => closePodpace(loaded));
  return loaded;
}

/** Loads the maps that have pages, without programs: what is told of them hangs on none. */
function loadPages(t: ExecutionContext, directory: string): MapPages {
  const object = presentObject();
  const maps = object.maps.filter(({ inner }) => inner !== undefined);
  const loaded = loadObject({ ...object, maps, programs: [] }, directory);
  t.teardown(() => closeObject(loaded));
  return loaded.pages.get('aggregate_state') ?? t.fail();
}

function closing(t: ExecutionContext, fd: number): number {
  t.teardown(() => fs.closeSync(fd));
  return fd;
}

function openDescriptors(): number {
  return fs.readdirSync('/proc/self/fd').length;
}

function newMap(t: ExecutionContext, type: number, maxEntries: number): number {
  return closing(
    t,
    createMap({ type, name: 'test', keySize: 4, valueSize: 8, maxEntries, flags: 0 }),
  );
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

test('maps and programs are loaded and pinned by name', (t) => {
  const { directory } = whole;
  const { maps, pages, programs } = whole.loaded;
  t.deepEqual(fs.readdirSync(directory).toSorted(), [
    'aggregate_books',
    'aggregate_config',
    'aggregate_counters',
    'aggregate_gates',
    'aggregate_state',
    'answers',
    'continuations',
    'exemptions',
    'host_interfaces',
    'node_place',
    'pod_addresses',
    'podpace_arrive',
    'podpace_classify',
    'podpace_deliver',
    'podpace_depart',
    'podpace_depart_upper',
    'podpace_forward',
    'podpace_police',
    'podpace_receive',
    'routed_pods',
    'tunnel_options',
    'unsigned_traffic',
    'upper_exits',
  ]);
  t.is(mapInfo(maps.aggregateConfig.fd).valueSize, AGGREGATE_CONFIG.size);
  t.is(pages.aggregateCounters.valueSize, AGGREGATE_COUNTERS.size);
  t.is(pages.aggregateBooks.valueSize, AGGREGATE_BOOK_SIZE);
  t.is(mapInfo(maps.hostInterfaces.fd).maxEntries, 16_384);
  const { fd, id, tag } = programs.classify;
  t.deepEqual(programInfo(fd), { id, tag, name: 'podpace_classif', type: PROG_TYPE_SCHED_CLS });
  const pinned = closing(t, openPinned(path.join(directory, 'podpace_depart')));
  t.is(programInfo(pinned).id, programs.depart.id);
});

/**
 * Of struct bpf_prog_info (linux/bpf.h): how many instructions the verifier has followed, on all
 * paths together.
 */
const VERIFIED_OFFSET = 216;
/**
 * What one departure step takes, and what stands around it, without paths that multiply each other:
 * 42,100 in podpace_depart on Linux 6.1, 16,600 at most on 6.18.
 */
const VERIFIED_MAX = 45_000;

test('no program keeps the verifier long', (t) => {
  const { programs, police } = whole.loaded;
  t.false(police instanceof Error);
  for (const { name, fd } of [
    ...Object.values(programs),
    ...(police instanceof Error ? [] : [police]),
  ]) {
    const verified = objectInfo(fd, 'program', VERIFIED_OFFSET + 4).readUInt32LE(VERIFIED_OFFSET);
    t.log(`${name}: ${verified} instructions followed`);
    t.true(verified > 0 && verified <= VERIFIED_MAX, `${name}: ${verified}`);
  }
});

test('loading again keeps the maps with what they hold, and loads the same programs afresh', (t) => {
  const directory = path.join(temporaryBpffs(t), 'podpace');
  const first = load(t, directory);
  const key = AGGREGATE_KEY.encode(AGGREGATE_ID_MIN + 3);
  const value = AGGREGATE_CONFIG.encode({
    ...{
      rateBytesPerSec: 1_250_000,
      horizonNs: 50_000_000,
      idleCreditNs: 250_000,
      sparseCreditNs: 750_000,
    },
    ...{ targetNs: 5_000_000, intervalNs: 100_000_000, exemptions: 0 },
  });
  updateElement(first.maps.aggregateConfig.fd, key, value);

  const second = load(t, directory);
  t.is(mapInfo(second.maps.aggregateConfig.fd).id, mapInfo(first.maps.aggregateConfig.fd).id);
  t.deepEqual(lookupElement(second.maps.aggregateConfig.fd, key, AGGREGATE_CONFIG.size), value);
  t.not(second.programs.depart.id, first.programs.depart.id);
  t.is(second.programs.depart.tag, first.programs.depart.tag);
  const pinned = closing(t, openPinned(path.join(directory, 'podpace_depart')));
  t.is(programInfo(pinned).id, second.programs.depart.id);
});

test('a pinned map of another shape is refused by name, and nothing stays open', (t) => {
  const directory = path.join(temporaryBpffs(t), 'podpace');
  fs.mkdirSync(directory);
  const pin = path.join(directory, 'aggregate_config');
  const shape = {
    type: MAP_TYPE.ARRAY,
    name: 'other',
    keySize: 4,
    valueSize: 8,
    maxEntries: 7,
    flags: 0,
  };
  const other = closing(t, createMap(shape));
  pinObject(other, pin);

  const before = openDescriptors();
  t.throws(() => loadPodpace(directory), {
    message:
      `Cannot use the map pinned at ${pin}: its valueSize is 8, not 32, maxEntries is 7, not 16384: it is of another ` +
      'version of podpace; run `podpaced uninstall`, then start again',
  });
  t.is(openDescriptors(), before);
});

test('pages of another shape are refused too, those of the same shape are used on', (t) => {
  const directory = path.join(temporaryBpffs(t), 'podpace');
  loadPages(t, directory).make(3);
  t.true(loadPages(t, directory).has(3));

  const pin = path.join(directory, 'aggregate_state');
  const shape = {
    type: MAP_TYPE.ARRAY,
    name: 'page',
    keySize: 4,
    valueSize: 8,
    maxEntries: 64,
    flags: 0,
  };
  const page = closing(t, createMap(shape));
  const outer = { ...shape, type: MAP_TYPE.ARRAY_OF_MAPS, valueSize: 4, maxEntries: 256 };
  const other = closing(t, createMap(outer, undefined, page));
  updateElement(other, u32(0), u32(page));
  fs.rmSync(pin);
  pinObject(other, pin);
  const before = openDescriptors();
  t.throws(() => loadPodpace(directory), {
    message:
      /Cannot use the map pinned at .*aggregate_state: its valueSize is 8, not \d+: it is of another version/,
  });
  t.is(openDescriptors(), before);
});

test('a refused program says what the verifier said', (t) => {
  // r0 = *(u64 *)(r1 + 4096); exit: reads behind the context.
  const instructions = Buffer.from('79100010000000009500000000000000', 'hex');
  const program = { type: PROG_TYPE_SCHED_CLS, name: 'bad', license: 'GPL', instructions };
  const error = t.throws(() => loadProgram(program), { instanceOf: KernelError });
  t.is(error?.operation, 'load BPF program "bad"');
  t.is(error?.errno, 'EACCES');
  t.regex(error?.detail ?? '', /invalid bpf_context access off=4096/);
});

test('elements are written, listed and deleted', (t) => {
  const map = newMap(t, MAP_TYPE.HASH, 100);
  t.deepEqual([...mapKeys(map, 4)], []);
  for (let key = 0; key < 100; key++) updateElement(map, u32(key), Buffer.alloc(8, key));
  const keys = [...mapKeys(map, 4)].map((key) => key.readUInt32LE()).toSorted((a, b) => a - b);
  t.deepEqual(
    keys,
    Array.from({ length: 100 }, (_, key) => key),
  );
  t.true(deleteElement(map, u32(42)));
  t.false(deleteElement(map, u32(42)));
  t.is(lookupElement(map, u32(42), 8), undefined);
  t.deepEqual(lookupElement(map, u32(41), 8), Buffer.alloc(8, 41));
  updateElement(map, u32(42), Buffer.alloc(8));
  t.throws(() => updateElement(map, u32(100), Buffer.alloc(8)), {
    instanceOf: KernelError,
    message: /E2BIG/,
  });
});

test('a map may be emptied while its keys are walked', (t) => {
  const map = newMap(t, MAP_TYPE.HASH, 50);
  for (let key = 0; key < 50; key++) updateElement(map, u32(key), Buffer.alloc(8));
  for (const key of mapKeys(map, 4)) t.true(deleteElement(map, key));
  t.deepEqual([...mapKeys(map, 4)], []);
});

test('what is not there is ENOENT', (t) => {
  const directory = temporaryBpffs(t);
  t.throws(() => openPinned(path.join(directory, 'nothing')), {
    instanceOf: KernelError,
    message: /ENOENT/,
  });
  t.throws(() => programFdById(0x7fff_fff0), { instanceOf: KernelError, message: /ENOENT/ });
});

test('bpffs is mounted once, and only where a directory is', (t) => {
  const directory = temporaryBpffs(t);
  t.true(isBpffs(directory));
  ensureBpffs(directory);
  const mounts = fs.readFileSync('/proc/self/mounts', 'utf8').split('\n');
  t.is(mounts.filter((line) => line.includes(` ${directory} `)).length, 1);
  t.false(isBpffs('/proc'));
  t.false(isBpffs('/nonexistent'));
  const error = t.throws(() => ensureBpffs('/nonexistent'), {
    instanceOf: KernelError,
    message: /ENOENT/,
  });
  t.regex(error?.message ?? '', /mount -t bpf bpf \/nonexistent/);
});
