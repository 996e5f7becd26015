import fs from 'node:fs';
import test from 'ava';
import {
  POD_ADDRESS_KEY_SIZE,
  POD_ADDRESS_SIZE,
  ROUTED_POD_SIZE,
} from '../../../../helper/wire/routing.ts';
import fc from 'fast-check';
import {
  linkMaps,
  parseBpfObject,
  type BpfObject,
  type BpfProgram,
} from '../../../../helper/wire/bpf-object.ts';
import { MAP_TYPE } from '../../../../helper/kernel/bpf.ts';
import {
  AGGREGATE_CONFIG,
  AGGREGATE_COUNT,
  AGGREGATE_COUNTERS,
  AGGREGATES_PER_PAGE,
} from '../../../../helper/wire/aggregate.ts';
import { AGGREGATE_BOOK_SIZE } from '../../../../helper/wire/book.ts';
import { parseElf } from '../../../../helper/wire/elf.ts';
import { buildBpf } from '../../../../scripts/lib/bpf-build.ts';

/** Of linux/bpf.h. */
const BPF_F_NO_PREALLOC = 1;
const BPF_F_RDONLY_PROG = 1 << 7;

let file: Buffer;
let object: BpfObject;

test.before(() => {
  file = fs.readFileSync(buildBpf());
  object = parseBpfObject(file);
});

function programNamed(name: string): BpfProgram {
  const program = object.programs.find((candidate) => candidate.name === name);
  if (program === undefined) throw new Error(`no program ${name}`);
  return program;
}

const AGGREGATE_MAPS = ['books', 'config', 'counters', 'gates', 'state'].map(
  (name) => `aggregate_${name}`,
);

test('the maps are those that the helper shares with the datapath', (t) => {
  const maps = new Map(object.maps.map(({ name, ...map }) => [name, map]));
  const aggregate = [...AGGREGATE_MAPS];
  t.deepEqual([...maps.keys()].toSorted(), [
    ...aggregate,
    'answers',
    'continuations',
    'exemptions',
    'host_interfaces',
    'node_place',
    'pod_addresses',
    'routed_pods',
    'tunnel_options',
    'unsigned_traffic',
    'upper_exits',
  ]);
  const shape = { keySize: 4, maxEntries: 16_384 };
  t.like(maps.get('aggregate_config'), {
    ...shape,
    type: MAP_TYPE.ARRAY,
    flags: 0,
    valueSize: AGGREGATE_CONFIG.size,
  });
  const hash = { ...shape, type: MAP_TYPE.HASH, flags: BPF_F_NO_PREALLOC | BPF_F_RDONLY_PROG };
  t.like(maps.get('host_interfaces'), { ...hash, valueSize: 8 });
  t.like(maps.get('routed_pods'), { ...hash, valueSize: ROUTED_POD_SIZE });
  t.like(maps.get('pod_addresses'), {
    ...hash,
    ...{ keySize: POD_ADDRESS_KEY_SIZE, valueSize: POD_ADDRESS_SIZE, maxEntries: 65_536 },
  });
  t.like(maps.get('aggregate_gates'), { ...shape, type: MAP_TYPE.ARRAY, valueSize: 16 });
  for (const { keyTypeId, valueTypeId } of maps.values()) t.true(keyTypeId > 0 && valueTypeId > 0);
});

test('state, counters and books stand in pages that cover every aggregate', (t) => {
  const page = { keySize: 4, maxEntries: AGGREGATES_PER_PAGE, flags: 0 };
  const pages = {
    keySize: 4,
    valueSize: 4,
    maxEntries: AGGREGATE_COUNT / AGGREGATES_PER_PAGE,
    flags: 0,
  };
  t.like(
    object.maps.find(({ name }) => name === 'aggregate_state'),
    { ...pages, type: MAP_TYPE.ARRAY_OF_MAPS, inner: { ...page, type: MAP_TYPE.ARRAY } },
  );
  const sizes = {
    aggregate_counters: AGGREGATE_COUNTERS.size,
    aggregate_books: AGGREGATE_BOOK_SIZE,
  };
  for (const [map, valueSize] of Object.entries(sizes)) {
    const inner = { ...page, type: MAP_TYPE.PERCPU_ARRAY, valueSize };
    t.like(
      object.maps.find(({ name }) => name === map),
      { ...pages, type: MAP_TYPE.ARRAY_OF_MAPS, inner },
    );
  }
});

test('the types are placed: every map has a slot of its own in its section', (t) => {
  const compiled = parseElf(file).sections.find(({ name }) => name === '.BTF')!.content;
  t.is(object.btf.length, compiled.length);
  t.notDeepEqual(object.btf, compiled);
});

test('the programs are those that the helper attaches, under a licence that the kernel takes', (t) => {
  const names = object.programs.map(({ name, section }) => `${section}/${name}`);
  const atDevices = [
    'arrive',
    'classify',
    'deliver',
    'depart',
    'depart_upper',
    'forward',
    'receive',
  ];
  t.deepEqual(names.toSorted(), [
    'cgroup_skb/ingress/podpace_police',
    ...atDevices.map((name) => `tc/podpace_${name}`),
  ]);
  t.is(object.license, 'Dual BSD/GPL');
});

test('every program ends with an exit or a jump and refers to the maps it uses', (t) => {
  const mapsOf = (name: string) => programNamed(name).mapReferences.map(({ mapName }) => mapName);
  const aggregate = [...AGGREGATE_MAPS];
  const scheduling = [...aggregate, 'exemptions'];
  // What it sends to more than one place it charges itself.
  t.deepEqual(
    [...new Set(mapsOf('podpace_classify'))].toSorted(),
    [...scheduling, 'host_interfaces', 'node_place'].toSorted(),
  );
  t.deepEqual([...new Set(mapsOf('podpace_depart'))].toSorted(), [
    ...scheduling,
    'unsigned_traffic',
  ]);
  t.deepEqual(
    [...new Set(mapsOf('podpace_depart_upper'))].toSorted(),
    [...scheduling, 'tunnel_options', 'unsigned_traffic', 'upper_exits'].toSorted(),
  );
  t.deepEqual(
    [...new Set(mapsOf('podpace_deliver'))].toSorted(),
    [...scheduling, 'answers', 'continuations', 'host_interfaces', 'unsigned_traffic'].toSorted(),
  );
  t.deepEqual(
    [...new Set(mapsOf('podpace_police'))].toSorted(),
    [...scheduling, 'answers', 'node_place'].toSorted(),
  );
  t.deepEqual([...new Set(mapsOf('podpace_receive'))].toSorted(), [
    ...scheduling,
    'host_interfaces',
  ]);
  for (const { instructions } of object.programs) {
    // BPF_JMP | BPF_EXIT and BPF_JMP | BPF_JA of linux/bpf.h.
    t.true([0x95, 0x05].includes(instructions.readUInt8(instructions.length - 8)));
  }
});

test('linking puts each map into its instruction and changes nothing else', (t) => {
  const program = programNamed('podpace_deliver');
  const fds = new Map(object.maps.map(({ name }, index) => [name, index + 7]));
  const linked = linkMaps(program, fds);
  for (const { instruction, mapName } of program.mapReferences) {
    const at = instruction * 8;
    t.is(linked.readUInt8(at + 1) >> 4, 1);
    t.is(linked.readInt32LE(at + 4), fds.get(mapName) ?? -1);
    program.instructions.copy(linked, at, at, at + 8);
  }
  t.deepEqual(linked, program.instructions);
});

test('a program is not linked without its maps', (t) => {
  t.throws(() => linkMaps(programNamed('podpace_classify'), new Map()), {
    message: 'Cannot link program "podpace_classify": no map "host_interfaces"',
  });
});

test('any part of an object, and any damage to it, gives an object or an error that says so', (t) => {
  const damaged = fc
    .tuple(
      fc.integer({ min: 0, max: file.length }),
      fc.array(fc.tuple(fc.nat({ max: file.length - 1 }), fc.nat({ max: 255 })), { maxLength: 20 }),
      // Damage where it hurts: file header and section headers.
      fc.array(fc.tuple(fc.nat({ max: 63 }), fc.nat({ max: 255 })), { maxLength: 2 }),
    )
    .map(([length, anywhere, header]) => {
      const copy = Buffer.from(file);
      for (const [at, byte] of [...anywhere, ...header]) copy.writeUInt8(byte, at);
      return length % 2 === 0 ? copy : copy.subarray(0, length);
    });
  fc.assert(
    fc.property(
      fc.oneof(
        damaged,
        fc.uint8Array({ maxLength: 256 }).map((bytes) => Buffer.from(bytes)),
      ),
      (bytes) => {
        try {
          return parseBpfObject(bytes).programs.length >= 0;
        } catch (error) {
          return error instanceof Error && error.message.startsWith('Cannot read the BPF object: ');
        }
      },
    ),
    { numRuns: 1000 },
  );
  t.pass();
});

test('an object of another machine is refused', (t) => {
  const other = Buffer.from(file);
  other.writeUInt16LE(62, 18);
  t.throws(() => parseBpfObject(other), {
    message: 'Cannot read the BPF object: machine 62 is not BPF',
  });
});

test('an ELF file that is cut short is refused', (t) => {
  t.throws(() => parseElf(file.subarray(0, 63)), { instanceOf: RangeError, message: /ELF header/ });
  t.throws(() => parseElf(file.subarray(0, 1000)), { instanceOf: RangeError });
});
