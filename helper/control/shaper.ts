// The control of the datapath: attachments come and go, and each time the kernel is brought from
// what it holds to what it should hold. The records are the desired state; nothing else is
// remembered between calls, so a restart, a crash between two steps or a hand that changed
// something are all the same case: plan again, apply again.

import { findLink, listLinks } from '../kernel/links.ts';
import {
  keyOf,
  type AttachmentKey,
  type AttachParams,
  type AttachResult,
  type CheckParams,
  type CountersParams,
  type CountersResult,
  type Direction,
  type GcParams,
  type ListParams,
  type ListResult,
  type PodNames,
  type SetParams,
  type SetResult,
  type UncappedResult,
  type UninstallResult,
} from '../protocol/messages.ts';
import { podNamesOf } from '../protocol/pod-names.ts';
import { placeNamed } from '../wire/hook-place.ts';
import { Aggregates, hasSameAggregates } from './aggregates.ts';
import { hostInterfaceOf, pairsBesideOf, recordOf } from './attach-request.ts';
import { applySet, effectiveCapIn } from '../shaping/effective.ts';
import { Arrivals } from './arrivals.ts';
import { Bookkeeping } from './bookkeeping.ts';
import { Enforcement, type LoggingNode } from './enforcement.ts';
import { ShapingError } from '../shaping/failure.ts';
import { cappedDirections, nodeProblem, type Problem } from '../shaping/judgement.ts';
import { hostRoutingNotices } from './notices.ts';
import { observeMaps } from './observe.ts';
import { desiredPrograms, plan, type Step } from '../shaping/plan.ts';
import { findOrphans, forgetOutlived, Orphans } from './orphans.ts';
import { Precedence } from '../shaping/precedence.ts';
import type { NodeDefaults } from '../shaping/rates.ts';
import { unheldSentences, type Looked } from '../shaping/problems.ts';
import { ProgramWatch } from './program-watch.ts';
import { Removal } from './removal.ts';
import {
  hostInterfaceIndexesOf,
  hostInterfacesOf,
  isSameAttachment,
  withGsoOf,
  withoutGone,
  type AttachmentRecord,
  type UncappedRecord,
  type Wish,
} from '../shaping/records.ts';
import {
  changesOf,
  exitChangesOf,
  isSameAsBefore,
  knownExits,
  repairOf,
  restoredOf,
  type KnownExits,
} from '../shaping/repairs.ts';
import {
  checkAttachment,
  countersPage,
  knownAttachment,
  Lister,
  lookAt,
  statusOf,
  type Look,
  type NodeStatus,
} from './reports.ts';
import {
  desiredMaps,
  desiredPolicing,
  recordProblems,
  takeView,
  type Node,
  type View,
} from './view.ts';
import { Turns } from './turns.ts';
import type { Uncapped } from './uncapped.ts';
import { uncappedPage, type Census } from './uncapped-list.ts';
import { fulfil, isPodThere, type Wishes } from './wishes.ts';

/** What the shaper finds out itself is left out. */
export type ShaperOptions = Omit<LoggingNode, 'orphans' | 'precedence' | 'wishes'> & {
  readonly wishes: Wishes;
  readonly uncapped: Uncapped;
};

type Attached = Pick<AttachResult, 'notices'> & Required<Pick<AttachResult, 'held'>>;

/** Nothing is asked for it: neither a cap nor a way past the IP stack. */
function isForNothing({ caps, changes, hostRouting }: AttachmentRecord): boolean {
  const isAsked = caps.egress !== undefined || caps.ingress !== undefined;
  return !isAsked && changes === undefined && hostRouting === undefined;
}

/** What is wrong at a device, or at none: of the pod that it leads to, or else of the node. */
function problemAt(
  ifindex: number | undefined,
  text: string,
  attachments: readonly AttachmentRecord[],
): Problem {
  const owner = attachments.find((record) =>
    hostInterfaceIndexesOf(record).some((own) => own === ifindex),
  );
  const scopes = cappedDirections(owner);
  return { ...nodeProblem(text), ...(scopes.length > 0 && { scopes }) };
}

/** One direction before and after. */
function setResultOf(
  direction: Direction,
  defaults: NodeDefaults,
  former: AttachmentRecord,
  next: AttachmentRecord,
): SetResult {
  const before = effectiveCapIn(former, direction, defaults);
  const after = effectiveCapIn(next, direction, defaults);
  return {
    ...podNamesOf(former),
    ...(before !== undefined && { before }),
    ...(after !== undefined && { after }),
  };
}

export class Shaper {
  readonly #options: LoggingNode;
  readonly #orphans = new Orphans();
  readonly #wishes: Wishes;
  readonly #uncapped: Uncapped;
  readonly #aggregates: Aggregates;
  readonly #enforcement: Enforcement;
  readonly #removal: Removal;
  readonly #lister: Lister;
  /** The first time round, the maps may rightly be of another configuration. */
  #hasReconciled = false;
  /** As they were when the node was last looked at. */
  #exits: KnownExits = new Map();
  #arrivals: readonly number[] = [];
  readonly #programs: ProgramWatch;
  readonly #books: Bookkeeping;
  readonly #arrivedUncapped: Arrivals;
  /** One that has not begun: as new as anybody can want it who asks now. */
  #nextLook: Promise<Look> | undefined;
  readonly #turns = new Turns();

  constructor(options: ShaperOptions) {
    const orphans = this.#orphans;
    const precedence = new Precedence();
    const node: LoggingNode = {
      ...options,
      precedence,
      standingProblems: () => [
        ...(options.standingProblems?.() ?? []),
        ...recordProblems(node).map(nodeProblem),
        ...options.wishes.problems(),
        ...this.#books.problems(),
        ...this.#arrivedUncapped.problems(),
      ],
      get orphans() {
        return orphans.known;
      },
      get wishes() {
        return options.wishes.all;
      },
    };
    this.#options = node;
    this.#wishes = options.wishes;
    this.#uncapped = options.uncapped;
    this.#aggregates = new Aggregates(node);
    this.#enforcement = new Enforcement(node);
    this.#removal = new Removal(node, this.#enforcement);
    this.#lister = new Lister(node, () => this.#look());
    this.#programs = new ProgramWatch(options.datapath, precedence);
    this.#books = new Bookkeeping(options.datapath, options.log);
    this.#arrivedUncapped = new Arrivals(options.datapath, options.log);
  }

  get #datapath(): Node['datapath'] {
    return this.#options.datapath;
  }

  get #store(): Node['store'] {
    return this.#options.store;
  }

  /**
   * Caps an attachment, and routes its packets past the IP stack where that is asked for; called
   * again for the same one it changes both. Undoes itself when it fails. Returns what to know
   * although it succeeded.
   */
  attach(params: AttachParams): Promise<Attached> {
    return this.#exclusively(() => this.#attach(params));
  }

  async #attach(params: AttachParams & Pick<Wish, 'addedAt'>): Promise<Attached> {
    const link = await hostInterfaceOf(this.#datapath.rt, params);
    const before = this.#store.readAttachments();
    const former = before.find((record) => isSameAttachment(record, params));
    await this.#makeRoom(link.index, former);
    const others = this.#store
      .readAttachments()
      .filter((record) => !isSameAttachment(record, params));
    const taken = new Set(others.flatMap(hostInterfaceIndexesOf));
    const beside = await pairsBesideOf(this.#datapath.rt, params, link, taken);
    const addedAt = former?.addedAt ?? params.addedAt ?? new Date().toISOString();
    const wanted = withGsoOf(recordOf(params, link, beside, addedAt), former);
    let view: View | undefined;
    const record = await this.#replace(former, wanted, async (next) => {
      view = await this.#enforcement.enforce({ former, next });
    });
    this.#wishes.remove(record);
    const held = hostInterfacesOf(record).map(({ hostInterface }) => hostInterface);
    const notices = unheldSentences(record);
    if (record.hostRouting === undefined || view === undefined) return { notices, held };
    return { notices: [...notices, ...(await hostRoutingNotices(view))], held };
  }

  /**
   * Has no other attachment claim a host interface. An index belongs to one device: whoever else
   * was made of it is gone. Who has it beside another one gives it up: it was made for an
   * attachment of its own.
   */
  async #makeRoom(ifindex: number, former: AttachmentRecord | undefined): Promise<void> {
    const others = this.#store.readAttachments().filter((record) => record !== former);
    const stale = others.filter(({ hostInterfaceIndex }) => hostInterfaceIndex === ifindex);
    if (stale.length > 0) await this.#removal.remove(stale);
    for (const record of others) {
      const left = withoutGone(record, (index) => index === ifindex);
      if (left !== undefined && left !== record) this.#store.writeAttachment(left);
    }
  }

  /** Limits segment offload of all pods again, after `uninstall` has given it back. */
  async limitOffloadAgain(): Promise<void> {
    for (const key of this.#store.readAttachments()) {
      await this.#turns.runOneOfMany(async () => {
        const record = this.#store.readAttachment(key);
        if (record === undefined) return;
        await this.#enforcement.writeMaps({ former: record, next: record }, ({ message }) =>
          this.#options.log('error', message),
        );
      });
    }
  }

  /**
   * Changes one direction of a running attachment, or nothing at all when it fails. A pod that was
   * added without a cap becomes an attachment with its first one, and is none without any.
   */
  set(params: SetParams): Promise<SetResult> {
    return this.#exclusively(async () => {
      this.#wishes.look();
      const isUnreadable = this.#store.badnessOf(params) !== undefined;
      if (this.#store.readAttachment(params) === undefined && !isUnreadable) {
        const pod = await this.#uncappedPod(params);
        if (pod !== undefined) return this.#setUncapped(pod, params);
      }
      const former = knownAttachment(this.#options, params);
      const { rt } = this.#datapath;
      const links = await Promise.all(
        hostInterfaceIndexesOf(former).map((index) => findLink(rt, { index })),
      );
      if (links.every((link) => link === undefined))
        throw new ShapingError('not-found', `${former.hostInterface} is gone`);
      const { defaults } = this.#options;
      const wanted = applySet(former, params, defaults);
      if (isForNothing(wanted) && (await this.#uncappedPod(params)) !== undefined) {
        await this.#removal.remove([former]);
        return setResultOf(params.direction, defaults, former, wanted);
      }
      const next = await this.#replace(former, wanted, async (record) => {
        const change = { former, next: record };
        if (hasSameAggregates(former, record)) await this.#enforcement.writeMaps(change);
        else await this.#enforcement.enforce(change);
      });
      return setResultOf(params.direction, defaults, former, next);
    });
  }

  /** The record of a pod that was added without a cap, if it is of one that runs. */
  async #uncappedPod(key: AttachmentKey): Promise<UncappedRecord | undefined> {
    if (this.#wishes.find(key) !== undefined) return undefined;
    const { rt } = this.#datapath;
    await this.#uncapped.look(rt, await listLinks(rt));
    return this.#uncapped.find(key);
  }

  /** Caps a pod as ADD would have. Undoes itself when it fails. */
  async #setUncapped(pod: UncappedRecord, params: SetParams): Promise<SetResult> {
    const { defaults } = this.#options;
    const { rt } = this.#datapath;
    const isKnown = (key: AttachmentKey): boolean => this.#store.readAttachment(key) !== undefined;
    const { params: asked, link, notices } = await this.#uncapped.enrolment(rt, pod, isKnown);
    const others = this.#store
      .readAttachments()
      .filter(({ hostInterfaceIndex }) => hostInterfaceIndex !== link.index);
    const taken = new Set(others.flatMap(hostInterfaceIndexesOf));
    const beside = await pairsBesideOf(rt, asked, link, taken);
    const addedAt = pod.addedAt ?? new Date().toISOString();
    const bare = recordOf(asked, link, beside, addedAt);
    const wanted = applySet(bare, params, defaults);
    if (isForNothing(wanted)) return setResultOf(params.direction, defaults, bare, wanted);
    await this.#makeRoom(link.index, undefined);
    const record = await this.#replace(undefined, wanted, async (next) => {
      await this.#enforcement.enforce({ former: undefined, next });
    });
    const told = [...unheldSentences(record), ...notices];
    const result = setResultOf(params.direction, defaults, bare, record);
    return { ...result, ...(told.length > 0 && { notices: told }) };
  }

  /** Takes an attachment's caps away. Succeeds for one that is not known. */
  detach(key: AttachmentKey): Promise<void> {
    return this.#exclusively(async () => {
      this.#wishes.remove(key);
      const record = this.#store.readAttachment(key);
      // What cannot be read goes too: the device follows, and with it what stands there.
      if (record === undefined) this.#store.removeAttachment(key);
      else await this.#removal.remove([record]);
    });
  }

  /** Throws `check-failed` with everything that is missing for an attachment. */
  async check(
    params: Pick<CheckParams, keyof (AttachmentKey & PodNames) | 'beside' | 'unheld'>,
  ): Promise<void> {
    checkAttachment(await this.#look(), this.#store, params);
  }

  /**
   * Removes the attachments of a network that are not to stay, as GcParams says; returns those
   * removed.
   */
  async gc({ network, valid, from, to }: GcParams): Promise<AttachmentKey[]> {
    const staying = new Set(valid.map(keyOf));
    const isStale = (attachment: AttachmentKey & { readonly network: string }): boolean => {
      const key = keyOf(attachment);
      const isAskedFor = (from === undefined || key >= from) && (to === undefined || key < to);
      return attachment.network === network && isAskedFor && !staying.has(key);
    };
    const [wishes, stale] = await this.#exclusively(async () => {
      this.#wishes.look();
      const own = this.#wishes.all.filter(isStale);
      for (const wish of own) this.#wishes.remove(wish);
      return [own, this.#store.readAttachments().filter(isStale)] as const;
    });
    const forgotten = await this.#removal.removeInTurns(stale, this.#turns.runOneOfMany);
    const removed = new Map([...wishes, ...forgotten].map((one) => [keyOf(one), one]));
    return [...removed.values()].map(({ containerId, ifname }) => ({ containerId, ifname }));
  }

  /**
   * Brings the whole node to its desired state, and puts in force what was only wished for; returns
   * what could not be done. `refusal`: why no cap could be put in force now, if that is known.
   */
  async reconcile(refusal?: string): Promise<Problem[]> {
    await this.#exclusively(() => {
      this.#store.refresh();
      this.#datapath.routes.check();
      return this.#matchRecords();
    });
    await this.#removal.dropVanished(this.#turns.runOneOfMany);
    const problems = await this.#exclusively(async () => {
      const attachments = this.#store.readAttachments();
      this.#datapath.policing.tryAgain();
      const view = await takeView(this.#options, attachments, { hasOtherPods: true });
      const failures = await this.#carryOutExits(view);
      this.#arrivals = view.desired.arrivals;
      this.#programs.reset();
      this.#hasReconciled = true;
      this.#removal.finish();
      const found = [
        ...failures,
        ...recordProblems(this.#options).map(nodeProblem),
        ...[...view.plan.problems].map(([ifindex, text]) => problemAt(ifindex, text, attachments)),
      ];
      const { log } = this.#options;
      await fulfil(this.#wishes, {
        ...{ refusal, log },
        isAlive: (wish) => isPodThere(this.#datapath.rt, wish),
        attach: (wish) => this.#attach(wish),
      });
      return [...found, ...this.#wishes.problems()];
    });
    await this.#aggregates.keepPages(this.#turns.runOneOfMany);
    await this.#uncapped.enrol(this.#datapath.rt, this.#turns.runOneOfMany);
    return problems;
  }

  /** Whether an attachment has a record, or the wish of a cap. */
  isKnown(key: AttachmentKey): boolean {
    return this.#store.readAttachment(key) !== undefined || this.#wishes.find(key) !== undefined;
  }

  /**
   * Brings devices that something happened to into order, and forgets attachments whose interface
   * went; all of the node when it is not known which. Far cheaper than reconciling where there are
   * many pods.
   */
  async follow(changed: ReadonlySet<number> | undefined): Promise<void> {
    const dropped = await this.#removal.dropVanished(this.#turns.runOneOfMany, changed);
    // What they shared with others was looked at when they were forgotten.
    const gone = new Set(dropped.flatMap(hostInterfaceIndexesOf));
    if (changed !== undefined && [...changed].every((ifindex) => gone.has(ifindex))) {
      this.#exits = new Map([...this.#exits].filter(([ifindex]) => !changed.has(ifindex)));
      return;
    }
    return this.#exclusively(async () => {
      const { log } = this.#options;
      const all = this.#store.readAttachments();
      if (all.length === 0 && this.#store.readExits().length === 0) return;
      const devices = [...(changed ?? [])];
      const concerned = changed === undefined ? all : [];
      const isAny = changed === undefined;
      const scope = { devices, hasOtherPods: isAny, hasUplinks: isAny };
      const view = await takeView(this.#options, concerned, scope);
      for (const { text } of await this.#carryOutExits(view))
        log('error', `Cannot follow a change of the node's devices: ${text}`);
    });
  }

  /**
   * Tells of an exit that sends by another number of queues: its leaves are fq whether they are in
   * use or not.
   */
  tellOfQueues(ifindex: number, queues: number): void {
    const name = this.#exits.get(ifindex)?.name;
    if (name !== undefined) this.#options.log('info', `${name} sends by ${queues} queues now`);
  }

  /**
   * Puts right what somebody damaged in the maps or took off its hook: the part of reconciling that
   * costs a few system calls for each attachment and direction, and so can be done often.
   */
  reconcileMaps(): Promise<void> {
    return this.#exclusively(async () => {
      const attachments = this.#store.readAttachments();
      const exits = [...this.#exits.values()].filter(({ overhead }) => overhead !== undefined);
      const desired = desiredMaps(this.#options, attachments, exits);
      const indexes = [
        ...attachments.flatMap(hostInterfaceIndexesOf),
        ...exits.map((exit) => exit.ifindex),
      ];
      const observed = observeMaps(this.#datapath, desired, indexes);
      const looked = { desired, observed, plan: plan(desired, observed) };
      const { failures } = await this.#carryOut(looked);
      if (failures.length > 0) throw new Error(failures.map(({ text }) => text).join('; '));
      await this.#putProgramsBack(attachments);
    });
  }

  /**
   * Looks whether what capped pods send vanishes on its way to the exits and leaves the node all
   * the same, and whether anything comes into them past their caps: every 2 s.
   */
  watchBooks(): Promise<void> {
    return this.#exclusively(async () => {
      const attachments = this.#store.readAttachments();
      await this.#books.look({ attachments, exits: this.#exits.values() });
      await this.#arrivedUncapped.look(attachments);
    });
  }

  /** Exits and outstanding problems, as they are now. */
  async status(): Promise<NodeStatus> {
    return statusOf(await this.#look());
  }

  /** A page of attachments, each with what is wrong with it. */
  list(params: ListParams): Promise<ListResult> {
    return this.#lister.page(params);
  }

  /** A page of the pods without a cap, as they are now. */
  async uncapped(params: ListParams): Promise<UncappedResult> {
    const { view, records, wishes } = await this.#look();
    const { rt } = this.#datapath;
    const uplinks = view.nodeExits.filter(({ role }) => role === 'uplink');
    const links = await this.#exclusively(async () => {
      const all = await listLinks(rt);
      await this.#uncapped.look(rt, all);
      return all;
    });
    await this.#uncapped.enrol(rt, this.#turns.runOneOfMany, Infinity);
    const census: Census = {
      ...{ uncapped: this.#uncapped.all, attachments: records, wishes, links },
      uplinks: new Set(uplinks.map(({ ifindex }) => ifindex)),
      orphans: this.#options.orphans,
    };
    return uncappedPage(census, params);
  }

  /** A page of attachments with their counters, or those of one. */
  counters(params: CountersParams): Promise<CountersResult> {
    return this.#exclusively(async () => {
      this.#wishes.look();
      return countersPage(this.#options, params);
    });
  }

  /**
   * Takes everything of podpace off the devices and puts back what stood there. What was asked for
   * stays in the records, for a later helper, unless `forget` says otherwise.
   */
  uninstall(forget: boolean): Promise<UninstallResult> {
    return this.#exclusively(async () => {
      const attachments = this.#store.readAttachments();
      const unreadable = forget ? [] : this.#store.unreadable();
      const detached = attachments.length + this.#orphans.known.length;
      this.#orphans.forget();
      if (forget) for (const record of attachments) this.#store.removeAttachment(record);
      else this.#store.hideAttachments();
      const changes = attachments.map((former) => ({ former, next: undefined }));
      const view = await takeView(this.#options, [], { hasOtherPods: true, changes });
      await this.#enforcement.carryOut(view);
      const restoredExits = view.plan.steps.flatMap((step) => restoredOf(step) ?? []).toSorted();
      const kept = forget ? 0 : attachments.length;
      return { restoredExits, detached, kept, ...(unreadable.length > 0 && { unreadable }) };
    });
  }

  #exclusively<T>(operation: () => Promise<T>): Promise<T> {
    return this.#turns.run(operation);
  }

  /** The whole node, not as it was before now: one look serves all who wait for it. */
  #look(): Promise<Look> {
    this.#nextLook ??= this.#exclusively(() => {
      this.#nextLook = undefined;
      this.#wishes.look();
      return lookAt(this.#options);
    });
    return this.#nextLook;
  }

  /**
   * Puts a record in force in place of the former one of the same attachment, or leaves everything
   * as it was. Aggregates that it goes on using keep their clocks.
   */
  async #replace(
    former: AttachmentRecord | undefined,
    wanted: AttachmentRecord,
    enforce: (record: AttachmentRecord) => Promise<void>,
  ): Promise<AttachmentRecord> {
    const record = this.#aggregates.assign(wanted, former);
    this.#store.writeAttachment(record);
    try {
      await enforce(record);
    } catch (error) {
      await this.#undoReplace(record, former);
      throw error;
    }
    return record;
  }

  async #undoReplace(
    record: AttachmentRecord,
    former: AttachmentRecord | undefined,
  ): Promise<void> {
    try {
      if (former === undefined) return await this.#removal.remove([record]);
      this.#store.writeAttachment(former);
      await this.#enforcement.enforce({ former: record, next: former });
    } catch (error) {
      this.#options.log('error', `Cannot undo a failed change: ${(error as Error).message}`);
    }
  }

  /**
   * Forgets records whose devices are of another time or place, and looks for devices without a
   * record.
   */
  async #matchRecords(): Promise<void> {
    const links = await listLinks(this.#datapath.rt);
    for (const text of forgetOutlived(this.#store, links)) this.#options.log('info', text);
    this.#store.adopt();
    const known = [...this.#store.readAttachments(), ...this.#store.readRemoving()];
    this.#orphans.known = await findOrphans(this.#datapath, links, known);
    await this.#uncapped.look(this.#datapath.rt, links);
  }

  async #putProgramsBack(attachments: readonly AttachmentRecord[]): Promise<void> {
    const exits = [...this.#exits.values()];
    const wanted = desiredPrograms({
      ...{ attachments, exits, arrivals: this.#arrivals },
      orphans: this.#options.orphans,
      ...desiredPolicing(this.#options),
    });
    const lost = await this.#programs.look(wanted);
    if (lost.length === 0) return;
    const devices = lost.map((place) => placeNamed(place).ifindex);
    const view = await takeView(this.#options, [], {
      devices,
      hasOtherPods: false,
      hasUplinks: false,
    });
    for (const { text } of await this.#carryOutExits(view)) this.#options.log('error', text);
    await this.#programs.except(lost);
  }

  /** Carries out a plan of the node's exits as well, and tells of these; returns what failed. */
  async #carryOutExits(view: View): Promise<Problem[]> {
    const exits = knownExits(view.exits);
    const { done, failures } = await this.#carryOut(view);
    const changes = [...exitChangesOf(this.#exits, exits), ...changesOf(done, view)];
    if (this.#hasReconciled) for (const change of changes) this.#options.log('info', change);
    this.#exits = exits;
    return failures;
  }

  /** Carries out as much of a plan as can be, and tells of what was damaged. */
  async #carryOut(
    looked: Looked,
  ): Promise<{ readonly done: readonly Step[]; readonly failures: Problem[] }> {
    const failures: Problem[] = [];
    const { attachments } = looked.desired;
    const done = await this.#enforcement.carryOut(looked, ({ message }, step) => {
      const ifindex = 'ifindex' in step ? step.ifindex : undefined;
      failures.push(problemAt(ifindex, message, attachments));
    });
    for (const step of done) {
      if (!isSameAsBefore(step, this.#exits)) continue;
      const repair = repairOf(step, looked);
      if (repair !== undefined && this.#hasReconciled) this.#options.log('warn', repair);
    }
    return { done, failures };
  }
}
