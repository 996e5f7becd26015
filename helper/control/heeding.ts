// What pods ask for by annotation while they run, and what the operator's rules make of that: put
// in force by the same door as `set`.

import { listLinks } from '../kernel/links.ts';
import type { AttachmentKey, PodNames } from '../protocol/messages.ts';
import { DIRECTIONS } from '../protocol/requests.ts';
import {
  askedByAnnotations,
  askedOf,
  isSameResolved,
  resolveCaps,
  ruleOf,
  type Annotated,
  type Asked,
  type Resolved,
} from '../shaping/cap-rules.ts';
import { effectiveCapIn } from '../shaping/effective.ts';
import { ShapingError, toProtocolError } from '../shaping/failure.ts';
import { contradictionIn } from '../shaping/rates.ts';
import {
  isSameAttachment,
  type AttachmentRecord,
  type UncappedRecord,
} from '../shaping/records.ts';
import type { Machinery } from './attaching.ts';
import type { Setting } from './setting.ts';
import type { Turns } from './turns.ts';
import type { Uncapped } from './uncapped.ts';
import { describeWish } from './wishes.ts';

/** The interface that the CRI has made, to which the annotations belong; Multus makes others. */
const MAIN_INTERFACE = 'eth0';

/** A pod as the cluster has it. */
export interface AnnotatedPod {
  readonly namespace: string;
  readonly name: string;
  /** By which the runtime knows it. */
  readonly runtimeUid: string;
  readonly annotated: Annotated;
}

/** What became of what a pod's annotations say. */
export type Heeded =
  /** No ADD of it is known. */
  | { readonly state: 'unknown' }
  /** `conflist`: keys of the network list hold in their place. */
  | { readonly state: 'conflist' }
  /** It is so, or has become so. */
  | { readonly state: 'same' | 'changed'; readonly resolved: Resolved }
  /** Also while the cap that the pod was added with is still to come. */
  | { readonly state: 'failed'; readonly why: string };

/** A pod for which the operator's rules do not hold. */
export interface RuleFailure {
  readonly of: AttachmentKey & PodNames;
  /** With the remedy. */
  readonly why: string;
}

/** What the annotations of a pod would change. */
type Subject = { readonly attachment: AttachmentRecord } | { readonly pod: UncappedRecord };

/** Nothing is said of the annotations: as they were. */
const AS_BEFORE: Annotated = { egress: 'malformed', ingress: 'malformed' };

function isOf(pod: AnnotatedPod, record: PodNames & { readonly ifname: string }): boolean {
  const { podUid, podNamespace, podName, ifname } = record;
  if (ifname !== MAIN_INTERFACE) return false;
  if (podUid !== undefined) return podUid === pod.runtimeUid;
  return podNamespace === pod.namespace && podName === pod.name;
}

/** Of several sandboxes of one pod the one that came last: the others are on their way out. */
function newest<T extends { readonly addedAt?: string }>(records: readonly T[]): T | undefined {
  return records.toSorted((a, b) => ((a.addedAt ?? '') < (b.addedAt ?? '') ? 1 : -1))[0];
}

function askedIn(subject: Subject): Asked {
  if ('attachment' in subject) return askedOf(subject.attachment);
  const { capSource } = subject.pod;
  return { caps: {}, by: capSource ?? 'annotation' };
}

function resolvedIn(subject: Subject): Resolved {
  return 'attachment' in subject ? subject.attachment : { caps: {} };
}

function namespaceIn(subject: Subject): string | undefined {
  return 'attachment' in subject ? subject.attachment.podNamespace : subject.pod.podNamespace;
}

export class Heeding {
  readonly #machinery: Machinery;
  readonly #setting: Setting;
  readonly #uncapped: Uncapped;
  readonly #turns: Turns;

  constructor(machinery: Machinery, setting: Setting, uncapped: Uncapped, turns: Turns) {
    this.#machinery = machinery;
    this.#setting = setting;
    this.#uncapped = uncapped;
    this.#turns = turns;
  }

  /** Puts in force what the annotations of some pods say, each by itself; in the order of the pods. */
  async annotations(pods: readonly AnnotatedPod[]): Promise<Heeded[]> {
    await this.#look();
    const heeded: Heeded[] = [];
    for (const pod of pods) heeded.push(await this.#turns.runOneOfMany(() => this.#heedPod(pod)));
    return heeded;
  }

  async #heedPod(pod: AnnotatedPod): Promise<Heeded> {
    const subject = this.#find(pod);
    const wish = this.#machinery.wishes.all.find((one) => isOf(pod, one));
    if (subject === undefined && wish !== undefined)
      return { state: 'failed', why: describeWish(wish) };
    return this.#heed(subject, pod.annotated);
  }

  /**
   * Has the operator's rules hold for pods that were added under others, or while no helper ran.
   * Returns why that failed, by the pod.
   */
  async rules(): Promise<RuleFailure[]> {
    await this.#look();
    const { store } = this.#machinery.node;
    const failures: RuleFailure[] = [];
    for (const of of [...store.readAttachments(), ...this.#uncappedPods()]) {
      const heeded = await this.#turns.runOneOfMany(() => {
        const attachment = store.readAttachment(of);
        const pod = this.#uncappedPods().find((one) => isSameAttachment(one, of));
        const subject = attachment === undefined ? pod && { pod } : { attachment };
        const isSaid = subject !== undefined && askedIn(subject).by !== undefined;
        return this.#heed(isSaid ? subject : undefined, AS_BEFORE);
      });
      if (heeded.state === 'failed') failures.push({ of, why: heeded.why });
    }
    return failures;
  }

  async #look(): Promise<void> {
    await this.#turns.run(async () => {
      const { rt } = this.#machinery.node.datapath;
      await this.#uncapped.look(rt, await listLinks(rt));
      this.#machinery.wishes.look();
    });
  }

  /** Those that are no attachment, and are to be none later. */
  #uncappedPods(): UncappedRecord[] {
    const { node, wishes } = this.#machinery;
    return this.#uncapped.all.filter(
      (record) =>
        node.store.readAttachment(record) === undefined && wishes.find(record) === undefined,
    );
  }

  #find(pod: AnnotatedPod): Subject | undefined {
    const { store } = this.#machinery.node;
    const own = (record: PodNames & { readonly ifname: string }): boolean => isOf(pod, record);
    const attachment = newest(store.readAttachments().filter(own));
    const bare = newest(this.#uncappedPods().filter(own));
    if (bare !== undefined && (bare.addedAt ?? '') >= (attachment?.addedAt ?? ''))
      return { pod: bare };
    return attachment && { attachment };
  }

  async #heed(subject: Subject | undefined, annotated: Annotated): Promise<Heeded> {
    if (subject === undefined) return { state: 'unknown' };
    const former = askedIn(subject);
    if (former.by === 'conflist') return { state: 'conflist' };
    const asked = askedByAnnotations(former, annotated);
    const { capRules = [] } = this.#machinery.node;
    const before = resolvedIn(subject);
    const resolved =
      asked === undefined ? before : resolveCaps(asked, ruleOf(capRules, namespaceIn(subject)));
    if (isSameResolved(before, resolved)) return { state: 'same', resolved };
    try {
      await this.#setting.alter(subject, (record) => this.#withResolved(record, resolved));
      return { state: 'changed', resolved };
    } catch (error) {
      const { message, remedy } = toProtocolError(error);
      return { state: 'failed', why: remedy === undefined ? message : `${message}; ${remedy}` };
    }
  }

  /** Throws ShapingError `bad-value` where what `set` has changed does not go with the rate. */
  #withResolved(record: AttachmentRecord, { caps, capSources }: Resolved): AttachmentRecord {
    const { capSources: _former, ...rest } = record;
    const next = { ...rest, caps, ...(capSources !== undefined && { capSources }) };
    const { defaults } = this.#machinery.node;
    for (const direction of DIRECTIONS) {
      const cap = effectiveCapIn(next, direction, defaults);
      const contradiction = cap && contradictionIn(cap);
      if (contradiction === undefined) continue;
      throw new ShapingError(
        'bad-value',
        `Cannot follow the annotation (${direction}): beside what set has changed ${contradiction}`,
        'take that back by podpaced set --reset',
      );
    }
    return next;
  }
}
