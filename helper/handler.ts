// From a message to what the shaper does, and back.

import type {
  AttachmentKey,
  EffectiveCap,
  ExitStatus,
  Methods,
  PodNames,
  ProbeItem,
  ProtocolError,
  Response,
  SetParams,
  SetResult,
  StatusResult,
} from './protocol/messages.ts';
import { cutToFit, shorten } from './protocol/cut.ts';
import { MAX_MESSAGE_BYTES } from './protocol/frame.ts';
import { parseRequest, versionOf, type ParsedRequest } from './protocol/requests.ts';
import { ShapeError } from './protocol/shape.ts';
import { remedies } from './protocol/remedies.ts';
import {
  answerVersion,
  describeVersions,
  isServed,
  PROTOCOL,
  unknownNeeds,
} from './protocol/versions.ts';
import { errorResponse, type Handler } from './connection.ts';
import { about, nameOf } from './protocol/pod-names.ts';
import { toProtocolError } from './shaping/failure.ts';
import type { NodeDefaults } from './shaping/rates.ts';
import type { Shaper } from './control/shaper.ts';
import type { Log } from './log.ts';
import type { Tallies } from './tallies.ts';
import { formatRate } from './shaping/units.ts';
import { show } from './wire/show.ts';

/** What the handler needs besides the shaper. */
export interface HandlerContext {
  readonly shaper: Shaper;
  readonly version: string;
  readonly kernel: string;
  readonly defaults: NodeDefaults;
  readonly startedAt: Date;
  /** The items of `probe` that do not hang on what the shaper sees. */
  readonly features: () => readonly ProbeItem[];
  readonly probe: () => Promise<Methods['probe']['result']>;
  /** What `status` says besides what the shaper sees. */
  readonly notices?: () => readonly string[];
  readonly tallies?: Pick<Tallies, 'countRequest'>;
  /** Is called before everything is taken off the node. */
  readonly beforeUninstall?: () => Promise<void>;
  /** Ends the helper after the answer has gone out, and has what it left taken away. */
  readonly stop: (extent: { readonly forget: boolean }) => void;
  readonly log: Log;
}

/** `podpaced list` has them all, with the reasons. */
const MAX_NOT_ENFORCED = 100;

/** A node has an exit into each of its pods: the others come first, and those with problems. */
const MAX_EXITS = 100;
/** One for each queue, perhaps. */
const MAX_EXIT_PROBLEMS = 5;

function shortenExits(exits: readonly ExitStatus[]): Pick<StatusResult, 'exits' | 'moreExits'> {
  const isDull = ({ role, problems }: ExitStatus): boolean =>
    role === 'pod' && problems.length === 0;
  const sorted = exits.toSorted((a, b) => Number(isDull(a)) - Number(isDull(b)));
  const shown = sorted
    .slice(0, MAX_EXITS)
    .map((exit) => ({ ...exit, problems: shorten(exit.problems, MAX_EXIT_PROBLEMS) }));
  return { exits: shown, moreExits: Math.max(0, exits.length - MAX_EXITS) };
}

async function statusOf(context: HandlerContext): Promise<StatusResult> {
  const { exits, uplink, nodeTraffic, problems, notices, attachments, notEnforced } =
    await context.shaper.status();
  const leftOut = notEnforced.length - MAX_NOT_ENFORCED;
  return {
    version: context.version,
    protocolVersion: PROTOCOL.most,
    kernel: context.kernel,
    features: [...context.features(), uplink],
    state: problems.length === 0 ? 'ok' : 'degraded',
    problems: shorten(problems),
    notices: shorten([...notices, ...(context.notices?.() ?? [])]),
    ...shortenExits(exits),
    attachments,
    notEnforced: notEnforced.slice(0, MAX_NOT_ENFORCED),
    ...(leftOut > 0 && { moreNotEnforced: leftOut }),
    nodeTraffic,
    ...context.defaults,
    startedAt: context.startedAt.toISOString(),
  };
}

function describeSet(params: SetParams, { before, after, ...pod }: SetResult): string {
  const rateOf = (cap: EffectiveCap | undefined): string =>
    cap === undefined ? 'no cap' : formatRate(cap.rateBitsPerSec);
  return `Set ${params.direction} of ${nameOf({ ...params, ...pod })}: ${rateOf(before)} to ${rateOf(after)}, changed by hand: ${
    after?.changed.join(', ') ?? ''
  }`;
}

async function perform(
  request: ParsedRequest,
  context: HandlerContext,
): Promise<Methods[keyof Methods]['result']> {
  const { shaper } = context;
  switch (request.method) {
    case 'attach':
      return { degraded: [], ...(await shaper.attach(request.params)) };
    case 'detach':
      await shaper.detach(request.params);
      return {};
    case 'check':
      await shaper.check(request.params);
      return {};
    case 'gc':
      return { removed: await shaper.gc(request.params) };
    case 'status':
      return statusOf(context);
    case 'list':
      return shaper.list(request.params);
    case 'explain':
      return shaper.explain(request.params);
    case 'uncapped':
      return shaper.uncapped(request.params);
    case 'set': {
      const result = await shaper.set(request.params);
      context.log('info', describeSet(request.params, result), shaper.named(request.params));
      return result;
    }
    case 'counters':
      return shaper.counters(request.params);
    case 'history':
      return shaper.history(request.params);
    case 'probe':
      return context.probe();
    case 'uninstall': {
      const { forget = false } = request.params;
      await context.beforeUninstall?.();
      const result = await shaper.uninstall(forget);
      context.stop({ forget });
      return result;
    }
  }
}

/**
 * The helper's answer to any message, wrong ones included; it fits into a message whatever the node
 * is like.
 */
export function createHandler(context: HandlerContext): Handler {
  const answer = answerer(context);
  return async (message) => cutToFit(await answer(message), MAX_MESSAGE_BYTES - 1);
}

/** Why a message cannot be answered although it may be a request; undefined when it can. */
function refusalOf(message: unknown): ProtocolError | undefined {
  const caller = 'the executable that asked';
  const version = versionOf(message);
  if (!isServed(version)) {
    const served = describeVersions(PROTOCOL);
    const isOlder = version < PROTOCOL.least;
    return {
      code: 'protocol-version',
      message: `podpaced serves protocol version ${served}, the caller speaks ${version}`,
      remedy: isOlder ? remedies.newerCaller(caller) : remedies.newerHelper(caller),
      serves: PROTOCOL,
    };
  }
  const unknown = unknownNeeds((message as Record<string, unknown>)['needs']);
  if (unknown.length === 0) return undefined;
  return {
    code: 'unknown-need',
    message: `the request needs ${unknown.map(show).join(' and ')}, which this podpaced does not know`,
    remedy: remedies.newerHelper(caller),
  };
}

/** The attachment that a request is about; undefined of one that is about none, or about all. */
function subjectOf({ method, params }: ParsedRequest): (AttachmentKey & PodNames) | undefined {
  if (method === 'counters') return params.only;
  return method === 'attach' ||
    method === 'detach' ||
    method === 'check' ||
    method === 'set' ||
    method === 'history' ||
    method === 'explain'
    ? params
    : undefined;
}

/**
 * What a request failed for: logged, and answered, with the attachment that it is about. What ADD
 * is answered may become the reason of a wish, which has the name beside it: there without.
 */
function failureOf(request: ParsedRequest, error: unknown, context: HandlerContext): ProtocolError {
  const failure = toProtocolError(error);
  const subject = subjectOf(request);
  const named = subject && context.shaper.named(subject);
  const message = named === undefined ? failure.message : about(named, failure.message);
  context.log('error', message, named);
  return request.method === 'attach' ? failure : { ...failure, message };
}

function answerer(context: HandlerContext): Handler {
  return async (message): Promise<Response> => {
    let request: ParsedRequest;
    try {
      const refusal = refusalOf(message);
      if (refusal !== undefined) return errorResponse(message, refusal);
      request = parseRequest(message);
    } catch (error) {
      if (error instanceof ShapeError)
        return errorResponse(message, { code: 'bad-request', message: error.message });
      throw error;
    }
    const { method } = request;
    try {
      const result = await perform(request, context);
      context.tallies?.countRequest(method, 'ok');
      return { version: answerVersion(message), result };
    } catch (error) {
      const failure = failureOf(request, error, context);
      context.tallies?.countRequest(method, failure.code);
      return errorResponse(message, failure);
    }
  };
}
