// `podpaced run --cni-conf-dir`: podpace stays in the list that the runtime takes, whoever rewrites
// or renames it. inotify says when to look; a slow look is for what it does not say (a directory
// that was made anew, a network file system). Nobody else's file is renamed, and the list is
// rewritten once a second at most. Somebody who takes podpace out again and again has his way.

import fs from 'node:fs';
import path from 'node:path';
import { ListError, namesPodpace } from '../network-list/edit.ts';
import {
  afterLoss,
  afterPut,
  isLost,
  NO_FIGHTS,
  REWRITE_PAUSE_MS,
  type Fights,
} from '../network-list/fights.ts';
import {
  orphanedLists,
  planAddition,
  planRemoval,
  type Change,
  type Plan,
} from '../network-list/plan.ts';
import { applyChange, ChangedMeanwhile, readConfDir, withLocks } from './files.ts';

/** Whoever writes a file writes more of it directly after. */
const SETTLE_MS = 100;
/** What was wrong may have been half of a file. */
const RETRY_MS = 1_000;
const SLOW_LOOK_MS = 5_000;

export interface KeeperEdges {
  readonly log: (level: 'info' | 'error', message: string) => void;
  /** Is told when podpace is in the list again after it was not. */
  readonly putBack: () => void;
  /** Is told when podpace is left out of the list: a sentence with the remedy. */
  readonly gaveUp?: (message: string) => void;
  readonly nowMs?: () => number;
}

export interface KeeperOptions {
  readonly directory: string;
  /** Where it is not the plugin's usual one. */
  readonly socket?: string;
}

/** What has to change before podpace is in, by whom it was taken out, and what is done anyway. */
interface Look {
  readonly changes: readonly Change[];
  readonly plan?: Plan;
  readonly isIn: boolean;
  readonly problem?: string;
}

export class ListKeeper {
  readonly #options: KeeperOptions;
  readonly #edges: KeeperEdges;
  readonly #nowMs: () => number;
  #watcher: fs.FSWatcher | undefined;
  /** Of the directory that is watched. */
  #watched: string | undefined;
  #timer: NodeJS.Timeout | undefined;
  #dueAtMs = Infinity;
  #isLooking = false;
  /** Something happened since the look began. */
  #hasHeard = false;
  #isClosed = false;
  #fights: Fights = NO_FIGHTS;
  /** What the last look found wrong, and whether it was told. */
  #problem: { readonly text: string; readonly isTold: boolean } | undefined;

  /** Looks at once, and then until it is closed. */
  constructor(options: KeeperOptions, edges: KeeperEdges) {
    this.#options = options;
    this.#edges = edges;
    this.#nowMs = edges.nowMs ?? (() => performance.now());
    this.#lookIn(0);
  }

  /** What is wrong for longer than a moment. */
  problems(): readonly string[] {
    return this.#problem?.isTold === true ? [this.#problem.text] : [];
  }

  /** Nothing is written any more once this has returned. */
  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#watcher?.close();
  }

  #hear(): void {
    this.#hasHeard = true;
    this.#lookIn(SETTLE_MS);
  }

  /** Closes, and takes out what it has put in. Throws Error with the remedy. */
  async leave(): Promise<void> {
    this.close();
    const place = { root: '/', directory: this.#options.directory };
    await withLocks([place.directory], () => {
      const { changes } = planRemoval(readConfDir(place).files, () => false);
      for (const change of changes) applyChange(place, change);
    });
  }

  #lookIn(ms: number): void {
    const dueAtMs = this.#nowMs() + ms;
    if (this.#isClosed || this.#isLooking || dueAtMs >= this.#dueAtMs) return;
    clearTimeout(this.#timer);
    this.#dueAtMs = dueAtMs;
    this.#timer = setTimeout(() => void this.#look(), ms);
  }

  /** Looks, and says when to look next. */
  async #look(): Promise<void> {
    this.#dueAtMs = Infinity;
    this.#isLooking = true;
    this.#hasHeard = false;
    let nextMs = SLOW_LOOK_MS;
    try {
      this.#watch();
      nextMs = await this.#keep();
    } catch (error) {
      this.#tell((error as Error).message);
      nextMs = RETRY_MS;
    }
    this.#isLooking = false;
    this.#lookIn(this.#hasHeard ? Math.min(nextMs, SETTLE_MS) : nextMs);
  }

  /** Watches the directory that is there now. */
  #watch(): void {
    const { directory } = this.#options;
    const stat = fs.statSync(directory, { throwIfNoEntry: false });
    const identity = stat === undefined ? undefined : `${stat.dev}:${stat.ino}`;
    if (identity === this.#watched) return;
    this.#watcher?.close();
    this.#watcher = undefined;
    this.#watched = undefined;
    if (identity === undefined) return;
    try {
      const watcher = fs.watch(directory, () => this.#hear());
      // A directory that goes: the slow look finds the next one.
      watcher.on('error', () => undefined);
      this.#watcher = watcher;
      this.#watched = identity;
    } catch {
      // Without inotify (a limit of the user's) the slow look has to do.
    }
  }

  #see(): Look {
    const { directory, socket } = this.#options;
    const { files, unreadable } = readConfDir({ root: '/', directory });
    const [bad] = unreadable;
    if (bad !== undefined)
      return { changes: [], isIn: false, problem: `${path.join(directory, bad[0])}: ${bad[1]}` };
    try {
      const plan = planAddition(files, socket === undefined ? {} : { socket });
      const before = files.get(plan.list);
      return { changes: plan.changes, plan, isIn: before !== undefined && namesPodpace(before) };
    } catch (error) {
      if (!(error instanceof ListError)) throw error;
      return { changes: orphanedLists(files), isIn: false, problem: error.message };
    }
  }

  /** Puts podpace in where it is not; returns when to look next. */
  async #keep(): Promise<number> {
    const { directory } = this.#options;
    const { changes, plan, isIn, problem } = this.#see();
    if (problem !== undefined) this.#tell(`Cannot keep podpace in the list: ${problem}`);
    if (changes.length === 0) {
      if (problem !== undefined) return RETRY_MS;
      if (isLost(this.#fights)) this.#fights = NO_FIGHTS;
      this.#solve();
      return SLOW_LOOK_MS;
    }
    if (isLost(this.#fights)) return SLOW_LOOK_MS;
    const waitMs = (this.#fights.putAtMs ?? -Infinity) + REWRITE_PAUSE_MS - this.#nowMs();
    if (waitMs > 0) return waitMs;
    if (!isIn && plan !== undefined) {
      this.#fights = afterLoss(this.#fights, this.#nowMs());
      if (isLost(this.#fights)) return this.#giveUp(plan);
    }
    try {
      await withLocks([directory], () => {
        for (const change of changes)
          if (!this.#isClosed) applyChange({ root: '/', directory }, change);
      });
    } catch (error) {
      if (error instanceof ChangedMeanwhile) return SETTLE_MS;
      throw error;
    }
    if (plan === undefined) return RETRY_MS;
    this.#fights = afterPut(this.#fights, this.#nowMs());
    this.#solve();
    for (const reason of plan.why) this.#edges.log('info', `Network list: ${reason}`);
    if (!isIn) this.#edges.putBack();
    return REWRITE_PAUSE_MS;
  }

  #giveUp({ list }: Plan): number {
    this.#problem = undefined;
    const text =
      `podpace is not in ${path.join(this.#options.directory, list)}: somebody takes it out whenever podpaced puts ` +
      'it there, so podpaced leaves it. Have whoever writes that file keep other plugins (Cilium: cni.exclusive=false ' +
      'and cni.customConf=true), then put podpace in by podpaced install';
    this.#edges.log('error', text);
    this.#edges.gaveUp?.(text);
    this.#problem = { text, isTold: true };
    return SLOW_LOOK_MS;
  }

  /** What is found twice in a row is told of. */
  #tell(text: string): void {
    const isKnown = this.#problem?.text === text;
    if (isKnown && this.#problem?.isTold !== true) this.#edges.log('error', text);
    this.#problem = { text, isTold: isKnown };
  }

  #solve(): void {
    if (this.#problem?.isTold === true) this.#edges.log('info', `Solved: ${this.#problem.text}`);
    this.#problem = undefined;
  }
}
