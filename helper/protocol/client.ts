// The helper as its callers see it: one request, one answer, one connection, one deadline.
// Everything that can go wrong on the way becomes one error that names the socket, the cause and
// what to do.

import type { Socket } from 'node:net';
import { show } from '../wire/show.ts';
import { encodeLine, FrameError, LineReader } from './frame.ts';
import {
  PROTOCOL_VERSION,
  protocolError,
  type Method,
  type Methods,
  type ProtocolError,
  type Request,
} from './messages.ts';
import { remedies } from './remedies.ts';
import { anyObject, list, object, ShapeError, string, type Reader } from './shape.ts';

/**
 * What went wrong: nothing listens at the socket, or it cannot be connected to; no answer in time;
 * the connection ended without one; the answer is none of this protocol; or what the helper has
 * answered.
 */
export type HelperFailure =
  'absent' | 'unreachable' | 'silent' | 'closed' | 'garbled' | ProtocolError['code'];

/** A request that did not get its result. */
export class HelperError extends Error {
  override readonly name = 'HelperError';
  readonly failure: HelperFailure;
  /** What to do. */
  readonly remedy: string | undefined;
  /**
   * The helper's own words where it has answered, without where it was asked and for what; else the
   * message.
   */
  readonly reason: string;

  constructor(
    failure: HelperFailure,
    message: string,
    remedy: string | undefined,
    reason = message,
  ) {
    super(message);
    this.failure = failure;
    this.remedy = remedy;
    this.reason = reason;
  }

  /** True when nothing listens at the socket: no request can have had an effect. */
  get isAbsent(): boolean {
    return this.failure === 'absent';
  }
}

/** How a socket is reached: a unix stream socket on its way to being connected. */
export interface Connector {
  connect(path: string): Promise<Socket>;
}

/** What a request is for, in words that follow "Cannot". */
const PURPOSES: Readonly<Record<Method, string>> = {
  attach: 'attach',
  detach: 'detach',
  check: 'check the caps',
  gc: 'remove stale attachments',
  status: 'get the status',
  list: 'list the capped pods',
  uncapped: 'list the pods without a cap',
  set: 'change the cap',
  counters: 'get the counters',
  probe: 'probe the node',
  uninstall: 'uninstall',
};

function cannot(method: Method, socketPath: string, why: string): string {
  return `Cannot ${PURPOSES[method]} through the helper at ${socketPath}: ${why}`;
}

/** How long a request may take. */
export interface Patience {
  /** For everything: connecting, sending, the answer. */
  readonly deadlineMs: number;
  /** Ends the request at once, with its reason. */
  readonly signal?: AbortSignal;
}

function connectError(socketPath: string, error: NodeJS.ErrnoException): HelperError {
  const isAbsent = error.code === 'ENOENT' || error.code === 'ECONNREFUSED';
  const cause = isAbsent ? 'no helper listens there' : 'connecting failed';
  return new HelperError(
    isAbsent ? 'absent' : 'unreachable',
    `Cannot reach the helper at ${socketPath}: ${cause} (${error.code ?? error.message})`,
    remedies.startHelper,
  );
}

function silent(socketPath: string, method: Method, deadlineMs: number): HelperError {
  return new HelperError(
    'silent',
    cannot(method, socketPath, `no answer within ${deadlineMs} ms`),
    'see the log of podpaced; restart it if it hangs (caps go on being enforced meanwhile)',
  );
}

function closedEarly(socketPath: string, method: Method, cause: string): HelperError {
  return new HelperError(
    'closed',
    cannot(method, socketPath, `it closed the connection ${cause}`),
    'see the log of podpaced and try again',
  );
}

function garbage(socketPath: string, what: string): HelperError {
  return new HelperError(
    'garbled',
    `Cannot understand the helper at ${socketPath}: ${what}`,
    `${remedies.sameRelease}, and check that "socket" is podpaced's`,
  );
}

/** The fields of a result that the plugin reads; others are the operator's commands' business. */
const READ_FIELDS: { readonly [M in Method]?: Reader<unknown> } = {
  attach: object({ degraded: list(string), notices: list(string) }),
  gc: object({ removed: list(object({ containerId: string, ifname: string })) }),
  status: object({ problems: list(string) }),
};

/**
 * The result in a response. Throws HelperError for an error response, ShapeError for what is no
 * response.
 */
function readResponse<M extends Method>(
  socketPath: string,
  method: M,
  response: unknown,
): Methods[M]['result'] {
  const { version, error, result } = anyObject(response, 'response');
  if (version !== PROTOCOL_VERSION) {
    throw new HelperError(
      'protocol-version',
      `Cannot talk to the helper at ${socketPath}: it speaks protocol version ${show(version)}, podpace speaks ${PROTOCOL_VERSION}`,
      remedies.sameRelease,
    );
  }
  if (error !== undefined) {
    const { code, message, remedy } = protocolError(error, 'error');
    throw new HelperError(code, cannot(method, socketPath, message), remedy, message);
  }
  READ_FIELDS[method]?.(result, 'result');
  return anyObject(result, 'result') as Methods[M]['result'];
}

/** Sends the line and resolves with the first message that comes back. */
function converse(
  socket: Socket,
  socketPath: string,
  method: Method,
  line: Buffer,
): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const reader = new LineReader();
    let isConnected = false;
    socket.on('connect', () => {
      isConnected = true;
      socket.write(line);
    });
    socket.on('data', (chunk: Buffer) => {
      try {
        reader.push(chunk);
        const message = reader.next();
        if (message !== undefined) resolve(message);
      } catch (error) {
        reject(error instanceof FrameError ? garbage(socketPath, error.message) : (error as Error));
      }
    });
    socket.on('error', (error) =>
      reject(
        isConnected
          ? closedEarly(socketPath, method, `(${error.message})`)
          : connectError(socketPath, error),
      ),
    );
    socket.on('close', () =>
      reject(
        closedEarly(
          socketPath,
          method,
          reader.isMidLine ? 'in the middle of its answer' : 'without an answer',
        ),
      ),
    );
  });
}

/** Rejects when the patience is over, and resolves never. `release` ends it. */
function impatience(socketPath: string, method: Method, { deadlineMs, signal }: Patience) {
  let release = (): void => undefined;
  const over = new Promise<never>((_, reject) => {
    const timer = setTimeout(() => reject(silent(socketPath, method, deadlineMs)), deadlineMs);
    const stop = (): void => reject(signal?.reason as Error);
    signal?.addEventListener('abort', stop);
    release = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', stop);
    };
  });
  return { over, release };
}

/**
 * Sends one request to the helper that listens at `socketPath` and returns its result. Throws
 * HelperError, at the deadline at the latest.
 */
export async function askHelper<M extends Method>(
  connector: Connector,
  socketPath: string,
  method: M,
  params: Methods[M]['params'],
  patience: Patience,
): Promise<Methods[M]['result']> {
  const message: Request<M> = { version: PROTOCOL_VERSION, method, params };
  const line = encodeLine(message);
  patience.signal?.throwIfAborted();
  const socket = await connector.connect(socketPath);
  const { over, release } = impatience(socketPath, method, patience);
  try {
    const response = await Promise.race([converse(socket, socketPath, method, line), over]);
    try {
      return readResponse(socketPath, method, response);
    } catch (error) {
      if (!(error instanceof ShapeError)) throw error;
      throw garbage(socketPath, `it answered ${show(response)}`);
    }
  } finally {
    release();
    socket.destroy();
  }
}
