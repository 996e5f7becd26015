// From a message to what the shaper does, and back.

import { PROTOCOL_VERSION, type Methods, type Response, type StatusResult } from './protocol/messages.ts';
import { parseRequest, ShapeError, versionOf, type ParsedRequest } from './protocol/validate.ts';
import type { Handler } from './server.ts';
import { toProtocolError } from './shaping/failure.ts';
import type { Shaper } from './shaping/shaper.ts';

/** What the handler needs besides the shaper. */
export interface HandlerContext {
  readonly shaper: Shaper;
  readonly version: string;
  readonly kernel: string;
  readonly horizonNs: number;
  readonly startedAt: Date;
  readonly probe: () => Promise<Methods['probe']['result']>;
  /** Ends the helper after the answer has gone out. */
  readonly stop: () => void;
  readonly log: (level: 'info' | 'warn' | 'error', message: string) => void;
}

/** A node on which everything is wrong must still fit into one message. */
const MAX_PROBLEMS = 50;

function shorten(problems: readonly string[]): string[] {
  const rest = problems.length - MAX_PROBLEMS;
  const shown = problems.slice(0, MAX_PROBLEMS).map((problem) => problem.slice(0, 500));
  return rest > 0 ? [...shown, `and ${rest} more, see podpaced list`] : shown;
}

async function statusOf(context: HandlerContext): Promise<StatusResult> {
  const { exits, problems, attachments } = await context.shaper.status();
  return {
    version: context.version,
    protocolVersion: PROTOCOL_VERSION,
    kernel: context.kernel,
    state: problems.length === 0 ? 'ok' : 'degraded',
    problems: shorten(problems),
    exits,
    attachments,
    horizonNs: context.horizonNs,
    startedAt: context.startedAt.toISOString(),
  };
}

async function perform(
  request: ParsedRequest,
  context: HandlerContext,
): Promise<Methods[keyof Methods]['result']> {
  const { shaper } = context;
  switch (request.method) {
    case 'attach':
      await shaper.attach(request.params);
      return { degraded: [] };
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
    case 'probe':
      return context.probe();
    case 'uninstall': {
      const result = await shaper.uninstall();
      context.stop();
      return result;
    }
  }
}

/** The helper's answer to any message, wrong ones included. */
export function createHandler(context: HandlerContext): Handler {
  return async (message): Promise<Response> => {
    try {
      const version = versionOf(message);
      if (version !== PROTOCOL_VERSION) {
        const text = `podpaced speaks protocol version ${PROTOCOL_VERSION}, the caller ${version}`;
        const remedy = 'install podpace and podpaced of the same release';
        return { version: PROTOCOL_VERSION, error: { code: 'protocol-version', message: text, remedy } };
      }
      return { version: PROTOCOL_VERSION, result: await perform(parseRequest(message), context) };
    } catch (error) {
      if (error instanceof ShapeError) {
        return { version: PROTOCOL_VERSION, error: { code: 'bad-request', message: error.message } };
      }
      const answer = toProtocolError(error);
      context.log('error', answer.message);
      return { version: PROTOCOL_VERSION, error: answer };
    }
  };
}
