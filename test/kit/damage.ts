// Ways to damage what the caps of a real node stand on, straight in the kernel, and whom each
// concerns: by what the parts of the datapath do, not by the code that judges them (the same rules
// as those of test/model/faulty-nodes.ts).

import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { ExecutionContext } from 'ava';
import {
  deleteElement,
  lookupElement,
  openPinned,
  updateElement,
} from '../../helper/kernel/bpf.ts';
import { deleteFilter, listBpfFilters, type FilterPlace } from '../../helper/kernel/filters.ts';
import { deleteQdisc, listQdiscs, replaceQdisc, TC_H_ROOT } from '../../helper/kernel/qdiscs.ts';
import type { RtSocket } from '../../helper/kernel/rtnetlink.ts';
import type { AttachmentStatus, Direction } from '../../helper/protocol/messages.ts';
import {
  AGGREGATE_CONFIG,
  aggregatePage,
  AGGREGATE_KEY,
  INTERFACE_KEY,
  HOST_INTERFACE,
} from '../../helper/wire/aggregate.ts';
import {
  encodeExemption,
  encodeExemptionKey,
  EXEMPTION_SIZE,
  NODE_LIST,
  parseExemption,
} from '../../helper/wire/exemption.ts';

/** A direction of an attachment: its container and `egress` or `ingress`. */
export type Name = `${string} ${Direction}`;

/** Something that is not as the helper has left it. */
export interface Fault {
  readonly what: string;
  /** Of two faults at one place the later would undo the earlier. */
  readonly place: string;
  /** What is not enforced then. */
  readonly concerns: readonly Name[];
  /** What is told of, but not at once: see tellsPagesLate. */
  readonly mayConcern?: readonly Name[];
  /** What goes without any cap then. */
  readonly lifts?: readonly Name[];
  readonly make: () => unknown;
  /** Whether nobody has repaired it. */
  readonly stands: () => boolean | Promise<boolean>;
}

/** A node on which all attachments are capped in both directions, and the helper's state on it. */
export interface DamagedNode {
  readonly rt: RtSocket;
  readonly pinDir: string;
  readonly uplink: number;
  readonly attachments: readonly AttachmentStatus[];
}

interface Ids {
  readonly egress: number;
  readonly ingress: number;
}

function idsOf({ egressAggregateId: egress, ingressAggregateId: ingress }: AttachmentStatus): Ids {
  if (egress === undefined || ingress === undefined) throw new Error('an attachment has no cap');
  return { egress, ingress };
}

function named(
  attachments: readonly AttachmentStatus[],
  ...directions: readonly Direction[]
): Name[] {
  return attachments.flatMap(({ containerId }) =>
    directions.map((direction): Name => `${containerId} ${direction}`),
  );
}

type Change = Pick<Fault, 'make' | 'stands'>;

const fault = (
  what: string,
  place: string,
  concerns: readonly Name[],
  change: Change,
  lifts: readonly Name[] = [],
): Fault => ({ what, place, concerns, lifts, ...change });

/** An entry of a map is removed, or gets another value than it has. */
function entry(
  fd: number,
  key: Buffer,
  [size, change]: [size: number, (value: Buffer) => Buffer | undefined],
): Change {
  let written: Buffer | undefined;
  return {
    make: () => {
      written = change(lookupElement(fd, key, size) ?? Buffer.alloc(size));
      if (written === undefined) deleteElement(fd, key);
      else updateElement(fd, key, written);
    },
    stands: () => {
      const value = lookupElement(fd, key, size);
      return written === undefined ? value === undefined : value?.equals(written) === true;
    },
  };
}

const removed = (): undefined => undefined;

function withNumber(value: Buffer, offset: number, number: number): Buffer {
  const result = Buffer.from(value);
  result.writeUInt32LE(number, offset);
  return result;
}

function indexKey(index: number): Buffer {
  return withNumber(Buffer.alloc(4), 0, index);
}

/** Handle of podpace's root qdisc; its classes are the queues. */
const ROOT = 0x7070_0000;

function qdisc(rt: RtSocket, ifindex: number, parent: number, kind: string): Change {
  const handle = parent === TC_H_ROOT ? { handle: 0x1_0000 } : {};
  return {
    make: () => replaceQdisc(rt, { ifindex, parent, ...handle, kind }),
    stands: async () =>
      (await listQdiscs(rt, ifindex)).some(
        (found) => found.parent === parent && found.kind === kind,
      ),
  };
}

function noRoot(rt: RtSocket, ifindex: number): Change {
  return {
    make: () => deleteQdisc(rt, { ifindex, parent: TC_H_ROOT }),
    stands: async () => (await listQdiscs(rt, ifindex)).every(({ handle }) => handle !== ROOT),
  };
}

/** The program goes from a hook as an operator's hand would take it, on either kind of kernel. */
function noProgram(
  { rt, pinDir }: DamagedNode,
  ifindex: number,
  hook: 'ingress' | 'egress',
): Change {
  const pin = path.join(pinDir, 'links', `${ifindex}-${hook}`);
  const filter: FilterPlace = { ifindex, hook, priority: 1, handle: 0x7070 };
  if (fs.existsSync(pin)) return { make: () => fs.rmSync(pin), stands: () => !fs.existsSync(pin) };
  return {
    make: () => deleteFilter(rt, filter),
    stands: async () =>
      (await listBpfFilters(rt, ifindex, hook)).every(({ handle }) => handle !== filter.handle),
  };
}

/** Off the node every pod may send by every way. */
function uplinkFaults(node: DamagedNode): Fault[] {
  const { rt, uplink, attachments } = node;
  const concerns = named(attachments, 'egress');
  const root = (what: string, change: Change): Fault =>
    fault(what, 'qdiscs of the uplink', concerns, change);
  const off = noProgram(node, uplink, 'egress');
  return [
    root('root of the uplink: pfifo', qdisc(rt, uplink, TC_H_ROOT, 'pfifo')),
    root('root of the uplink: the default', noRoot(rt, uplink)),
    root('a leaf of the uplink: pfifo', qdisc(rt, uplink, ROOT + 2, 'pfifo')),
    fault('exit program off', 'egress of the uplink', concerns, off, concerns),
  ];
}

/**
 * Where a pod's packets come in, and where others' leave into it: all that send but the pod itself.
 */
function deviceFaults(node: DamagedNode, attachment: AttachmentStatus): Fault[] {
  const { rt, attachments } = node;
  const { containerId: pod, hostInterfaceIndex: ifindex } = attachment;
  const [sends, receives] = [named([attachment], 'egress'), named([attachment], 'ingress')];
  const others = attachments.filter((other) => other !== attachment);
  const into = [...receives, ...named(others, 'egress')];
  const root = `root of ${pod}`;
  const [noClassifier, noDeliver] = [
    noProgram(node, ifindex, 'ingress'),
    noProgram(node, ifindex, 'egress'),
  ];
  return [
    fault(`${root}: pfifo`, root, into, qdisc(rt, ifindex, TC_H_ROOT, 'pfifo')),
    fault(`${root}: the default`, root, into, noRoot(rt, ifindex)),
    fault(`classifier of ${pod} off`, `ingress of ${pod}`, sends, noClassifier, sends),
    fault(`deliver of ${pod} off`, `egress of ${pod}`, into, noDeliver, receives),
  ];
}

/** Descriptors of the pinned maps. */
export interface Maps {
  readonly aggregateConfig: number;
  readonly hostInterfaces: number;
  readonly exemptions: number;
  readonly continuations: number;
  readonly aggregateState: number;
}

/** Opens them for as long as a test lasts. */
export function openMaps(t: ExecutionContext, pinDir: string): Maps {
  const open = (name: string): number => {
    const fd = openPinned(path.join(pinDir, name));
    t.teardown(() => fs.closeSync(fd));
    return fd;
  };
  return {
    aggregateConfig: open('aggregate_config'),
    hostInterfaces: open('host_interfaces'),
    exemptions: open('exemptions'),
    continuations: open('continuations'),
    aggregateState: open('aggregate_state'),
  };
}

/** An entry of its own in a list of exempt addresses; nobody sends to it. */
function exemption(maps: Maps, list: number): Change {
  const added = parseExemption('192.0.2.64/26');
  const key = encodeExemptionKey(list, added);
  return entry(maps.exemptions, key, [EXEMPTION_SIZE, () => encodeExemption(added)]);
}

/** What the map host_interfaces says of a device. */
function interfaceFaults({ hostInterfaces }: Maps, attachment: AttachmentStatus): Fault[] {
  const { containerId: pod, hostInterfaceIndex } = attachment;
  const key = INTERFACE_KEY.encode(hostInterfaceIndex);
  const place = `entry of ${pod}`;
  const change = (changed: (value: Buffer) => Buffer | undefined): Change =>
    entry(hostInterfaces, key, [HOST_INTERFACE.size, changed]);
  const [sends, receives] = [named([attachment], 'egress'), named([attachment], 'ingress')];
  const both = [...sends, ...receives];
  const other = (offset: number): Change => change((value) => withNumber(value, offset, 5999));
  return [
    fault(`${place}: none`, place, both, change(removed), both),
    fault(`${place}: another sender`, place, sends, other(0)),
    fault(`${place}: another receiver`, place, receives, other(4)),
  ];
}

/** What the maps say of an aggregate. */
function aggregateFaults(maps: Maps, attachment: AttachmentStatus, direction: Direction): Fault[] {
  const id = idsOf(attachment)[direction];
  const name = `${attachment.containerId} ${direction}`;
  const place = `configuration of ${name}`;
  const concerns = named([attachment], direction);
  const changed = (what: string, change: (value: Buffer) => Buffer): Fault => {
    const key = AGGREGATE_KEY.encode(id);
    const wrong = entry(maps.aggregateConfig, key, [AGGREGATE_CONFIG.size, change]);
    return fault(`${place}: ${what}`, place, concerns, wrong);
  };
  // Who has no list is not looked up in any.
  const listed = attachment.exempt === undefined ? [] : concerns;
  const more = exemption(maps, id);
  return [
    changed('none', (value) => Buffer.alloc(value.length)),
    changed('twice the rate', (value) => withNumber(value, 0, 2 * value.readUInt32LE(0))),
    changed('half the horizon', (value) =>
      withNumber(value, 8, Math.floor(value.readUInt32LE(8) / 2)),
    ),
    fault(`an exemption more of ${name}`, `exemptions of ${name}`, listed, more),
  ];
}

/**
 * Whether it may take 2 s until a lost page is told of: before Linux 6.8 a look at one waits for a
 * grace period (maybe_wait_bpf_programs in kernel/bpf/syscall.c), and is not taken each time.
 */
export function tellsPagesLate(): boolean {
  const [major = 0, minor = 0] = os
    .release()
    .split('.')
    .map((part) => Number.parseInt(part, 10));
  return major < 6 || (major === 6 && minor < 8);
}

/** What all share. The node has a list of exempt addresses. */
function sharedFaults(maps: Maps, attachments: readonly AttachmentStatus[]): Fault[] {
  const directions = ['egress', 'ingress'] as const;
  const onPage = (page: number): Name[] =>
    attachments.flatMap((attachment) =>
      named(
        [attachment],
        ...directions.filter((direction) => aggregatePage(idsOf(attachment)[direction]) === page),
      ),
    );
  const pages = new Set(
    attachments.flatMap((each) => Object.values(idsOf(each)).map(aggregatePage)),
  );
  const [receivers, all] = [named(attachments, 'ingress'), named(attachments, ...directions)];
  const noContinuation = entry(maps.continuations, indexKey(0), [4, removed]);
  const nodeExemption = exemption(maps, NODE_LIST);
  const nobodysKey = INTERFACE_KEY.encode(60_000);
  const nobody = entry(maps.hostInterfaces, nobodysKey, [HOST_INTERFACE.size, (value) => value]);
  return [
    fault('continuations emptied', 'continuations', receivers, noContinuation),
    fault('an exemption more of the node', 'exemptions of the node', all, nodeExemption),
    fault('an entry of a device that nobody has', 'entry of nobody', [], nobody),
    ...[...pages].map((page) => ({
      ...{ what: `page ${page} removed`, place: `page ${page}` },
      ...(tellsPagesLate()
        ? { concerns: [], mayConcern: onPage(page) }
        : { concerns: onPage(page) }),
      ...entry(maps.aggregateState, indexKey(page), [4, removed]),
    })),
  ];
}

/** All that can be wrong with a node. */
export function faultsOf(node: DamagedNode, maps: Maps): Fault[] {
  const { attachments } = node;
  return [
    ...uplinkFaults(node),
    ...sharedFaults(maps, attachments),
    ...attachments.flatMap((attachment) => [
      ...deviceFaults(node, attachment),
      ...interfaceFaults(maps, attachment),
      ...aggregateFaults(maps, attachment, 'egress'),
      ...aggregateFaults(maps, attachment, 'ingress'),
    ]),
  ];
}
