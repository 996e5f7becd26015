// What the helper knows of pods that were added without a cap: the plugin has left a record of
// each. Nothing of them is in the kernel, so nothing here changes it.

import type { Link } from '../kernel/links.ts';
import { findLink, listLinks } from '../kernel/links.ts';
import { netnsIdOf } from '../kernel/netns-id.ts';
import { findPodPair, hostEndOf, type PodView } from '../kernel/pod-pairs.ts';
import { openRt } from '../kernel/open-rt.ts';
import type { RtSocket } from '../kernel/rtnetlink.ts';
import { networkSays } from '../protocol/network-keys.ts';
import { noPair } from '../protocol/no-pair.ts';
import { printable } from '../protocol/printable.ts';
import type {
  AttachmentKey,
  AttachmentKind,
  AttachParams,
  PairBeside,
  UnheldInterface,
} from '../protocol/messages.ts';
import { nameOf, podNamesOf } from '../protocol/pod-names.ts';
import { ShapingError } from '../shaping/failure.ts';
import { isSameAttachment, type UncappedRecord } from '../shaping/records.ts';
import { identityAt, isSameDevice, OWN_NETNS } from './file-identity.ts';
import { isRemoved, tryOpenNetns } from './sandbox.ts';
import type { Exclusively } from './turns.ts';
import type { UncappedFiles } from './uncapped-files.ts';

type Log = (level: 'info' | 'warn', message: string) => void;

/** Where a helper is, by which it tells records of another time or place. */
export interface Place {
  readonly bootId?: string;
  /** Its network namespace; absent where /proc does not tell it. */
  readonly nodeNetns?: string;
}

/** The place of this process. `bootId` is that of the records of attachments. */
export function placeHere(bootId: string | undefined): Place {
  const nodeNetns = identityAt(OWN_NETNS);
  return {
    ...(bootId !== undefined && { bootId }),
    ...(nodeNetns !== undefined && { nodeNetns }),
  };
}

/** Pods that are enrolled at one reconciliation: each takes about 2 ms. */
const ENROLLED_AT_ONCE = 100;

function isOther(known: string | undefined, here: string | undefined): boolean {
  return known !== undefined && here !== undefined && known !== here;
}

/**
 * Why a record is of no pod that is there now; undefined when it may be. `host`: the device that
 * has the index of its host interface. An index of a device is not given twice in a boot and
 * namespace; a path and an inode may be, so they tell of an end only.
 */
export function endOf(
  record: UncappedRecord,
  place: Place,
  host: Pick<Link, 'kind'> | undefined,
): string | undefined {
  const { sandbox, sandboxNetns, hostInterface } = record;
  if (isOther(record.bootId, place.bootId)) return 'its record is of another boot';
  if (isOther(record.nodeNetns, place.nodeNetns))
    return 'its record is of another network namespace than that of this node';
  const isKnown = record.isAsked === true && hostInterface !== undefined;
  if (isKnown && (host === undefined || isOther(record.kind, host.kind)))
    return `${hostInterface} is gone`;
  if (isRemoved(sandbox)) return `${sandbox} is gone`;
  const present = identityAt(sandbox);
  // What is no namespace is what a helper sees that the runtime's mounts do not get to.
  const isSeen =
    present !== undefined && sandboxNetns !== undefined && isSameDevice(present, sandboxNetns);
  return isSeen && present !== sandboxNetns ? `${sandbox} is another sandbox now` : undefined;
}

/** Runs `use` with the pod's namespace; undefined where that cannot be seen, or is another one. */
async function inPod<T>(
  node: RtSocket,
  { sandbox, sandboxNetns }: UncappedRecord,
  use: (view: PodView) => Promise<T>,
): Promise<T | undefined> {
  const netns = tryOpenNetns(sandbox);
  if (netns === undefined) return undefined;
  let pod: RtSocket | undefined;
  try {
    if (isOther(sandboxNetns, identityAt(sandbox))) return undefined;
    pod = openRt(netns);
    return await use({ kernel: { findLink, listLinks, netnsIdOf }, netns, node, pod });
  } finally {
    pod?.close();
    netns.close();
  }
}

function kindOf({ kind }: Link): { readonly kind?: AttachmentKind } {
  return kind === 'veth' || kind === 'netkit' ? { kind } : {};
}

/** The record with what the kernel says of the host interface; undefined when it says nothing. */
async function askKernel(
  node: RtSocket,
  record: UncappedRecord,
): Promise<UncappedRecord | undefined> {
  const pair = await inPod(node, record, (view) => findPodPair(view, record.ifname));
  if (pair === undefined) return undefined;
  const { hostInterface: _name, hostInterfaceIndex: _index, kind: _kind, ...rest } = record;
  if (typeof pair === 'string') return { ...rest, isAsked: true, noPair: printable(pair) };
  const { host } = pair;
  const ends = { hostInterface: host.name, hostInterfaceIndex: host.index, ...kindOf(host) };
  return { ...rest, ...ends, isAsked: true };
}

/** What `set` needs of a pod: the attach that ADD would have asked for, and the host interface. */
export interface Enrolment {
  readonly params: AttachParams;
  readonly link: Link;
  /** Ways out of the pod that the list has not told of: nothing is held there. */
  readonly notices: readonly string[];
}

interface Ways {
  readonly host: Link;
  readonly beside: PairBeside[];
  readonly unheld: UnheldInterface[];
  readonly untold: string[];
}

/**
 * The ways out of a pod. Of those beside the interface only what the list's result had in the
 * sandbox is the list's: others may have come since.
 */
async function waysOf(view: PodView, record: UncappedRecord): Promise<Ways | undefined> {
  const { ifname, listed = [] } = record;
  const pair = await findPodPair(view, ifname);
  if (pair === undefined) return undefined;
  if (typeof pair === 'string') {
    const { message, remedy } = noPair(ifname, pair);
    throw new ShapingError('unenforceable', message, remedy);
  }
  const ways: Ways = { host: pair.host, beside: [], unheld: [], untold: [] };
  for (const link of await listLinks(view.pod)) {
    const { name: podInterface } = link;
    const end = podInterface === ifname ? undefined : await hostEndOf(view, link);
    if (end === undefined) continue;
    if (!listed.includes(podInterface)) ways.untold.push(podInterface);
    else if (typeof end === 'string') ways.unheld.push({ podInterface, reason: end });
    else ways.beside.push({ podInterface, hostInterface: end.name, hostInterfaceIndex: end.index });
  }
  return ways;
}

/** By the record alone, where the sandbox is out of sight. Throws ShapingError `not-found`. */
async function waysUnseen(node: RtSocket, record: UncappedRecord): Promise<Ways> {
  const { isAsked, hostInterfaceIndex: index, sandbox } = record;
  const host =
    isAsked === true && index !== undefined ? await findLink(node, { index }) : undefined;
  if (host !== undefined) return { host, beside: [], unheld: [], untold: [] };
  throw new ShapingError(
    'not-found',
    `Cannot find the host interface of ${nameOf(record)}: podpaced sees no such interface in ${sandbox}`,
    'have podpaced see what the runtime mounts there, or add the pod again with its cap',
  );
}

export class Uncapped {
  readonly #files: UncappedFiles;
  readonly #place: Place;
  readonly #log: Log;
  #all: readonly UncappedRecord[] = [];
  /** What was warned of: each once, not at every look. */
  #warned: ReadonlySet<string> = new Set();

  constructor(files: UncappedFiles, place: Place, log: Log) {
    this.#files = files;
    this.#place = place;
    this.#log = log;
  }

  /** As they were at the last look, in the order of their keys. */
  get all(): readonly UncappedRecord[] {
    return this.#all;
  }

  find(key: AttachmentKey): UncappedRecord | undefined {
    return this.#all.find((one) => isSameAttachment(one, key));
  }

  /**
   * Reads the records, and forgets those whose pod is gone. `links`: devices of the node; one that
   * is not among them may have come since.
   */
  async look(node: RtSocket, links: readonly Link[]): Promise<void> {
    try {
      const { records, bad } = this.#files.look();
      const byIndex = new Map(links.map((link) => [link.index, link]));
      const staying: UncappedRecord[] = [];
      for (const record of records) {
        const { hostInterfaceIndex: index } = record;
        const host =
          index === undefined
            ? undefined
            : (byIndex.get(index) ?? (await findLink(node, { index })));
        const end = endOf(record, this.#place, host);
        if (end === undefined) staying.push(record);
        else this.#forget(record, end);
      }
      this.#all = staying;
      this.#warnOf([...bad].map(([file, reason]) => badness(file, reason)));
    } catch (error) {
      this.#warnOf([`Cannot look at pods without a cap: ${(error as Error).message}`]);
    }
  }

  #forget(record: UncappedRecord, end: string): void {
    this.#files.remove(record);
    this.#log('info', `${printable(end)}: forgetting ${nameOf(record)}, which has no cap`);
  }

  #warnOf(sentences: readonly string[]): void {
    for (const sentence of sentences) if (!this.#warned.has(sentence)) this.#log('warn', sentence);
    this.#warned = new Set(sentences);
  }

  /**
   * Asks the kernel for host interfaces that the plugin could not ask for, of so many pods at most,
   * each in a turn of its own.
   */
  async enrol(node: RtSocket, inTurn: Exclusively, most = ENROLLED_AT_ONCE): Promise<void> {
    const due = this.#all.filter(({ isAsked }) => isAsked !== true).slice(0, most);
    for (const record of due) await inTurn(() => this.#enrolOne(node, record));
  }

  async #enrolOne(node: RtSocket, record: UncappedRecord): Promise<void> {
    try {
      const known = await askKernel(node, record);
      if (known === undefined) return;
      this.#all = this.#all.map((one) => (one === record ? known : one));
      this.#files.complete(known);
    } catch {
      // Its pod may be on its way out: the next look tells, or asks again.
    }
  }

  /**
   * What a cap of the pod needs. `isKnown`: whether another attachment is known. Throws
   * ShapingError when the pod has no host interface that a cap could be held at.
   */
  async enrolment(
    node: RtSocket,
    record: UncappedRecord,
    isKnown: (key: AttachmentKey) => boolean,
  ): Promise<Enrolment> {
    const seen = await inPod(node, record, (view) => waysOf(view, record));
    const { host, beside, unheld, untold } = seen ?? (await waysUnseen(node, record));
    const { containerId, ifname, network, sandbox, capSource } = record;
    const others = untold.filter((name) => {
      const key = { containerId, ifname: name };
      return !isKnown(key) && this.find(key) === undefined;
    });
    return {
      params: {
        ...{ containerId, ifname, network, sandbox, hostInterface: host.name, caps: {} },
        ...networkSays(record),
        ...(beside.length > 0 && { beside }),
        ...(unheld.length > 0 && { unheld }),
        ...podNamesOf(record),
        ...(capSource !== undefined && { capSource }),
      },
      link: host,
      notices: others.map(
        (name) =>
          `${name} of ${nameOf(record)} does not share the cap: its network did not list it`,
      ),
    };
  }
}

function badness(file: string, reason: string): string {
  return (
    `Cannot read the record ${printable(file)}: ${reason}; the pod has no cap, and is listed as unknown. ` +
    'Add the pod again, or remove the file'
  );
}
