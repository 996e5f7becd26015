import test from 'ava';
import fc from 'fast-check';
import { formatMessage } from 'netlink/dist/structs.js';
import { Reaches } from '../../../../helper/shaping/reaches.ts';
import { RouteWatch } from '../../../../helper/control/route-watch.ts';
import { encodeLinkChange, RTM_NEWLINK } from '../../../../helper/wire/link-message.ts';
import {
  RTM_DELNEXTHOP,
  RTM_NEWNEXTHOP,
  type Nexthop,
} from '../../../../helper/wire/nexthop-message.ts';
import type { Reach } from '../../../../helper/wire/route-brief.ts';
import { RTM_DELROUTE, RTM_NEWROUTE, type Route } from '../../../../helper/wire/route-message.ts';
import { decodeRtEvents, type RtEvent } from '../../../../helper/wire/rt-event.ts';
import { briefOf, nexthopPayload, routePayload } from '../../../kit/route-briefs.ts';

/** linux/netlink.h and linux/rtnetlink.h. */
const NLM_F_REPLACE = 0x100;
const NLM_F_CREATE = 0x400;

function message(type: number, data: Buffer, flags = 0): Buffer {
  return Buffer.concat(formatMessage({ type, flags, seq: 0, port: 0, data }));
}

/**
 * A route of a table, with the devices that it leads to: several hops, or one; by a nexthop object
 * when `object` is set.
 */
interface Entry {
  readonly destination: string;
  readonly table: number;
  readonly priority: number;
  readonly type: number;
  devices: readonly number[];
  readonly object?: number | undefined;
  /** Next hops that are down: listed with the others as long as one is not. */
  dead?: readonly number[];
}

const UNICAST = 1;

/**
 * A route as the kernel tells of it: without its devices where they are those of an object and
 * nexthop_compat_mode is 0.
 */
function routeOf({ devices, object, dead: _dead, ...entry }: Entry, isCompatible: boolean): Route {
  const [ifindex = 0] = devices;
  if (entry.type !== UNICAST || (object !== undefined && !isCompatible)) return entry;
  return devices.length > 1 ? { ...entry, nextHopIndexes: devices } : { ...entry, ifindex };
}

/**
 * A node's tables, changed as the kernel does it (net/ipv4/fib_trie.c, net/ipv6/ip6_fib.c), with
 * what it tells of that.
 */
class Tables {
  entries: Entry[] = [];
  readonly isCompatible: boolean;
  /** Devices of the nexthop objects that there are: groups, of a member for each device. */
  readonly #objects = new Map<number, readonly number[]>([
    [1, [1]],
    [2, [2, 3]],
  ]);
  readonly #tell: (event: RtEvent) => void;

  constructor(isCompatible: boolean, entries: readonly Entry[], tell: (event: RtEvent) => void) {
    this.isCompatible = isCompatible;
    this.entries = entries.map((each) => ({
      ...each,
      devices: this.#devicesOf(each) ?? each.devices,
    }));
    this.#tell = tell;
  }

  /** As a listing has them, in no order. */
  get nexthops(): Nexthop[] {
    const members = new Set([...this.#objects.values()].flat());
    const groups = [...this.#objects].map(([id, devices]) => groupOf(id, devices));
    return [...groups, ...[...members].map(memberOf)];
  }

  #devicesOf({ object }: Entry): readonly number[] | undefined {
    return object === undefined ? undefined : (this.#objects.get(object) ?? []);
  }

  #send(type: number, data: Buffer, flags = 0): void {
    for (const event of decodeRtEvents(message(type, data, flags))) this.#tell(event);
  }

  #sendRoute(type: number, entry: Entry, flags = 0): void {
    this.#send(type, routePayload(routeOf(entry, this.isCompatible), entry.object), flags);
  }

  add(asked: Entry): void {
    const entry = this.#taken(asked);
    if (entry === undefined) return;
    this.entries.push(entry);
    this.#sendRoute(RTM_NEWROUTE, entry, NLM_F_CREATE);
  }

  replace(asked: Entry): void {
    const entry = this.#taken(asked);
    if (entry === undefined) return;
    const at = this.entries.findIndex(
      ({ destination, table, priority }) =>
        destination === entry.destination && table === entry.table && priority === entry.priority,
    );
    if (at < 0) return this.add(entry);
    this.entries[at] = entry;
    this.#sendRoute(RTM_NEWROUTE, entry, NLM_F_REPLACE);
  }

  remove(at: number): void {
    const [entry] = this.entries.splice(at % Math.max(1, this.entries.length), 1);
    if (entry !== undefined) this.#sendRoute(RTM_DELROUTE, entry);
  }

  /** Nothing is told of its routes. */
  switchOff(ifindex: number): void {
    for (const entry of this.entries) {
      if (entry.object === undefined) entry.dead = [...(entry.dead ?? []), ifindex];
      else entry.devices = entry.devices.filter((device) => device !== ifindex);
    }
    this.entries = this.entries.filter(
      ({ devices, dead = [], type }) =>
        type !== UNICAST || devices.some((device) => !dead.includes(device)),
    );
    for (const [object, devices] of this.#objects)
      this.#setObject(
        object,
        devices.filter((device) => device !== ifindex),
      );
    this.#send(RTM_NEWLINK, encodeLinkChange(ifindex, { up: false }));
  }

  switchOn(ifindex: number): void {
    for (const entry of this.entries)
      entry.dead = (entry.dead ?? []).filter((device) => device !== ifindex);
    this.#send(RTM_NEWLINK, encodeLinkChange(ifindex, { up: true }));
  }

  /** A nexthop object leads elsewhere, or is gone with its routes; nothing is told of those. */
  changeObject(object: number, devices: readonly number[]): void {
    for (const entry of this.entries) if (entry.object === object) entry.devices = devices;
    this.entries = this.entries.filter(
      (entry) => entry.type !== UNICAST || entry.devices.length > 0,
    );
    this.#setObject(object, devices);
    for (const each of devices) this.#send(RTM_NEWNEXTHOP, nexthopPayload(memberOf(each)));
    if (devices.length > 0) this.#send(RTM_NEWNEXTHOP, nexthopPayload(groupOf(object, devices)));
    else this.#send(RTM_DELNEXTHOP, nexthopPayload(groupOf(object, [])));
  }

  #setObject(object: number, devices: readonly number[]): void {
    if (devices.length === 0) this.#objects.delete(object);
    else this.#objects.set(object, devices);
  }

  /** The kernel takes no route by an object that is not there. */
  #taken(entry: Entry): Entry | undefined {
    const devices = this.#devicesOf(entry);
    return devices?.length === 0 ? undefined : { ...entry, devices: devices ?? entry.devices };
  }
}

function memberOf(ifindex: number): Nexthop {
  return { id: 100 + ifindex, ifindex, members: [] };
}

function groupOf(id: number, devices: readonly number[]): Nexthop {
  return { id, members: devices.map((each) => memberOf(each).id) };
}

/** How far routes lead, as one would write it down at first. */
function plainReaches(entries: readonly Entry[]): Map<number, Reach> {
  const found = new Map<number, Reach>();
  for (const { destination, type, devices } of entries) {
    if (type !== UNICAST || destination === 'fe80::/64') continue;
    const isDefault = destination.endsWith('/0');
    const isHost = destination.endsWith(destination.includes(':') ? '/128' : '/32');
    for (const device of devices) {
      const former = found.get(device);
      if (isDefault || former === 'default') found.set(device, 'default');
      else found.set(device, isHost && former !== 'network' ? 'host' : 'network');
    }
  }
  return found;
}

const DESTINATIONS = [
  ...['0.0.0.0/0', '::/0', 'fe80::/64', '10.0.0.0/8', '10.1.0.0/16', '2001:db8::/32'],
  ...['10.0.0.1/32', '10.0.0.2/32', '2001:db8::1/128'],
];
const device = fc.integer({ min: 1, max: 4 });
const object = fc.integer({ min: 1, max: 2 });

const entry: fc.Arbitrary<Entry> = fc.record({
  destination: fc.constantFrom(...DESTINATIONS),
  table: fc.constantFrom(254, 254, 255, 1000),
  priority: fc.constantFrom(0, 100),
  type: fc.constantFrom(UNICAST, UNICAST, UNICAST, 6),
  devices: fc.uniqueArray(device, { minLength: 1, maxLength: 3 }),
  object: fc.option(object, { nil: undefined, freq: 4 }),
});

type Action = (tables: Tables) => void;

const action: fc.Arbitrary<Action> = fc.oneof(
  { weight: 6, arbitrary: entry.map((each) => (tables: Tables) => tables.add({ ...each })) },
  { weight: 4, arbitrary: entry.map((each) => (tables: Tables) => tables.replace({ ...each })) },
  { weight: 6, arbitrary: fc.nat(20).map((at) => (tables: Tables) => tables.remove(at)) },
  { weight: 1, arbitrary: device.map((each) => (tables: Tables) => tables.switchOff(each)) },
  { weight: 1, arbitrary: device.map((each) => (tables: Tables) => tables.switchOn(each)) },
  {
    weight: 1,
    arbitrary: fc.tuple(object, fc.uniqueArray(device, { maxLength: 2 })).map(
      ([id, devices]) =>
        (tables: Tables) =>
          tables.changeObject(id, devices),
    ),
  },
);

function scan({ entries, isCompatible, nexthops }: Tables, listed = nexthops): Reaches {
  const reaches = new Reaches(listed);
  for (const each of entries) {
    const brief = briefOf(routeOf(each, isCompatible), each.object);
    if (brief !== undefined) reaches.add(brief);
  }
  return reaches;
}

const sorted = (reaches: Iterable<[number, Reach]>): [number, Reach][] =>
  [...reaches].sort(([a], [b]) => a - b);

test('what is known of routes without doubt is what they are, whatever happens to them', (t) => {
  fc.assert(
    fc.property(
      fc.array(entry, { maxLength: 12 }),
      fc.array(fc.tuple(action, fc.boolean()), { maxLength: 40 }),
      fc.boolean(),
      (entries, actions, isCompatible) => {
        let told = new Set<number>();
        const tables = new Tables(isCompatible, entries, (event) => {
          for (const each of known.hear(event)) told.add(each);
          if (event.kind === 'link') told.add(event.ifindex);
        });
        let known = scan(tables);
        let before = plainReaches(tables.entries);
        for (const [act, doesRead] of actions) {
          act(tables);
          const now = plainReaches(tables.entries);
          if (!known.isDoubtful) t.deepEqual(sorted(known.byDevice), sorted(now));
          // Whoever is told of a device looks at it: no change may go untold.
          for (const each of new Set([...before.keys(), ...now.keys()])) {
            if (before.get(each) !== now.get(each))
              t.true(told.has(each) || known.isDoubtful, `device ${each}`);
          }
          if (doesRead && known.isDoubtful) known = scan(tables);
          if (doesRead) [before, told] = [now, new Set()];
        }
      },
    ),
    { numRuns: 1000 },
  );
});

test('an object with the id of one that its device took along is no member of that one’s groups', (t) => {
  const events: RtEvent[] = [];
  const tables = new Tables(false, [], (event) => events.push(event));
  const known = scan(tables);
  const route = { destination: '10.0.0.0/8', table: 254, priority: 0, type: UNICAST, devices: [] };
  tables.switchOff(3);
  tables.changeObject(1, [3]);
  tables.add({ ...route, object: 2 });
  for (const event of events) known.hear(event);
  t.deepEqual(sorted(plainReaches(tables.entries)), [[2, 'network']]);
  t.true(known.isDoubtful, JSON.stringify(sorted(known.byDevice)));
  t.deepEqual(sorted(scan(tables).byDevice), [[2, 'network']]);
});

test('what happens while routes are read is taken into account', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(entry, { maxLength: 8 }),
      fc.array(fc.tuple(fc.array(action, { maxLength: 6 }), fc.nat(6), fc.nat(6)), {
        maxLength: 5,
      }),
      fc.boolean(),
      async (entries, rounds, isCompatible) => {
        // Events are late: some come after the reading has begun that are of changes before it, and
        // the other way round.
        const late: RtEvent[] = [];
        const tables = new Tables(isCompatible, entries, (event) => late.push(event));
        let actions: readonly Action[] = [];
        const watch = new RouteWatch(async () => {
          await Promise.resolve();
          const third = Math.floor(actions.length / 3);
          for (const act of actions.slice(0, third)) act(tables);
          const { nexthops } = tables;
          for (const act of actions.slice(third, 2 * third)) act(tables);
          const found = scan(tables, nexthops);
          for (const act of actions.slice(2 * third)) act(tables);
          hear(3);
          return found;
        });
        const hear = (count: number): void => {
          for (const event of late.splice(0, count)) watch.hear(event);
        };
        watch.follow(() => undefined);
        await watch.read();
        for (const [acts, during, before] of rounds) {
          for (const act of acts.slice(0, before)) act(tables);
          actions = acts.slice(before, before + during);
          hear(2);
          await watch.read();
          actions = [];
          for (const act of acts.slice(before + during)) act(tables);
          hear(late.length);
          t.deepEqual(sorted(await watch.read()), sorted(plainReaches(tables.entries)));
        }
      },
    ),
    { numRuns: 500 },
  );
});

test("a quarter of a device's routes flap, and it is never in doubt", (t) => {
  const routes = Array.from({ length: 4000 }, (_, at) =>
    briefOf({ destination: `10.0.${at >>> 4}.${(at & 15) << 4}/28`, table: 254, ifindex: 3 }),
  ).filter((brief) => brief !== undefined);
  const reaches = new Reaches();
  for (const route of routes) reaches.add(route);
  for (let round = 0; round < 10; round++) {
    for (const change of ['deleted', 'added'] as const) {
      for (const route of routes.filter((_, at) => at % 4 === 0)) {
        t.deepEqual(reaches.hear({ kind: 'route', change, route }), []);
        if (reaches.isDoubtful) return t.fail('in doubt');
      }
    }
  }
});

test('routes are read anew from time to time, and not again while that would take too much time', async (t) => {
  let scans = 0;
  const watch = new RouteWatch(async () => {
    scans += 1;
    return new Reaches();
  });
  await watch.read();
  await watch.read();
  t.is(scans, 2, 'nobody follows events yet');
  watch.follow(() => undefined);
  await watch.read();
  t.is(scans, 2);
  await new Promise((resolve) => setTimeout(resolve, 50));
  watch.check();
  await watch.read();
  t.is(scans, 3);
  watch.hear({ kind: 'lost' });
  await watch.read();
  await watch.read();
  t.is(scans, 4);
});
