// `podpaced install`: the plugin into the directory where the runtime looks for it, then podpace
// into the list that the runtime takes. All is planned before anything changes; then comes the
// receipt, the plugin with its libraries, and last the list, since from there on pods need both.
// Whatever is interrupted is finished by the next install, or taken away by an uninstall.

import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { planAddition, type Plan, type Wishes } from '../network-list/plan.ts';
import { ListError } from '../network-list/edit.ts';
import { unifiedDiff } from '../network-list/unified-diff.ts';
import {
  applyChange,
  ChangedMeanwhile,
  dropFile,
  readConfDir,
  STAGED,
  withLocks,
  type NodeDirectory,
} from './files.ts';
import { copyLibrary, planLibraries, type LibraryCopy } from './libraries.ts';
import { resolveIn } from './node-root.ts';
import { findPlaces, type FoundPlaces, type PlaceFlags } from './places.ts';
import { chooseBinDir, copyPlugin, planPlugin, type PluginPlan } from './plugin-file.ts';
import { readReceipt, writeReceipt, type Receipt } from './receipt.ts';

export interface InstallOptions extends PlaceFlags {
  /** The executable to install, a path of this process. */
  readonly plugin: string;
  /** The file to add podpace to, by its name. */
  readonly list?: string;
  /** A list to write as it stands, a path of this process. */
  readonly ownList?: string;
  /** Only the plugin. */
  readonly isPluginOnly: boolean;
  readonly mayDowngrade: boolean;
  readonly isDryRun: boolean;
  /** Where it is not the plugin's usual one. */
  readonly socket?: string;
}

export interface InstallEdges {
  /** Of podpaced. */
  readonly release: string;
  /** Throws Error with the remedy while no helper serves. */
  readonly requireHelper: () => Promise<void>;
  /** Is told of each step that was done. */
  readonly reached?: (step: string) => void;
}

export interface Installed {
  readonly isDryRun: boolean;
  readonly plugin: PluginPlan;
  /** Files that came with the plugin. */
  readonly libraries: readonly string[];
  /** The list that the runtime takes; absent where only the plugin was installed. */
  readonly list?: string;
  readonly isListChanged: boolean;
  readonly why: readonly string[];
  /** The changes of lists, as diff -u prints them. */
  readonly difference: string;
}

/** Somebody who writes the same file all the time is no accident. */
const MAX_TRIES = 5;

export function sha256(text: string): string {
  return createHash('sha256').update(text, 'latin1').digest('hex');
}

function readOwnList(file: string): string {
  try {
    return fs.readFileSync(file, 'latin1');
  } catch (error) {
    throw new Error(`Cannot read the list to install: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

/** What is to change in the runtime's lists. Throws Error with the remedy. */
function planList(
  place: NodeDirectory,
  { list, ownList, socket }: InstallOptions,
  { defaultNetwork }: FoundPlaces,
  receipt: Receipt | undefined,
): Plan {
  const { files, unreadable } = readConfDir(place);
  const here = resolveIn(place.root, place.directory);
  const [bad] = unreadable;
  if (bad !== undefined && list === undefined)
    throw new Error(
      `Cannot use ${path.join(here, bad[0])}: ${bad[1]}; correct it, or name the list to add podpace to with --list`,
    );
  const name = ownList === undefined ? '' : path.basename(ownList);
  const known = receipt?.ownLists.find(
    (one) => one.confDir === place.directory && one.name === name,
  );
  const wishes: Wishes = {
    ...(list !== undefined && { list }),
    ...(defaultNetwork !== undefined && { defaultNetwork }),
    ...(socket !== undefined && { socket }),
    ...(ownList !== undefined && {
      ownList: {
        ...{ name, text: readOwnList(ownList) },
        mayReplace: (text: string) => known?.sha256.includes(sha256(text)) === true,
      },
    }),
  };
  try {
    return planAddition(files, wishes);
  } catch (error) {
    if (!(error instanceof ListError)) throw error;
    throw new Error(`Cannot add podpace to a network list in ${here}: ${error.message}`, {
      cause: error,
    });
  }
}

interface Decided {
  readonly places: FoundPlaces;
  readonly binDir: NodeDirectory;
  readonly confDir: NodeDirectory;
  readonly plugin: PluginPlan;
  readonly libraries: readonly LibraryCopy[];
  readonly plan?: Plan;
  readonly receipt: Receipt | undefined;
}

function decide(options: InstallOptions, places: FoundPlaces): Decided {
  const { root, plugin, isPluginOnly, mayDowngrade } = options;
  const receipt = readReceipt(root);
  const binDir = chooseBinDir(root, places.binDirs);
  const confDir = { root, directory: places.confDir };
  const decided = {
    places,
    binDir,
    confDir,
    receipt,
    plugin: planPlugin(plugin, binDir, mayDowngrade),
    libraries: planLibraries(plugin, root),
  };
  return isPluginOnly ? decided : { ...decided, plan: planList(confDir, options, places, receipt) };
}

function isSamePlace(a: { confDir: string; name: string }, b: typeof a): boolean {
  return a.confDir === b.confDir && a.name === b.name;
}

/** The receipt with what is about to be done. */
function receiptOf(
  { ownList }: InstallOptions,
  { places, binDir, confDir, plugin, libraries, plan, receipt }: Decided,
  release: string,
): Receipt {
  const { plugins = [], confDirs = [], ownLists = [] } = receipt ?? {};
  const former = plugins.find((one) => one.binDir === binDir.directory);
  const isOurs = former?.isOurs === true || plugin.did !== 'there already';
  const given =
    ownList === undefined || plan === undefined
      ? []
      : [{ confDir: confDir.directory, name: plan.list, hash: sha256(readOwnList(ownList)) }];
  const others = ownLists.filter((one) => !given.some((other) => isSamePlace(one, other)));
  return {
    release,
    hasLibraries: receipt?.hasLibraries === true || libraries.length > 0,
    plugins: [...plugins.filter((one) => one !== former), { binDir: binDir.directory, isOurs }],
    // podpaced run --cni-conf-dir adds podpace there where this does not.
    confDirs: [...new Set([...confDirs, confDir.directory])],
    runtime: places.runtime,
    ownLists: [
      ...others,
      ...given.map(({ hash, ...place }) => {
        const known = ownLists.find((one) => isSamePlace(one, place))?.sha256 ?? [];
        return { ...place, sha256: [...known.filter((one) => one !== hash), hash] };
      }),
    ],
  };
}

function resultOf(
  { isDryRun }: InstallOptions,
  { places, confDir, plugin, libraries, plan }: Decided,
): Installed {
  const here = resolveIn(confDir.root, confDir.directory);
  const differences = (plan?.changes ?? []).map(({ name, before, after }) =>
    unifiedDiff(path.join(here, name), before, after),
  );
  return {
    ...{ isDryRun, plugin, libraries: libraries.map(({ file }) => file) },
    ...(plan !== undefined && { list: path.join(here, plan.list) }),
    isListChanged: differences.length > 0,
    why: [...places.why, ...(plan?.why ?? [])],
    // What people read is text.
    difference: Buffer.from(differences.join(''), 'latin1').toString('utf8'),
  };
}

/** Does what was decided, unless the lists have changed since. */
function carryOut(options: InstallOptions, decided: Decided, edges: InstallEdges): void {
  const { reached = () => undefined, release } = edges;
  writeReceipt(options.root, receiptOf(options, decided, release));
  reached('receipt');
  // The plugin may be called as soon as it is there.
  for (const copy of decided.libraries) {
    copyLibrary(copy);
    reached(`library ${path.basename(copy.file)}`);
  }
  if (decided.plugin.did !== 'there already') copyPlugin(decided.plugin);
  reached('plugin');
  for (const change of decided.plan?.changes ?? []) {
    applyChange(decided.confDir, change);
    reached(`list ${change.name}`);
  }
}

/** Throws Error, which names the file and the remedy. Nothing changes when it is done again. */
export async function install(options: InstallOptions, edges: InstallEdges): Promise<Installed> {
  const places = await findPlaces(options);
  // Before anybody waits, and before anything changes.
  const first = decide(options, places);
  if (options.isDryRun) return resultOf(options, first);
  if (!options.isPluginOnly) await edges.requireHelper();
  const { binDir, confDir } = first;
  const directories = (options.isPluginOnly ? [binDir] : [binDir, confDir]).map(
    ({ root, directory }) => resolveIn(root, directory),
  );
  return await withLocks(directories, () => {
    for (const directory of directories) dropFile(path.join(directory, STAGED), '--root');
    for (let tries = 1; ; tries += 1) {
      const decided = decide(options, places);
      try {
        carryOut(options, decided, edges);
        return resultOf(options, decided);
      } catch (error) {
        if (!(error instanceof ChangedMeanwhile)) throw error;
        if (tries === MAX_TRIES)
          throw new Error(`${error.message}, ${MAX_TRIES} times; see who writes it`, {
            cause: error,
          });
      }
    }
  });
}
