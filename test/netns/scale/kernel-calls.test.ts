// What is asked of the kernel and read of files for one attachment hangs on that one alone: counted
// in this process, at its edge, on a node with few and with many others. Kernels without sch_fq
// are taken to put it where they are told to.

import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { DEFAULT_CONFIG } from '../../../helper/config.ts';
import { openControl, type Control } from '../../../helper/daemon.ts';
import { BpfAttr } from '../../../helper/kernel/bpf-attr.ts';
import { setNetworkNamespace } from '../../../helper/kernel/ffi.ts';
import { NetlinkSocket } from '../../../helper/kernel/netlink-socket.ts';
import { currentNetns, inNetns } from '../../../helper/kernel/netns.ts';
import { RtEvents } from '../../../helper/kernel/rt-events.ts';
import { writeSysctl } from '../../../helper/kernel/sysctl.ts';
import type { RtRequest } from '../../../helper/kernel/rtnetlink.ts';
import { isUnknownQdisc } from '../../../helper/shaping/failure.ts';
import { routingEntries } from '../../../helper/shaping/host-routing.ts';
import type { AttachmentRecord } from '../../../helper/shaping/records.ts';
import {
  addUplink,
  makeHelperDirectories,
  paramsOf,
  wirePod,
  type HelperDirectories,
} from '../../kit/helper.ts';
import { makeNetns, runBatch, type TestNetns } from '../../kit/netns.ts';

const FEW = 10;
const MANY = 1000;
const CAPS = { egress: { rateBitsPerSec: 10_000_000 }, ingress: { rateBitsPerSec: 100_000_000 } };
const MAC = '02:00:00:00:00:01';
const HOST_ROUTING = { addresses: ['192.0.2.2', '2001:db8::2'], mac: MAC };
/** Of aggregates 64 stand in a page. */
const PAGES = Math.ceil((2 * MANY) / 64) + 2;

/** What was asked of the kernel, by what it is. */
type Count = Record<string, number>;

type Method = (...args: unknown[]) => unknown;

/** Has `before` called at each call of a method, until the end of the test. */
function watch(
  t: ExecutionContext,
  owner: object,
  name: string,
  before: (self: unknown, args: unknown[]) => void,
): void {
  const methods = owner as Record<string, Method>;
  const method = methods[name] as Method;
  methods[name] = function watched(this: unknown, ...args: unknown[]) {
    before(this, args);
    return method.apply(this, args);
  };
  t.teardown(() => {
    methods[name] = method;
  });
}

/** Counts bpf(2), messages to and from netlink, and what is done to files. */
class Meter {
  #count: Map<string, number> | undefined;

  constructor(t: ExecutionContext) {
    const add = (what: string): void => {
      this.#count?.set(what, (this.#count.get(what) ?? 0) + 1);
    };
    for (const name of ['call', 'callUnless'])
      watch(t, BpfAttr.prototype, name, (_, args) => add(`bpf: ${args.find(isText)}`));
    watch(t, NetlinkSocket.prototype, 'send', () => add('netlink: request'));
    // What the kernel tells of its own accord comes when it comes: its socket counts its drops.
    const events = new WeakSet<object>();
    watch(t, NetlinkSocket.prototype, 'onDrops', (self) => events.add(self as object));
    watch(t, NetlinkSocket.prototype, 'on', (self, args) => {
      const [event, listener] = args as [string, Method];
      if (event !== 'message') return;
      args[1] = (...received: unknown[]) => {
        if (!events.has(self as object)) add('netlink: datagram of an answer');
        listener(...received);
      };
    });
    for (const name of Object.keys(fs).filter((name) => name.endsWith('Sync')))
      watch(t, fs, name, () => add(`file: ${name}`));
  }

  /** What an operation costs. */
  async of(operation: () => Promise<unknown>): Promise<Count> {
    const count = new Map<string, number>();
    this.#count = count;
    try {
      await operation();
    } finally {
      this.#count = undefined;
    }
    return Object.fromEntries([...count].toSorted(([a], [b]) => (a < b ? -1 : 1)));
  }
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && /[ ]/.test(value);
}

/** A helper in this process and thread, which is in the node's namespace until the test ends. */
function openHelper(t: ExecutionContext, node: TestNetns, { run, pins }: HelperDirectories) {
  const home = currentNetns();
  t.teardown(() => {
    setNetworkNamespace(home.fd);
    home.close();
  });
  setNetworkNamespace(node.netns.fd);
  const config = {
    ...{ ...DEFAULT_CONFIG, socket: path.join(run, 'helper.sock'), stateDir: `${run}/state` },
    // What pods send to this machine is not the test's.
    ...{ pinDir: pins, uplink: ['uplink'], nodeTraffic: 'free' as const },
  };
  const control = openControl(config, (level, text) => void (level === 'error' && t.log(text)));
  t.teardown(() => control.datapath.close());
  const { routes, devices } = control.datapath;
  routes.follow(() => undefined);
  const events = new RtEvents((event) => {
    routes.hear(event);
    devices.hear(event);
  });
  t.teardown(() => events.close());
  devices.follow(() => events.settle());
  takeFqForPut(control);
  return control;
}

function takeFqForPut({ datapath: { rt } }: Control): void {
  const execute = rt.execute.bind(rt);
  rt.execute = (request: RtRequest) =>
    execute(request).catch((error: unknown) => {
      if (!isUnknownQdisc(error)) throw error;
    });
}

/** Attachments of former times: records, and devices that nothing has happened to for long. */
async function addOthers(
  { store, datapath }: Control,
  node: TestNetns,
  [from, to]: readonly [from: number, to: number],
): Promise<void> {
  const numbers = Array.from({ length: (to - from) / 2 }, (_, index) => from + 2 * index);
  await runBatch(
    node,
    numbers.map((number) => `link add o${number} type veth peer name o${number + 1}`),
  );
  const indexes = new Map(
    node.ipJson('link', 'show').map((link) => [link['ifname'], Number(link['ifindex'])]),
  );
  for (let number = from; number < to; number++) {
    const hostInterface = `o${number}`;
    const hostInterfaceIndex = indexes.get(hostInterface) ?? 0;
    const record: AttachmentRecord = {
      ...{ containerId: `c${number}`, ifname: 'eth0', network: 'pods', sandbox: '/run/netns/gone' },
      ...{ hostInterface, hostInterfaceIndex, caps: CAPS },
      ...{ egressAggregateId: 6000 + 2 * number, ingressAggregateId: 6001 + 2 * number },
    };
    const hostRouting = { addresses: [`10.${number >> 8}.${number & 255}.1`], mac: MAC };
    for (const entry of routingEntries({ ...record, hostRouting }))
      datapath.maps[entry.map].set(entry.key, entry.value);
    store.writeAttachment(record);
    store.writeExit({ ifindex: hostInterfaceIndex, name: hostInterface, formerQdiscs: [] });
  }
}

/** What the helper's looks, every few seconds, have known by the time that somebody asks. */
async function look({ datapath: { devices, routes } }: Control): Promise<void> {
  await sleep(100);
  await devices.links();
  await devices.listQdiscs();
  await routes.read();
}

/** What attaches, changes and a detach of one pod cost. */
async function costs(
  meter: Meter,
  control: Control,
  pod: ReturnType<typeof paramsOf>,
): Promise<Record<string, Count>> {
  const { shaper } = control;
  const set = (direction: 'egress' | 'ingress', rateBitsPerSec: number) => () =>
    shaper.set({ ...pod, direction, changes: { rateBitsPerSec } });
  const found: Record<string, Count> = {};
  for (const [what, operation] of [
    ['attach', () => shaper.attach({ ...pod, caps: { egress: CAPS.egress } })],
    ['set a rate', set('egress', 20_000_000)],
    ['set the first rate of a direction', set('ingress', 100_000_000)],
    ['attach again', () => shaper.attach({ ...pod, exempt: ['192.0.2.0/24'] })],
    ['attach with host routing', () => shaper.attach({ ...pod, hostRouting: HOST_ROUTING })],
    ['detach', () => shaper.detach(pod)],
  ] as const) {
    await look(control);
    found[what] = await meter.of(operation);
  }
  return found;
}

test.serial(
  `an attach, a set and a detach ask the kernel and read files as often beside ${FEW} attachments as beside ${MANY}`,
  async (t) => {
    t.timeout(600_000);
    const [node, peer, sandbox] = [makeNetns(t), makeNetns(t), makeNetns(t)];
    for (const { netns } of [node, sandbox])
      inNetns(netns, () => writeSysctl('net/ipv6/conf/default/disable_ipv6', '1'));
    addUplink(node, peer, 'uplink', 2);
    wirePod(node, sandbox, 'pod0');
    const meter = new Meter(t);
    const control = openHelper(t, node, makeHelperDirectories(t));
    await addOthers(control, node, [0, FEW]);
    for (let page = 0; page < PAGES; page++) control.datapath.makePage(page);
    const pod = paramsOf('pod0', sandbox, CAPS);
    // The first pod gives the uplink what all share.
    await costs(meter, control, pod);
    const few = await costs(meter, control, pod);
    await addOthers(control, node, [FEW, MANY]);
    const many = await costs(meter, control, pod);
    for (const [what, count] of Object.entries(few)) {
      t.log(`${what}: ${Object.values(count).reduce((sum, each) => sum + each, 0)} calls`);
      t.true((count['netlink: request'] ?? 0) + Object.keys(count).length > 5, what);
    }
    t.deepEqual(many, few);
  },
);
