// Every struct that the helper shares with the datapath stands where the compiler has put it,
// member by member: whoever moves, adds or renames one on either side meets this.

import fs from 'node:fs';
import path from 'node:path';
import test from 'ava';
import * as aggregate from '../../../../helper/wire/aggregate.ts';
import * as book from '../../../../helper/wire/book.ts';
import * as exemption from '../../../../helper/wire/exemption.ts';
import { CAP_RANGES, MIN_HORIZON_NS, MIN_INTERVAL_NS } from '../../../../helper/protocol/ranges.ts';
import { MAX_BURST_NS } from '../../../../helper/shaping/rates.ts';
import { NODE_PLACE } from '../../../../helper/wire/node-place.ts';
import * as routing from '../../../../helper/wire/routing.ts';
import { buildBpf, buildBpfObject } from '../../../../scripts/lib/bpf-build.ts';
import { projectRoot } from '../../../../scripts/lib/paths.ts';
import { SharedStructs } from '../../../kit/shared-structs.ts';

let structs: SharedStructs;

test.before(() => {
  const paged = path.join(import.meta.dirname, 'paged-structs.bpf.c');
  structs = new SharedStructs([buildBpfObject(paged), buildBpf()]);
});

test('the sizes are those of the structs', (t) => {
  const sizes: Readonly<Record<string, number>> = {
    aggregate_config: aggregate.AGGREGATE_CONFIG.size,
    aggregate_counters: aggregate.AGGREGATE_COUNTERS.size,
    host_interface: aggregate.HOST_INTERFACE.size,
    upper_exit: aggregate.FRAME_OVERHEAD.size,
    aggregate_book: book.AGGREGATE_BOOK_SIZE,
    tally: book.UNSIGNED_TALLY_SIZE,
    exemption_key: exemption.EXEMPTION_KEY_SIZE,
    exemption: exemption.EXEMPTION_SIZE,
    node_place: NODE_PLACE.size,
    routed_pod: routing.ROUTED_POD_SIZE,
    address_key: routing.POD_ADDRESS_KEY_SIZE,
    pod_address: routing.POD_ADDRESS_SIZE,
  };
  for (const [name, size] of Object.entries(sizes)) t.is(structs.sizeOf(name), size, name);
});

test('an aggregate config stands where the datapath reads it', (t) => {
  const config = {
    rateBytesPerSec: 0x5102_0304_0506,
    horizonNs: 0x6708_090a,
    idleCreditNs: 0x7b0c_0d0e,
    sparseCreditNs: 0x8f10_1112,
    targetNs: 0x9314_1516,
    intervalNs: 0xa718_191a,
    exemptions: aggregate.EXEMPT_NODE,
  };
  const value = aggregate.AGGREGATE_CONFIG.encode(config);
  t.deepEqual(structs.read('aggregate_config', value), {
    rate_bytes_per_sec: BigInt(config.rateBytesPerSec),
    horizon_ns: BigInt(config.horizonNs),
    idle_credit_ns: BigInt(config.idleCreditNs),
    sparse_credit_ns: BigInt(config.sparseCreditNs),
    target_ns: BigInt(config.targetNs),
    interval_ns: BigInt(config.intervalNs),
    exemptions: BigInt(config.exemptions),
  });
  t.deepEqual(aggregate.AGGREGATE_CONFIG.decode(value), config);
});

test('the clock of an aggregate stands where the datapath keeps it, and so does its copy', (t) => {
  const lastNs = 0x1122_3344_5566_7788n;
  const written = Buffer.alloc(structs.sizeOf('aggregate_state'));
  aggregate.writeAggregateClock(written, { lastNs });
  const clock = { 'departures.t_last': lastNs, 'departures.t_last_copy': lastNs };
  t.deepEqual(written, structs.write('aggregate_state', clock));
  const read = structs.write('aggregate_state', { 'departures.t_last': lastNs });
  t.deepEqual(aggregate.decodeAggregateClock(read), { lastNs });
  const credit = { 'departures.config.idle_credit_ns': 0x7b0c_0d0en };
  t.is(aggregate.decodeIdleCreditNs(structs.write('aggregate_state', credit)), 0x7b0c_0d0e);
});

/** A name of C as TypeScript has it. */
function camelCase(name: string): string {
  return name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

test('counters stand where the datapath counts them, and nothing else does', (t) => {
  const { sojourn: buckets, ...members } = structs.read(
    'aggregate_counters',
    Buffer.alloc(aggregate.AGGREGATE_COUNTERS.size),
  );
  t.is(buckets, Buffer.alloc(aggregate.SOJOURN_BUCKETS * 8).toString('hex'));
  const counted = Object.fromEntries(
    Object.keys(members).map((name, index) => [name, (1n << 60n) + BigInt(index)]),
  );
  const sojourn = Array.from({ length: aggregate.SOJOURN_BUCKETS }, (_, at) => BigInt(at) << 50n);
  const words = Buffer.alloc(sojourn.length * 8);
  for (const [at, count] of sojourn.entries()) words.writeBigUInt64LE(count, at * 8);
  const value = structs.write('aggregate_counters', { ...counted, sojourn: words.toString('hex') });
  const spelled = Object.entries(counted).map(([name, count]) => [camelCase(name), count] as const);
  const expected = { ...Object.fromEntries(spelled), sojourn };
  const decoded: object = aggregate.AGGREGATE_COUNTERS.decode(value);
  t.deepEqual(decoded, expected);
});

test('books stand where the datapath keeps them', (t) => {
  const names = ['seen', 'settled', 'exempt', 'dropped'] as const;
  const members = names.flatMap((name, at) => [
    [`${name}.frames`, BigInt(at + 1) << 33n] as const,
    [`${name}.bytes`, BigInt(at + 1) << 40n] as const,
  ]);
  const value = structs.write('aggregate_book', Object.fromEntries(members));
  t.deepEqual(structs.read('aggregate_book', value), Object.fromEntries(members));
  const tallies = names.map((name, at) => [
    name,
    { frames: BigInt(at + 1) << 33n, bytes: BigInt(at + 1) << 40n },
  ]);
  t.deepEqual({ ...book.decodeAggregateBook([value]) }, Object.fromEntries(tallies));
  const tally = structs.write('tally', { frames: 1n << 35n, bytes: 1n << 45n });
  t.is(book.decodeUnsignedBytes([tally, tally]), 2 ** 46);
});

test('host interfaces and upper exits stand where the datapath looks them up', (t) => {
  const ids = { egressId: 4097, ingressId: 20_000 };
  const own = aggregate.HOST_INTERFACE.encode(ids);
  t.deepEqual(structs.read('host_interface', own), { egress_id: 4097n, ingress_id: 20_000n });
  t.deepEqual(aggregate.HOST_INTERFACE.decode(own), ids);
  const overhead = {
    ...{ frameBytes: 0x0102_0304, align: 0x0506, innerBytes: 0x0708, mtu: 0x090a_0b0c },
    told: aggregate.TOLD_GRE,
  };
  const upper = aggregate.FRAME_OVERHEAD.encode(overhead);
  t.deepEqual(structs.read('upper_exit', upper), {
    ...{ frame_bytes: 0x0102_0304n, align: 0x0506n, inner_bytes: 0x0708n, mtu: 0x090a_0b0cn },
    told: BigInt(aggregate.TOLD_GRE),
  });
  t.deepEqual(aggregate.FRAME_OVERHEAD.decode(upper), overhead);
});

test('exemptions stand where the datapath looks them up', (t) => {
  const parsed = exemption.parseExemption('!2001:db8::/33');
  const key = exemption.encodeExemptionKey(4242, parsed);
  t.deepEqual(structs.read('exemption_key', key), {
    ...{ prefix_len: 65n, list: 4242n, address: `20010db8${'0'.repeat(24)}` },
  });
  t.is(exemption.exemptionListOf(Buffer.concat([Buffer.alloc(24), key]), 24), 4242);
  const value = exemption.encodeExemption({ ...parsed, isExempt: true });
  t.deepEqual(structs.read('exemption', value), { prefix_len: 65n, is_exempt: 1n });
});

test('host routing and the place of the node stand where the datapath looks them up', (t) => {
  const pod = routing.encodeRoutedPod(['2001:db8::7', '10.1.2.3']);
  t.deepEqual(structs.read('routed_pod', pod), {
    ...{ ipv4: 0x0302_010an, ipv6: '20010db8000000000000000000000007' },
  });
  const key = routing.encodePodAddressKey('10.1.2.3');
  t.deepEqual(structs.read('address_key', key), { address: '00000000000000000000ffff0a010203' });
  const macs = ['02:00:00:00:00:01', '02:00:00:00:00:02'] as const;
  const address = routing.encodePodAddress({ ifindex: 0x0102_0304, isShaped: true, macs });
  t.deepEqual(structs.read('pod_address', address), {
    ...{ ifindex: 0x0102_0304n, is_shaped: 1n, macs: '020000000001020000000002' },
  });
  t.is(routing.interfaceOfPodAddress(address), 0x0102_0304);
  const [netnsOffset, cookieOffset] = [48, 4160];
  const place = NODE_PLACE.encode({ netnsCookie: 1n << 40n, netnsOffset, cookieOffset });
  t.deepEqual(structs.read('node_place', place), {
    ...{ netns_cookie: 1n << 40n, netns_offset: 48n, cookie_offset: 4160n },
  });
});

/** What the preprocessor puts for a name: a whole number, with or without a suffix. */
function defined(name: string): number {
  const headers = fs.globSync('bpf/*.h', { cwd: projectRoot });
  const found = headers.flatMap((header) => {
    const text = fs.readFileSync(path.join(projectRoot, header), 'utf8');
    return [...text.matchAll(new RegExp(`^#define ${name} (\\d+|0x[0-9a-f]+)U?L*\\b`, 'gm'))];
  });
  return found.length === 1 ? Number(found[0]?.[1]) : NaN;
}

test('numbers that both sides know are the same', (t) => {
  const numbers: Readonly<Record<string, number>> = {
    AGGREGATE_ID_MIN: aggregate.AGGREGATE_ID_MIN,
    AGGREGATE_COUNT: aggregate.AGGREGATE_COUNT,
    PAGE_LENGTH: aggregate.AGGREGATES_PER_PAGE,
    SOJOURN_BUCKETS: aggregate.SOJOURN_BUCKETS,
    RATE_MAX: aggregate.RATE_MAX_BYTES_PER_SEC,
    HORIZON_MAX_NS: aggregate.DURATION_MAX_NS,
    HORIZON_MIN_NS: MIN_HORIZON_NS,
    INTERVAL_MIN_NS: MIN_INTERVAL_NS,
    CREDIT_MAX_NS: MAX_BURST_NS,
    EXEMPT_OWN: aggregate.EXEMPT_OWN,
    EXEMPT_NODE: aggregate.EXEMPT_NODE,
    TOLD_FAMILY: aggregate.TOLD_FAMILY,
    TOLD_GRE: aggregate.TOLD_GRE,
    TOLD_OPTIONS: aggregate.TOLD_OPTIONS,
    UNSIGNED_COUNT: book.unsignedPlaceOf(defined('UNSIGNED_COUNT') - 1) + 1,
  };
  for (const [name, number] of Object.entries(numbers)) t.is(defined(name), number, name);
  t.is(book.unsignedPlaceOf(defined('UNSIGNED_COUNT')), 0);
  t.is(CAP_RANGES.rateBitsPerSec[1], 8 * aggregate.RATE_MAX_BYTES_PER_SEC);
});
