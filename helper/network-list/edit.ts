// podpace's entry in a network list: added and taken out as changes of the text, so that nothing
// else of it changes and taking out what was added gives the same bytes again. Which entries are
// the installer's is said in the entry itself, since the file may be rewritten, renamed or restored
// by others, with the entry in it. Pure; texts may be bytes read as latin1.

import { SUPPORTED_VERSIONS } from '../../cni/types.ts';
import { show } from '../wire/show.ts';
import {
  gapBefore,
  memberLike,
  memberOf,
  parseJsonText,
  splice,
  valueOf,
  type JsonMember,
  type JsonNode,
} from './json-text.ts';

/** A configuration that podpace cannot be added to; the message begins behind the file's name. */
export class ListError extends Error {
  override readonly name = 'ListError';
}

const PODPACE = 'podpace';
const BANDWIDTH = 'bandwidth';

/** Key of podpace's entry that says how it came there; the plugin ignores it. */
const MARK = 'installed';
const ADDED = 'added';
const INSTEAD = 'instead of bandwidth';
/** The same where `socket` was added, too. */
const INSTEAD_WITH_SOCKET = `${INSTEAD}, with socket`;
/** Of an entry in a list of podpace's own that was made of a single configuration. */
const MADE_OF = 'list of ';

/** Keys of the entry besides its type and mark. */
export interface EntryKeys {
  /** The helper's socket where it is not the usual one. */
  readonly socket?: string;
}

interface Entry {
  readonly node: JsonNode;
  readonly type: JsonMember | undefined;
  readonly typeName: unknown;
  readonly mark: JsonMember | undefined;
  readonly markText: unknown;
}

function entryOf(text: string, node: JsonNode): Entry {
  const [type, mark] = [memberLike(node, 'type'), memberOf(node, MARK)];
  return {
    ...{ node, type, mark },
    typeName: type && valueOf(text, type.node),
    markText: mark && valueOf(text, mark.node),
  };
}

/** The entries of a list; undefined for a configuration that is none. Throws SyntaxError. */
function entriesOf(text: string): readonly Entry[] | undefined {
  const plugins = memberOf(parseJsonText(text), 'plugins')?.node.elements;
  return plugins?.map((node) => entryOf(text, node));
}

function isMarked({ typeName, markText }: Entry): boolean {
  return typeName === PODPACE && typeof markText === 'string';
}

/** Whether a file is a list with podpace in it, whoever has put it there. */
export function namesPodpace(text: string): boolean {
  try {
    const root = parseJsonText(text);
    const entries = entriesOf(text) ?? [entryOf(text, root)];
    return entries.some(({ typeName }) => typeName === PODPACE);
  } catch {
    return false;
  }
}

/** Types of the plugins of a list or single configuration, in order. Throws SyntaxError. */
export function pluginTypes(text: string): readonly unknown[] {
  const entries = entriesOf(text) ?? [entryOf(text, parseJsonText(text))];
  return entries.map(({ typeName }) => typeName);
}

/** Name of the file that a list of podpace's own was made of; undefined for every other file. */
export function sourceOf(text: string): string | undefined {
  try {
    const marks = (entriesOf(text) ?? []).filter(isMarked).map(({ markText }) => String(markText));
    return marks.find((mark) => mark.startsWith(MADE_OF))?.slice(MADE_OF.length);
  } catch {
    return undefined;
  }
}

/** Refuses versions of CNI that podpace does not speak: every pod would fail. */
function requireVersion(text: string, root: JsonNode): void {
  const named = [memberOf(root, 'cniVersions')?.node, memberOf(root, 'cniVersion')?.node].map(
    (node) => node && valueOf(text, node),
  );
  const versions = named.flat().filter((version) => typeof version === 'string');
  // Runtimes take the highest that they know.
  const highest = versions.toSorted((a, b) => a.localeCompare(b, 'en', { numeric: true })).at(-1);
  if (SUPPORTED_VERSIONS.some((version) => version === highest)) return;
  throw new ListError(
    `it is of CNI ${highest === undefined ? '0.1.0 (it has no "cniVersion")' : show(highest)}, and podpace ` +
      `speaks ${SUPPORTED_VERSIONS[0]} to ${SUPPORTED_VERSIONS.at(-1)}`,
  );
}

/** The root object of a configuration. Throws ListError. */
function requireObject(text: string): JsonNode {
  let root: JsonNode;
  try {
    root = parseJsonText(text);
  } catch (error) {
    throw new ListError(`it is not JSON: ${(error as Error).message}`);
  }
  if (root.members === undefined) throw new ListError('it is no JSON object');
  return root;
}

/** In ASCII: what is around it may be bytes. */
function json(value: unknown, indent?: number | string): string {
  return JSON.stringify(value, undefined, indent).replaceAll(
    /[^\t\n\x20-\x7e]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

function newEntry({ socket }: EntryKeys, mark: string): object {
  const capabilities = { bandwidth: true };
  return { type: PODPACE, capabilities, ...(socket !== undefined && { socket }), [MARK]: mark };
}

/** What indents the line that a place stands on. */
function indentAt(text: string, at: number): string {
  const line = text.slice(text.lastIndexOf('\n', at - 1) + 1, at);
  return /^[ \t]*/.exec(line)?.[0] ?? '';
}

/** An entry in the style of one that is there. */
function inStyleOf(text: string, { start, end, members }: JsonNode, entry: object): string {
  const sample = text.slice(start, end);
  if (!sample.includes('\n')) {
    const isSpaced = sample.startsWith('{ ');
    return isSpaced ? json(entry, 1).replaceAll(/\n */g, ' ') : json(entry);
  }
  const [outer, inner] = [indentAt(text, start), indentAt(text, members?.[0]?.start ?? start)];
  const unit = inner.startsWith(outer) && inner !== outer ? inner.slice(outer.length) : '  ';
  const newline = sample.includes('\r\n') ? '\r\n' : '\n';
  return json(entry, unit).replaceAll('\n', newline + outer);
}

export type Addition = 'added' | 'instead of bandwidth' | 'there already';

/**
 * A list with podpace in it: behind the last plugin, or in the place of `bandwidth`, whose keys it
 * takes; both would shape every pod twice. Throws ListError where it cannot be added.
 */
export function addPodpace(
  text: string,
  keys: EntryKeys,
): { readonly text: string; readonly did: Addition } {
  const root = requireObject(text);
  const entries = entriesOf(text);
  if (entries === undefined) throw new ListError('it is no list: it has no "plugins"');
  const last = entries.at(-1);
  if (last === undefined) throw new ListError('its "plugins" are none');
  for (const { typeName } of entries)
    if (typeof typeName !== 'string' || typeName === '')
      throw new ListError(`one of its plugins has ${show(typeName)} as its type`);
  const shapers = entries.filter(({ typeName }) => typeName === BANDWIDTH);
  const isThere = entries.some(({ typeName }) => typeName === PODPACE);
  if (shapers.length > (isThere ? 0 : 1))
    throw new ListError(
      `it has the plugin "bandwidth" ${isThere ? 'beside podpace' : 'twice'}, so pods would be shaped twice: take ` +
        '"bandwidth" out of it',
    );
  if (isThere) return { text, did: 'there already' };
  requireVersion(text, root);
  const [shaper] = shapers;
  if (shaper !== undefined) return { text: replaceType(text, shaper, keys), did: INSTEAD };
  const entry = inStyleOf(text, last.node, newEntry(keys, ADDED));
  const addition = `,${gapBefore(text, last.node.start)}${entry}`;
  return { text: splice(text, last.node.end, last.node.end, addition), did: ADDED };
}

/** `"type": "bandwidth"` becomes podpace's, with what is to be added behind it. */
function replaceType(text: string, { type }: Entry, { socket }: EntryKeys): string {
  if (type === undefined) return text;
  const { node, start } = type;
  const gap = gapBefore(text, start);
  // Whatever stands between the key and its value.
  const colon = text.slice(start + text.slice(start).indexOf('"', 1) + 1, node.start);
  const added =
    socket === undefined ? { [MARK]: INSTEAD } : { [MARK]: INSTEAD_WITH_SOCKET, socket };
  const members = Object.entries(added).map(
    ([key, value]) => `,${gap}${json(key)}${colon}${json(value)}`,
  );
  return splice(text, node.start, node.end, json(PODPACE) + members.join(''));
}

/** Takes a member out, with the comma before it, or behind it where it is the first. */
function withoutMember(text: string, { members = [] }: JsonNode, member: JsonMember): string {
  const index = members.indexOf(member);
  const [before, after] = [members[index - 1], members[index + 1]];
  if (before !== undefined) return splice(text, before.node.end, member.node.end);
  return splice(text, member.start, after === undefined ? member.node.end : after.start);
}

function withoutElement(text: string, all: readonly Entry[], index: number): string {
  const [before, entry, after] = [all[index - 1], all[index], all[index + 1]];
  if (entry === undefined) return text;
  if (before !== undefined) return splice(text, before.node.end, entry.node.end);
  return splice(text, entry.node.start, after === undefined ? entry.node.end : after.node.start);
}

/** Gives `bandwidth` its entry back. */
function giveBack(text: string, indexOfEntry: number): string {
  const find = (changed: string): Entry | undefined => entriesOf(changed)?.[indexOfEntry];
  const added = find(text)?.markText === INSTEAD_WITH_SOCKET ? ['socket', MARK] : [MARK];
  let changed = text;
  for (const key of added) {
    const entry = find(changed);
    const member = entry && memberOf(entry.node, key);
    if (entry !== undefined && member !== undefined)
      changed = withoutMember(changed, entry.node, member);
  }
  const type = find(changed)?.type;
  if (type === undefined) return changed;
  return splice(changed, type.node.start, type.node.end, json(BANDWIDTH));
}

/**
 * A list without the entries that were installed; the same text where there is none, or nothing
 * else. Undefined for a list of podpace's own: the file is to go. Throws SyntaxError.
 */
export function removePodpace(text: string): string | undefined {
  const entries = entriesOf(text);
  const index = entries?.findLastIndex(isMarked) ?? -1;
  const entry = entries?.[index];
  if (entries === undefined || entry === undefined) return text;
  const mark = String(entry.markText);
  if (mark.startsWith(INSTEAD)) return removePodpace(giveBack(text, index));
  if (mark.startsWith(MADE_OF) && entries.length <= 2) return undefined;
  if (entries.length === 1) return text;
  return removePodpace(withoutElement(text, entries, index));
}

/**
 * A list of podpace's own that is a single configuration (`.conf`, `.json`) with podpace behind it:
 * runtimes take a file for a list by its name, and somebody else's file is not renamed. Throws
 * ListError.
 */
export function listOf(text: string, source: string, keys: EntryKeys): string {
  const root = requireObject(text);
  const type = memberLike(root, 'type');
  if (type === undefined) throw new ListError('it is no network configuration: it has no "type"');
  if (valueOf(text, type.node) === PODPACE)
    throw new ListError('podpace is its plugin already: nothing can be added');
  if (valueOf(text, type.node) === BANDWIDTH)
    throw new ListError('"bandwidth" alone gives pods no network');
  requireVersion(text, root);
  const [name, cniVersion] = ['name', 'cniVersion'].map((key) => memberOf(root, key)?.node);
  const raw = (node: JsonNode): string => text.slice(node.start, node.end);
  if (name === undefined) throw new ListError('it is no network configuration: it has no "name"');
  const lines = [
    ...(cniVersion === undefined ? [] : [`  "cniVersion": ${raw(cniVersion)},`]),
    `  "name": ${raw(name)},`,
    '  "plugins": [',
    `    ${raw(root)},`,
    `    ${json(newEntry(keys, MADE_OF + source))}`,
    '  ]',
  ];
  return `{\n${lines.join('\n')}\n}\n`;
}
