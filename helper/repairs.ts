// The looks from time to time that keep the node as it has to be: at all of it, and at maps, programs
// and books.

import type { HelperConfig } from './config.ts';
import { markRecords, type Directories } from './control/layout.ts';
import type { FqWatch } from './control/fq-watch.ts';
import type { Shaper } from './control/shaper.ts';
import type { Health } from './health.ts';
import type { Log } from './log.ts';
import { problemReporter } from './problem-reporter.ts';
import { nodeProblem, type Problem } from './shaping/judgement.ts';
import type { Tallies } from './tallies.ts';
import { VERSION } from './version.ts';

/** Where this helper's pins and records are. */
export function directoriesOf({ pinDir, stateDir }: HelperConfig): Directories {
  return { pins: pinDir, state: stateDir };
}

/**
 * Marks the records again where the mark went with the state directory; returns why that failed.
 */
function markAgain(config: HelperConfig): Problem[] {
  try {
    markRecords(directoriesOf(config), VERSION);
    return [];
  } catch (error) {
    const { message } = error as Error;
    return [nodeProblem(`Cannot say of which layout the records are: ${message}`)];
  }
}

interface Repair {
  readonly config: HelperConfig;
  /** Hears what is wrong. */
  readonly tell: (problems: readonly Problem[]) => void;
  readonly shaper: Shaper;
  readonly fq: FqWatch;
  readonly log: Log;
  /** Is called when it failed. */
  readonly lookSoon: () => void;
  readonly tallies: Tallies;
}

/** Looks at the whole node and puts it right. */
export function repairer({
  config,
  shaper,
  fq,
  log,
  lookSoon,
  tell,
  tallies,
}: Repair): () => Promise<void> {
  const report = problemReporter(log, (key) => shaper.isKnown(key));
  return async () => {
    const beginMs = performance.now();
    await fq.look();
    const standing = fq.problems();
    try {
      const problems = await shaper.reconcile(standing[0]?.text);
      const all = [...standing, ...problems, ...markAgain(config)];
      report(all);
      tell(all);
    } catch (error) {
      report([...standing, nodeProblem((error as Error).message)]);
      lookSoon();
    }
    tallies.countRepair(beginMs);
  };
}

/** Looks at maps, programs and books. */
export function mapRepairer(shaper: Shaper, health: Health, log: Log): () => Promise<void> {
  return async () => {
    try {
      await shaper.reconcileMaps();
    } catch (error) {
      log('error', `Cannot repair the maps: ${(error as Error).message}`);
    }
    try {
      await shaper.watchBooks();
    } catch (error) {
      log('error', `Cannot look at the books: ${(error as Error).message}`);
    }
    health.hasLooked();
  };
}

/** Ends a step of every history. */
export function historian(shaper: Shaper, log: Log): () => Promise<void> {
  return async () => {
    try {
      await shaper.takeHistory();
    } catch (error) {
      log('error', `Cannot read the counters for the history: ${(error as Error).message}`);
    }
  };
}
