// What is to change in a directory of network configurations: from what its files hold to what they
// should hold. Which file counts follows the runtimes: of the regular files named .conf, .conflist
// and .json the first by name (go-cni's loadFromConfDir for containerd, ocicni's loadNetworks for
// CRI-O). Pure; contents are bytes read as latin1.

import path from 'node:path';
import {
  addPodpace,
  ListError,
  listOf,
  namesPodpace,
  pluginTypes,
  removePodpace,
  sourceOf,
  type EntryKeys,
} from './edit.ts';

/** What the files of a directory hold, by their names. */
export type ConfFiles = ReadonlyMap<string, string>;

export interface Change {
  readonly name: string;
  /** Absent: the file is to be made. */
  readonly before?: string;
  /** Absent: the file is to go. */
  readonly after?: string;
}

export interface Plan {
  readonly changes: readonly Change[];
  /** The file that the runtime will take, with podpace in it. */
  readonly list: string;
  /** What was decided, and why, for people. */
  readonly why: readonly string[];
}

/** A list of the operator's to be written as it stands. */
export interface OwnList {
  readonly name: string;
  readonly text: string;
  /** Whether what stands under its name was written by an earlier install. */
  readonly mayReplace: (text: string) => boolean;
}

export interface Wishes extends EntryKeys {
  /** The file to add podpace to, where it is not the runtime's first. */
  readonly list?: string;
  /** Name of the network that the runtime takes, where it has been told one (CRI-O). */
  readonly defaultNetwork?: string;
  readonly ownList?: OwnList;
}

const EXTENSIONS = new Set(['.conf', '.conflist', '.json']);

/** Whether a runtime reads a file of this name. */
export function isConfName(name: string): boolean {
  return EXTENSIONS.has(path.extname(name));
}

/**
 * Name of the list that is made of a single configuration. It comes directly before that, since "-"
 * comes before ".".
 */
function derivedName(source: string): string {
  return `${source.slice(0, -path.extname(source).length)}-podpace.conflist`;
}

function typesOf(text: string): readonly unknown[] {
  try {
    return pluginTypes(text);
  } catch {
    return [];
  }
}

/**
 * Multus hands on to the first other file of its directory. Whatever stands before that and names
 * Multus would have it call itself.
 */
function isMultus(text: string): boolean {
  return typesOf(text).some((type) => type === 'multus' || type === 'multus-shim');
}

function networkName(text: string): unknown {
  try {
    return (JSON.parse(text) as { name?: unknown } | null)?.name;
  } catch {
    return undefined;
  }
}

/**
 * What to know before Cilium takes podpace out: its agent writes its list anew, and unless told
 * otherwise renames those of others (cni.exclusive of its Helm chart, on by default).
 */
function ofCilium(files: ConfFiles, list: string): string[] {
  if (!typesOf(files.get(list) ?? '').includes('cilium-cni')) return [];
  const renamed = [...files.keys()].find((name) => name.endsWith('.cilium_bak'));
  const seen = renamed === undefined ? '' : `, as it has renamed ${renamed}`;
  return [
    `${list} is Cilium's, which takes out what others put there${seen}; set cni.exclusive=false and ` +
      "cni.customConf=true among its Helm chart's values",
  ];
}

interface Chosen {
  readonly name: string;
  readonly why: string;
}

function choose(files: ConfFiles, { list, defaultNetwork }: Wishes): Chosen {
  // Those that podpace has made of others stand for them.
  const names = [...files.keys()]
    .filter((name) => isConfName(name) && sourceOf(files.get(name) ?? '') === undefined)
    .toSorted();
  if (list !== undefined) {
    if (names.includes(list)) return { name: list, why: 'it was named' };
    throw new ListError(
      `there is no ${list}: there ${names.length === 0 ? 'is no network list' : `are ${names.join(', ')}`}`,
    );
  }
  const [first, second] = names;
  if (first === undefined)
    throw new ListError(
      'there is no network list: install a main plugin first, or give one with --own-list',
    );
  const named = names.find(
    (name) => defaultNetwork !== undefined && networkName(files.get(name) ?? '') === defaultNetwork,
  );
  if (named !== undefined)
    return { name: named, why: `it is of the network "${defaultNetwork}", which CRI-O takes` };
  if (second !== undefined && isMultus(files.get(first) ?? ''))
    return { name: second, why: `${first} is Multus, which hands on to it` };
  const others = names.length === 1 ? 'the only one' : `the first by name of ${names.length}`;
  return { name: first, why: `it is ${others}, which the runtime takes` };
}

function failure(name: string, error: unknown, remedy: string): ListError {
  const { message } = error as Error;
  return new ListError(`${name} cannot be used: ${message}${remedy}`);
}

const OTHER_LIST = '; correct it, or name another file with --list';

/** Lists that podpace has made, of which file, and how each goes. */
function ownLists(files: ConfFiles): { readonly of: string; readonly change: Change }[] {
  return [...files].flatMap(([name, before]) => {
    const of = sourceOf(before);
    if (of === undefined) return [];
    const after = removePodpace(before);
    return [{ of, change: { name, before, ...(after !== undefined && { after }) } }];
  });
}

/** Those of a file that is not the one to be followed any more. */
function staleLists(files: ConfFiles, source: string): Change[] {
  return ownLists(files)
    .filter(({ of }) => of !== source)
    .map(({ change }) => change);
}

/** Lists that podpace has made of files that are gone: whoever has made those wants them gone. */
export function orphanedLists(files: ConfFiles): readonly Change[] {
  return ownLists(files)
    .filter(({ of }) => !files.has(of))
    .map(({ change }) => change);
}

function planOwnList(files: ConfFiles, { name, text, mayReplace }: OwnList): Plan {
  if (path.extname(name) !== '.conflist')
    throw new ListError(`${name} cannot be used: its name must end in .conflist`);
  if (!namesPodpace(text)) throw new ListError(`${name} cannot be used: podpace is not in it`);
  const [first] = [...files.keys()].filter((other) => isConfName(other)).toSorted();
  if (first !== undefined && first < name)
    throw new ListError(
      `${name} would not be taken: ${first} comes before it; give it another name, or take that file away`,
    );
  const before = files.get(name);
  if (before === text)
    return { changes: [], list: name, why: [`${name}: it stands there already`] };
  if (before !== undefined && !mayReplace(before))
    throw new ListError(
      `${name} is there already, and was not installed by podpaced: take it away, or give the list another name`,
    );
  const change = { name, after: text, ...(before !== undefined && { before }) };
  return { changes: [change], list: name, why: [`${name}: the list that was given`] };
}

function planDerived(files: ConfFiles, { name, why }: Chosen, keys: EntryKeys): Plan {
  const list = derivedName(name);
  const before = files.get(list);
  let after: string;
  try {
    after = listOf(files.get(name) ?? '', name, keys);
  } catch (error) {
    throw failure(name, error, OTHER_LIST);
  }
  if (before !== undefined && sourceOf(before) !== name)
    throw new ListError(
      `${list} is there already, and was not installed by podpaced: take it away`,
    );
  const reasons = [
    `${list}: made of ${name}, since ${why}; a single configuration, which stays as it is`,
    ...ofCilium(files, name),
  ];
  // What others have added to it stays.
  const isCurrent =
    before !== undefined &&
    (before === after ||
      (typesOf(before).length > 2 && before.includes(files.get(name)?.trim() ?? '')));
  if (isCurrent) return { changes: [], list, why: [`${list}: podpace is in it already`] };
  return {
    changes: [{ name: list, ...(before !== undefined && { before }), after }],
    list,
    why: reasons,
  };
}

/**
 * How podpace gets into the list that the runtime takes. Nothing changes when it is done again.
 * Throws ListError, which names the file and the remedy.
 */
export function planAddition(files: ConfFiles, wishes: Wishes): Plan {
  if (wishes.ownList !== undefined) return planOwnList(files, wishes.ownList);
  const chosen = choose(files, wishes);
  const { name, why } = chosen;
  if (path.extname(name) !== '.conflist') {
    const plan = planDerived(files, chosen, wishes);
    return { ...plan, changes: [...plan.changes, ...staleLists(files, name)] };
  }
  const before = files.get(name) ?? '';
  try {
    const { text: after, did } = addPodpace(before, wishes);
    const stale = staleLists(files, name);
    const known = ofCilium(files, name);
    if (did === 'there already')
      return { changes: stale, list: name, why: [`${name}: podpace is in it already`, ...known] };
    const how =
      did === 'added'
        ? 'podpace comes behind its last plugin'
        : 'podpace comes in the place of "bandwidth", since both would shape every pod twice; uninstall gives it back';
    const changes = [{ name, before, after }, ...stale];
    return { changes, list: name, why: [`${name}: ${how}; ${why}`, ...known] };
  } catch (error) {
    throw failure(name, error, OTHER_LIST);
  }
}

export interface Removal {
  readonly changes: readonly Change[];
  /** What stays although podpace is in it. */
  readonly notes: readonly string[];
}

/**
 * How all that was installed is taken out again, of every file: others may have renamed one.
 * `isOwnList`: whether a file is the list that was given, as it was written.
 */
export function planRemoval(
  files: ConfFiles,
  isOwnList: (name: string, text: string) => boolean,
): Removal {
  const changes: Change[] = [];
  const notes: string[] = [];
  for (const [name, before] of [...files].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
    if (isOwnList(name, before)) {
      changes.push({ name, before });
      continue;
    }
    let after: string | undefined = before;
    try {
      after = removePodpace(before);
    } catch {
      if (isConfName(name) && before.includes('"podpace"'))
        notes.push(`${name} is not JSON, and seems to name podpace: take it out by hand`);
    }
    if (after !== before) changes.push({ name, before, ...(after !== undefined && { after }) });
    if (after !== undefined && isConfName(name) && namesPodpace(after))
      notes.push(`${name} names podpace, which podpaced has not put there as it stands: it stays`);
  }
  return { changes, notes };
}
