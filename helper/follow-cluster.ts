// `--kubernetes`: the annotations of the node's running pods are followed, and the cluster is told,
// by events, what its users should know of their caps.

import { accessBy } from './api-server/access-files.ts';
import { ApiClient } from './api-server/client.ts';
import { EventPoster } from './api-server/event-poster.ts';
import { isHostNetwork } from './api-server/one-pod.ts';
import { PodWatch } from './api-server/pod-watch.ts';
import type { Notice, Reason } from './cluster/events.ts';
import type { PodsChange } from './cluster/list-watch.ts';
import { askedRates, type Pod } from './cluster/pods.ts';
import { ConfigError, type HelperConfig } from './config.ts';
import type { Heeded } from './control/heeding.ts';
import type { Shaper } from './control/shaper.ts';
import type { Direction } from './protocol/messages.ts';
import { DIRECTIONS } from './protocol/requests.ts';
import type { Annotated, Resolved } from './shaping/cap-rules.ts';
import { bothDirections, type Problem } from './shaping/judgement.ts';
import { formatRate } from './shaping/units.ts';

type Log = (level: 'info' | 'warn' | 'error', message: string) => void;

/** ADD of a pod may come after the pod is there; then it is looked for so often. */
const LOOK_MS = 1_000;
/** What an ADD has asked for meanwhile is compared with the annotations. */
const COMPARE_MS = 30_000;
/** A pod that podpace does not know after so long was not added by it. */
const UNKNOWN_AFTER_MS = 20_000;

const HOST_NETWORK =
  'The bandwidth annotation has no effect: the pod is in the network of its node (hostNetwork), which has no cap; ' +
  'take the annotation or hostNetwork away';
const NEVER_ADDED =
  'The bandwidth annotation is not enforced: podpace has not added this pod; delete it, to have it made anew';

/** What the cluster is, as it is configured. Throws ConfigError or AccessError with the remedy. */
export async function reachCluster(
  { kubeconfig, nodeName: named }: Pick<HelperConfig, 'kubeconfig' | 'nodeName'>,
  environment: NodeJS.ProcessEnv,
): Promise<Cluster> {
  const nodeName = named || (environment['NODE_NAME'] ?? '');
  if (nodeName === '')
    throw new ConfigError(
      'Cannot follow the pods of this node without its name in the cluster: give --node-name or NODE_NAME',
    );
  return { nodeName, client: new ApiClient(await accessBy(kubeconfig, environment)) };
}

export interface Cluster {
  readonly nodeName: string;
  readonly client: ApiClient;
}

function nameOf({ namespace, name }: Pod): string {
  return `${namespace}/${name}`;
}

function annotatedBy(pod: Pod): { readonly annotated: Annotated; readonly faults: string[] } {
  const { rates, faults } = askedRates(pod);
  const saidOf = (direction: Direction): Annotated[Direction] =>
    faults[direction] === undefined ? rates[direction] : 'malformed';
  return {
    annotated: { egress: saidOf('egress'), ingress: saidOf('ingress') },
    faults: Object.values(faults),
  };
}

function isAnnotated({ bandwidth }: Pod): boolean {
  return DIRECTIONS.some((direction) => bandwidth[direction] !== undefined);
}

function describeCaps({ caps }: Resolved): string {
  const words = DIRECTIONS.map((direction) => {
    const rate = caps[direction]?.rateBitsPerSec;
    return `${direction} ${rate === undefined ? 'no cap' : formatRate(rate)}`;
  });
  return words.join(', ');
}

/** What a ceiling has cut: a sentence; undefined when it has cut nothing. */
function describeCut({ caps, capSources = {} }: Resolved): string | undefined {
  const cut = DIRECTIONS.flatMap((direction) => {
    const asked = capSources[direction]?.askedBitsPerSec;
    const rate = caps[direction]?.rateBitsPerSec;
    if (asked === undefined || rate === undefined) return [];
    return [`${direction} ${formatRate(asked)} to ${formatRate(rate)}`];
  });
  if (cut.length === 0) return undefined;
  return `The operator's ceiling cuts the bandwidth annotation: ${cut.join(', ')}; ask for less, or ask the operator`;
}

export class ClusterFollower {
  readonly #cluster: Cluster;
  readonly #shaper: Pick<Shaper, 'heed' | 'list' | 'named'>;
  readonly #log: Log;
  readonly #watch: PodWatch;
  readonly #poster: EventPoster;
  readonly #timers: readonly NodeJS.Timeout[];
  readonly #pods = new Map<string, Pod>();
  /** Uids of pods whose annotations are to be compared with what is in force. */
  readonly #due = new Set<string>();
  /** Since when annotated pods are waited for of which no ADD is known, by their uids. */
  readonly #missing = new Map<string, number>();
  /** Those that podpace has not added: that has been told of. */
  readonly #strangers = new Set<string>();
  /** What was said of a pod, so that it is said once. */
  readonly #said = new Map<string, Set<string>>();
  #isHeeding = false;
  #isClosed = false;
  #toldProblems = '';

  /** Begins at once. */
  constructor(cluster: Cluster, shaper: Pick<Shaper, 'heed' | 'list' | 'named'>, log: Log) {
    const { client, nodeName } = cluster;
    this.#cluster = cluster;
    this.#shaper = shaper;
    this.#log = log;
    this.#poster = new EventPoster({ client, nodeName, log });
    this.#watch = new PodWatch({
      ...{ client, nodeName },
      hear: (change) => this.#hear(change),
      tellAway: (why) => this.#tellAway(why),
    });
    this.#timers = [
      setInterval(() => this.#heedAgain(this.#missing.keys()), LOOK_MS),
      setInterval(() => this.#heedAgain(this.#pods.keys()), COMPARE_MS),
    ];
  }

  close(): void {
    this.#isClosed = true;
    for (const timer of this.#timers) clearInterval(timer);
    this.#watch.close();
    this.#poster.close();
  }

  /** What `status` says of the cluster. */
  notices(): string[] {
    const { away } = this.#watch;
    if (away === undefined) return [];
    const sinceMs = Date.now() - (performance.now() - away.sinceMs);
    return [
      `Changed annotations of pods are not known since ${new Date(sinceMs).toISOString()}: ${away.why}; ` +
        'caps stay as they are',
    ];
  }

  /** An event about the node: what podpaced has given up. */
  tellOfList(message: string): void {
    const { nodeName } = this.#cluster;
    const about = { kind: 'Node', name: nodeName, uid: nodeName } as const;
    this.#poster.post({ about, reason: 'NetworkListLost', message });
  }

  /** An event for each pod whose cap is not enforced, where what is wrong is not what it was. */
  async tellOfProblems(problems: readonly Problem[]): Promise<void> {
    const texts = problems.map(({ text }) => text).join('\n');
    if (texts === this.#toldProblems) return;
    this.#toldProblems = texts;
    if (texts === '') return;
    try {
      await this.#tellOfUnenforced();
    } catch (error) {
      this.#log('error', `Cannot tell which pods have no cap: ${(error as Error).message}`);
    }
  }

  async #tellOfUnenforced(): Promise<void> {
    for (let after: string | undefined = ''; after !== undefined;) {
      const page = await this.#shaper.list(after === '' ? {} : { after });
      for (const { podUid, problems: own, problemsByDirection = {} } of page.attachments) {
        const pod = [...this.#pods.values()].find(({ runtimeUid }) => runtimeUid === podUid);
        if (pod === undefined || own.length === 0) continue;
        const directions = DIRECTIONS.filter((one) => problemsByDirection[one] !== undefined);
        const why = bothDirections(problemsByDirection)[0] ?? own[0] ?? '';
        this.#post(pod, 'BandwidthNotEnforced', `${directions.join(' and ')}: ${why}`);
      }
      after = page.next;
    }
  }

  #tellAway(why: string | undefined): void {
    if (why === undefined) this.#log('info', 'The API server is heard again');
    else this.#log('warn', `Cannot follow the annotations of pods: ${why}; caps stay as they are`);
  }

  #hear(change: PodsChange): void {
    if (change.kind === 'gone') return this.#forget(change.pod.uid);
    const pods = change.kind === 'all' ? change.pods : [change.pod];
    if (change.kind === 'all') {
      const staying = new Set(pods.map(({ uid }) => uid));
      for (const uid of this.#pods.keys()) if (!staying.has(uid)) this.#forget(uid);
    }
    for (const pod of pods) {
      const former = this.#pods.get(pod.uid);
      this.#pods.set(pod.uid, pod);
      const isSame = DIRECTIONS.every((one) => former?.bandwidth[one] === pod.bandwidth[one]);
      if (former === undefined || !isSame || change.kind === 'all') this.#due.add(pod.uid);
    }
    void this.#heedDue();
  }

  #forget(uid: string): void {
    this.#pods.delete(uid);
    this.#due.delete(uid);
    this.#missing.delete(uid);
    this.#strangers.delete(uid);
    this.#said.delete(uid);
  }

  #heedAgain(uids: Iterable<string>): void {
    for (const uid of uids) this.#due.add(uid);
    void this.#heedDue();
  }

  async #heedDue(): Promise<void> {
    if (this.#isHeeding) return;
    this.#isHeeding = true;
    try {
      while (this.#due.size > 0 && !this.#isClosed) {
        const pods = [...this.#due].flatMap((uid) => this.#pods.get(uid) ?? []);
        this.#due.clear();
        await this.#heed(pods);
      }
    } catch (error) {
      this.#log('error', `Cannot follow the annotations of pods: ${(error as Error).message}`);
    } finally {
      this.#isHeeding = false;
    }
  }

  async #heed(pods: readonly Pod[]): Promise<void> {
    const asked = pods.map((pod) => ({ ...pod, ...annotatedBy(pod) }));
    const heeded = await this.#shaper.heed(asked);
    for (const [index, pod] of pods.entries()) {
      // It may be gone, or have changed again: then it is due once more.
      const [became, own] = [heeded[index], asked[index]];
      if (became === undefined || own === undefined || this.#pods.get(pod.uid) !== pod) continue;
      for (const fault of own.faults) this.#warn(pod, 'BandwidthInvalid', keepingOf(fault, became));
      this.#tellOf(pod, became);
    }
  }

  #tellOf(pod: Pod, became: Heeded): void {
    if (became.state === 'unknown') return this.#miss(pod);
    this.#missing.delete(pod.uid);
    this.#strangers.delete(pod.uid);
    if (became.state === 'conflist') return;
    if (became.state === 'failed') return this.#warn(pod, 'BandwidthNotEnforced', became.why);
    if (became.state === 'changed')
      this.#log(
        'info',
        `${nameOf(pod)} is capped as it asks for now: ${describeCaps(became.resolved)}`,
      );
    const cut = describeCut(became.resolved);
    if (cut !== undefined) this.#warn(pod, 'BandwidthCut', cut);
  }

  /** An annotated pod of which no ADD is known: not yet, or never. */
  #miss(pod: Pod): void {
    if (!isAnnotated(pod) || this.#strangers.has(pod.uid))
      return void this.#missing.delete(pod.uid);
    const nowMs = performance.now();
    const sinceMs = this.#missing.get(pod.uid) ?? nowMs;
    this.#missing.set(pod.uid, sinceMs);
    if (nowMs - sinceMs < UNKNOWN_AFTER_MS) return;
    // Where that is not answered it is asked again after as long.
    this.#missing.set(pod.uid, nowMs);
    void this.#tellOfStranger(pod);
  }

  async #tellOfStranger(pod: Pod): Promise<void> {
    const found = await isHostNetwork(this.#cluster.client, pod);
    if (found === undefined || !this.#missing.has(pod.uid)) return;
    this.#missing.delete(pod.uid);
    this.#strangers.add(pod.uid);
    if (found === 'host network') this.#warn(pod, 'BandwidthIgnored', HOST_NETWORK);
    else this.#warn(pod, 'BandwidthNotEnforced', NEVER_ADDED);
  }

  /** Logs and posts, once for a pod and a text. */
  #warn(pod: Pod, reason: Reason, message: string): void {
    const said = this.#said.get(pod.uid) ?? new Set<string>();
    if (said.has(message)) return;
    this.#said.set(pod.uid, said.add(message));
    this.#log('warn', `${nameOf(pod)}: ${message}`);
    this.#post(pod, reason, message);
  }

  #post({ namespace, name, uid }: Pod, reason: Reason, message: string): void {
    const about: Notice['about'] = { kind: 'Pod', namespace, name, uid };
    this.#poster.post({ about, reason, message });
  }
}

/** What holds in the place of an annotation that cannot be used. */
function keepingOf(fault: string, became: Heeded): string {
  if (became.state !== 'same' && became.state !== 'changed') return fault;
  return `${fault}; in force stays what was: ${describeCaps(became.resolved)}`;
}
