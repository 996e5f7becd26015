// The control of the datapath: attachments come and go, and each time the kernel is brought from
// what it holds to what it should hold. The records are the desired state; nothing else is
// remembered between calls, so a restart, a crash between two steps or a hand that changed
// something are all the same case: plan again, apply again.

import { listLinks } from '../kernel/links.ts';
import {
  keyOf,
  type AttachmentKey,
  type AttachParams,
  type CountersParams,
  type CountersResult,
  type ExplainResult,
  type GcParams,
  type HistoryParams,
  type HistoryResult,
  type ListParams,
  type ListResult,
  type PodNames,
  type SetParams,
  type SetResult,
  type UncappedResult,
  type UninstallResult,
} from '../protocol/messages.ts';
import { about } from '../protocol/pod-names.ts';
import { Aggregates } from './aggregates.ts';
import { Arrivals } from './arrivals.ts';
import { Attaching, type Attached, type Machinery } from './attaching.ts';
import { Bookkeeping } from './bookkeeping.ts';
import { Enforcement, type LoggingNode } from './enforcement.ts';
import { Heeding, type AnnotatedPod, type Heeded, type RuleFailure } from './heeding.ts';
import { Judgement, nodeProblem, type Problem } from '../shaping/judgement.ts';
import type { Measured } from '../shaping/counters.ts';
import type { Exit } from '../shaping/exits.ts';
import { findOrphans, forgetOutlived, Orphans } from './orphans.ts';
import { Precedence } from '../shaping/precedence.ts';
import { Removal } from './removal.ts';
import { Repairing } from './repairing.ts';
import { Setting } from './setting.ts';
import { Histories } from './histories.ts';
import { hostInterfaceIndexesOf } from '../shaping/records.ts';
import { restoredOf } from '../shaping/repairs.ts';
import {
  checkAttachment,
  countersPage,
  knownAttachment,
  Lister,
  lookAt,
  measureAttachments,
  statusOf,
  type Look,
  type NodeStatus,
} from './reports.ts';
import { explained } from './explain.ts';
import { recordProblems, takeView, type Node } from './view.ts';
import { Turns } from './turns.ts';
import type { Uncapped } from './uncapped.ts';
import { uncappedPage, type Census } from './uncapped-list.ts';
import { fulfil, isPodThere, type Wishes } from './wishes.ts';

/** What the shaper finds out itself is left out. */
export type ShaperOptions = Omit<LoggingNode, 'orphans' | 'precedence' | 'wishes'> & {
  readonly wishes: Wishes;
  readonly uncapped: Uncapped;
};

/** A few ms. */
const MEASURED_AT_ONCE = 50;

export class Shaper {
  readonly #options: LoggingNode;
  readonly #orphans = new Orphans();
  readonly #wishes: Wishes;
  readonly #uncapped: Uncapped;
  readonly #aggregates: Aggregates;
  readonly #enforcement: Enforcement;
  readonly #removal: Removal;
  readonly #attaching: Attaching;
  readonly #setting: Setting;
  readonly #heeding: Heeding;
  readonly #repairing: Repairing;
  readonly #lister: Lister;
  readonly #books: Bookkeeping;
  readonly #arrivedUncapped: Arrivals;
  readonly #histories: Histories;
  /** One that has not begun: as new as anybody can want it who asks now. */
  #nextLook: Promise<Look> | undefined;
  readonly #turns = new Turns();

  constructor(options: ShaperOptions) {
    const orphans = this.#orphans;
    const precedence = new Precedence(() => performance.now());
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
    const machinery: Machinery = {
      ...{ node, wishes: options.wishes, aggregates: this.#aggregates },
      ...{ enforcement: this.#enforcement, removal: this.#removal },
    };
    this.#attaching = new Attaching(machinery);
    this.#setting = new Setting(machinery, this.#attaching, options.uncapped);
    this.#heeding = new Heeding(machinery, this.#setting, options.uncapped, this.#turns);
    this.#repairing = new Repairing(node, this.#enforcement);
    this.#histories = new Histories(options.datapath);
    this.#lister = new Lister(node, () => this.#look(), this.#histories);
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
    return this.#exclusively(() => this.#attaching.attach(params));
  }

  /** Limits segment offload of all pods again, after `uninstall` has given it back. */
  async limitOffloadAgain(): Promise<void> {
    for (const key of this.#store.readAttachments()) {
      await this.#turns.runOneOfMany(async () => {
        const record = this.#store.readAttachment(key);
        if (record === undefined) return;
        await this.#enforcement.writeMaps({ former: record, next: record }, ({ message }) =>
          this.#options.log('error', about(record, message)),
        );
      });
    }
  }

  /**
   * Changes one direction of a running attachment, or nothing at all when it fails. A pod that was
   * added without a cap becomes an attachment with its first one, and is none without any.
   */
  set(params: SetParams): Promise<SetResult> {
    return this.#exclusively(() => this.#setting.set(params));
  }

  /** Puts in force what the annotations of pods say, each by itself; in the order of the pods. */
  heed(pods: readonly AnnotatedPod[]): Promise<Heeded[]> {
    return this.#heeding.annotations(pods);
  }

  /** Has the operator's rules hold for the pods that are there; returns for which they do not. */
  holdRules(): Promise<RuleFailure[]> {
    return this.#heeding.rules();
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
    params: Pick<AttachParams, keyof (AttachmentKey & PodNames) | 'beside' | 'unheld'>,
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
    await this.#turns.runOneOfMany(() => {
      this.#store.refresh();
      this.#datapath.routes.check();
      return this.#matchRecords();
    });
    await this.#removal.dropVanished(this.#turns.runOneOfMany);
    const problems = await this.#turns.runOneOfMany(async () => {
      const failures = await this.#repairing.all();
      this.#removal.finish();
      const found = [...failures, ...recordProblems(this.#options).map(nodeProblem)];
      const { log } = this.#options;
      await fulfil(this.#wishes, {
        ...{ refusal, log },
        isAlive: (wish) => isPodThere(this.#datapath.rt, wish),
        attach: (wish) => this.#attaching.attach(wish),
      });
      return [...found, ...this.#wishes.problems()];
    });
    await this.#aggregates.keepPages(this.#turns.runOneOfMany);
    await this.#uncapped.enrol(this.#datapath.rt, this.#turns.runOneOfMany);
    return problems;
  }

  /** An attachment with the names that are known of it, as of one that is not known without. */
  named(key: AttachmentKey & PodNames): AttachmentKey & PodNames {
    return (
      this.#store.readAttachment(key) ?? this.#wishes.find(key) ?? this.#uncapped.find(key) ?? key
    );
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
      this.#repairing.forget(changed);
      return;
    }
    return this.#turns.runOneOfMany(() => this.#repairing.devices(changed));
  }

  /**
   * Tells of an exit that sends by another number of queues: its leaves are fq whether they are in
   * use or not.
   */
  tellOfQueues(ifindex: number, queues: number): void {
    const name = this.#repairing.exits.get(ifindex)?.name;
    if (name !== undefined) this.#options.log('info', `${name} sends by ${queues} queues now`);
  }

  /** Puts right what somebody damaged in the maps or took off its hook: every 2 s. */
  reconcileMaps(): Promise<void> {
    return this.#repairing.maps(this.#turns.runOneOfMany);
  }

  /**
   * Looks whether what capped pods send vanishes on its way to the exits and leaves the node all
   * the same, and whether anything comes into them past their caps: every 2 s.
   */
  async watchBooks(): Promise<void> {
    const inTurn = this.#turns.runOneOfMany;
    await inTurn(() => {
      const attachments = this.#store.readAttachments();
      return this.#books.look({ attachments, exits: this.#repairing.exits.values() });
    });
    await inTurn(() => this.#arrivedUncapped.look(this.#store.readAttachments()));
  }

  /** Exits and outstanding problems, as they are now. */
  async status(): Promise<NodeStatus> {
    return statusOf(await this.#look());
  }

  /** A page of attachments, each with what is wrong with it. */
  list(params: ListParams): Promise<ListResult> {
    return this.#lister.page(params);
  }

  /** The way of one attachment's packets, as it is now. */
  async explain(key: AttachmentKey): Promise<ExplainResult> {
    return explained(this.#options, await this.#look(), key, this.#uncapped.all);
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

  /** Ends a step of every direction's history. */
  takeHistory(): Promise<void> {
    return this.#histories.take(this.#store.readAttachments());
  }

  /** The last hour of an attachment. Rejects with ShapingError `not-found`. */
  async history(params: HistoryParams): Promise<HistoryResult> {
    this.#wishes.look();
    const record = knownAttachment(this.#options, params);
    return this.#histories.of(record, params, this.#options.defaults);
  }

  /**
   * All attachments with their counters, judged by these problems. Others have their turn in
   * between: it is no picture of one moment.
   */
  async measure(problems: readonly Problem[]): Promise<Measured[]> {
    const records = this.#store.readAttachments();
    const judgement = new Judgement(problems, records);
    const measured: Measured[] = [];
    for (let at = 0; at < records.length; at += MEASURED_AT_ONCE) {
      const some = records.slice(at, at + MEASURED_AT_ONCE);
      await this.#turns.runOneOfMany(async () => {
        measured.push(...measureAttachments(this.#options, some, judgement));
      });
    }
    return measured;
  }

  /** Exits that caps need, but for ways into pods. */
  get exitsInUse(): { readonly name: string; readonly role: Exit['role'] }[] {
    return [...this.#repairing.exits.values()].filter(({ role }) => role !== 'pod');
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
}
