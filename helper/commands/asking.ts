// What the commands that ask the helper share: through its socket, with --json, about pods that are
// named in few words.

import net from 'node:net';
import { askHelper, HelperError } from '../protocol/client.ts';
import {
  keyOf,
  type AttachmentKey,
  type CountersResult,
  type ListParams,
  type ListResult,
  type Method,
  type Methods,
  type PodNames,
  type UncappedResult,
} from '../protocol/messages.ts';
import { nameOf, podNamesOf } from '../protocol/pod-names.ts';
import { describeSelection, selectAttachment, type Candidate } from '../select.ts';
import { watch, WATCH_EDGES, type Round, type WatchEdges, type WatchFlag } from './watch.ts';

/** The edges of the process, so that the whole CLI runs in a test. */
export interface CliEdges {
  /** False when nobody reads any more; anything else goes on. */
  readonly stdout: (text: string) => unknown;
  readonly stderr: (text: string) => void;
  readonly watching?: WatchEdges;
}

export interface QueryOptions {
  readonly socket: string;
  readonly json?: true;
  readonly watch?: WatchFlag;
}

const CALL_DEADLINE_MS = 10_000;

export function ask<M extends Method>(
  socketPath: string,
  method: M,
  params: Methods[M]['params'],
): Promise<Methods[M]['result']> {
  const edges = { connect: async (path: string) => net.connect(path) };
  return askHelper(edges, socketPath, method, params, { deadlineMs: CALL_DEADLINE_MS });
}

export function print(
  edges: CliEdges,
  isJson: boolean | undefined,
  result: object,
  text: () => string,
): void {
  edges.stdout(`${isJson === true ? JSON.stringify(result, undefined, 2) : text()}\n`);
}

/** Prints what was asked for, once or until it is ended. */
export async function show(
  edges: CliEdges,
  { json, watch: every }: QueryOptions,
  round: Round,
): Promise<void> {
  const isJson = json === true;
  if (every !== undefined)
    return watch({ every, isJson }, edges, edges.watching ?? WATCH_EDGES, round);
  const { result, text } = await round();
  print(edges, json, result, text);
}

/** All pages of an answer that comes in pages. */
async function pagesOf<P extends { readonly next?: string }>(
  askPage: (params: ListParams) => Promise<P>,
): Promise<P[]> {
  const pages = [await askPage({})];
  for (let after = pages[0]?.next; after !== undefined; after = pages.at(-1)?.next)
    pages.push(await askPage({ after }));
  return pages;
}

export async function listAll(socket: string): Promise<ListResult> {
  const pages = await pagesOf((params) => ask(socket, 'list', params));
  return { attachments: pages.flatMap(({ attachments }) => attachments) };
}

export async function countersOfAll(socket: string, perCpu: boolean): Promise<CountersResult> {
  const pages = await pagesOf((params) => ask(socket, 'counters', { ...params, perCpu }));
  return { attachments: pages.flatMap(({ attachments }) => attachments) };
}

export type Uncapped = Omit<UncappedResult, 'next'>;

/** All pods without a cap. */
async function uncappedAll(socket: string): Promise<Uncapped> {
  const pages = await pagesOf((params) => ask(socket, 'uncapped', params));
  return {
    uncapped: pages.flatMap(({ uncapped }) => uncapped),
    unknown: pages.flatMap(({ unknown }) => unknown),
  };
}

/** The same; undefined where the helper is of a release that keeps no record of them. */
export async function uncappedIfKnown(socket: string): Promise<Uncapped | undefined> {
  try {
    return await uncappedAll(socket);
  } catch (error) {
    if (error instanceof HelperError && error.failure === 'bad-request') return undefined;
    throw error;
  }
}

/** Capped pods, and those without a cap where the helper knows them. One that was just capped is so. */
export async function allPods(
  socket: string,
): Promise<Record<'capped' | 'uncapped', readonly Candidate[]>> {
  const { attachments: capped } = await listAll(socket);
  const { uncapped = [] } = (await uncappedIfKnown(socket)) ?? {};
  const known = new Set(capped.map(keyOf));
  return { capped, uncapped: uncapped.filter((pod) => !known.has(keyOf(pod))) };
}

/** One of these pods, in few words; a note where the name is that of more. */
export function select(
  pods: readonly Candidate[],
  selector: string,
  edges: CliEdges,
  isPreferred?: (pod: Candidate) => boolean,
): { readonly key: AttachmentKey; readonly pod: PodNames } {
  const selected = selectAttachment(selector, pods, isPreferred);
  const { containerId, ifname } = selected.attachment;
  const note = describeSelection(selected);
  if (note !== undefined) edges.stderr(`podpaced: ${note}\n`);
  return { key: { containerId, ifname }, pod: podNamesOf(selected.attachment) };
}

export const POD = 'pod[/interface]';
export const POD_IS = 'a pod is NAMESPACE/NAME, or the id of its container or its beginning';

/**
 * The capped pod that a selector means. Throws an Error where that is one without a cap, although an
 * older sandbox of the same name may have one.
 */
export async function selectCapped(
  socket: string,
  selector: string,
  edges: CliEdges,
): Promise<AttachmentKey> {
  const { capped, uncapped } = await allPods(socket);
  const isCapped = (pod: Candidate): boolean => capped.includes(pod);
  const { key, pod } = select([...capped, ...uncapped], selector, edges, isCapped);
  if (capped.some((one) => keyOf(one) === keyOf(key))) return key;
  const name = nameOf({ ...key, ...pod });
  throw new Error(
    `Cannot count what ${name} sends and receives: it has no cap; give it one by set`,
  );
}
