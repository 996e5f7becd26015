// The helper as its callers see it: one request, one answer, one deadline. A helper of another
// release refuses the request's version and says which ones it serves; then it is asked once more,
// in the newest that both speak. Everything that can go wrong on the way becomes one error that
// names the socket, the cause and what to do.

import { show } from '../wire/show.ts';
import { encodeLine, FrameError, LineReader } from './frame.ts';
import {
  protocolError,
  type Method,
  type Methods,
  type ParsedRequest,
  type ProtocolError,
  type Request,
} from './messages.ts';
import { remedies } from './remedies.ts';
import { anyObject, list, object, ShapeError, string, type Reader } from './shape.ts';
import {
  describeVersions,
  namedNeeds,
  needsBeyond,
  needsOf,
  newestCommon,
  PROTOCOL,
  versionRange,
  type VersionRange,
} from './versions.ts';

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

/** A unix stream socket on its way to being connected: what is used of Node's own. */
export interface Stream {
  on(event: 'connect' | 'close', listener: () => void): unknown;
  on(event: 'data', listener: (chunk: Buffer) => void): unknown;
  on(event: 'error', listener: (error: NodeJS.ErrnoException) => void): unknown;
  write(bytes: Buffer): unknown;
  destroy(): unknown;
}

/** How a socket is reached. */
export interface Connector {
  connect(path: string): Promise<Stream>;
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
  history: 'get the history',
  probe: 'probe the node',
  uninstall: 'uninstall',
  explain: "explain the way of the pod's packets",
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

/** A result, or which versions the helper serves instead of the request's. */
type Answer<M extends Method> =
  { readonly result: Methods[M]['result'] } | { readonly serves: VersionRange };

/**
 * What a response to a request of a version says. Throws HelperError for any other error,
 * ShapeError for what is no response.
 */
function readResponse<M extends Method>(
  socketPath: string,
  { method, version: asked }: Request<M>,
  response: unknown,
): Answer<M> {
  const { version, error, result } = anyObject(response, 'response');
  if (error !== undefined) {
    const { code, message, remedy, serves } = protocolError(error, 'error');
    if (code === 'protocol-version')
      return { serves: serves ?? versionRange({ least: version, most: version }, 'version') };
    throw new HelperError(code, cannot(method, socketPath, message), remedy, message);
  }
  if (version !== asked) {
    const what = `it answered in protocol version ${show(version)} what was asked in ${asked}`;
    throw garbage(socketPath, what);
  }
  READ_FIELDS[method]?.(result, 'result');
  return { result: anyObject(result, 'result') as Methods[M]['result'] };
}

/** Sends the line and resolves with the first message that comes back. */
function converse(
  socket: Stream,
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
  // Nobody may be waiting for it yet.
  over.catch(() => undefined);
  return { over, release };
}

/** One request in one version, over a connection of its own. */
async function exchange<M extends Method>(
  connector: Connector,
  socketPath: string,
  request: Request<M>,
  over: Promise<never>,
): Promise<Answer<M>> {
  const line = encodeLine(request);
  const socket = await connector.connect(socketPath);
  try {
    const talk = converse(socket, socketPath, request.method, line);
    const response = await Promise.race([talk, over]);
    try {
      return readResponse(socketPath, request, response);
    } catch (error) {
      if (!(error instanceof ShapeError)) throw error;
      throw garbage(socketPath, `it answered ${show(response)}`);
    }
  } finally {
    socket.destroy();
  }
}

/** Who asks, as the operator finds it on the node. */
const CALLER = process.execPath;

function mismatch(method: Method, socketPath: string, why: string, remedy: string): HelperError {
  return new HelperError('protocol-version', cannot(method, socketPath, why), remedy, why);
}

/**
 * The version to ask in after a refusal that named these. Throws HelperError where there is none.
 */
function nextVersion(request: ParsedRequest, socketPath: string, serves: VersionRange): number {
  const { method } = request;
  const [theirs, ours] = [serves, PROTOCOL].map(describeVersions);
  const version = newestCommon(serves, PROTOCOL);
  if (version === undefined) {
    const why = `it serves protocol version ${theirs}, ${CALLER} speaks ${ours}`;
    const isOlder = serves.most < PROTOCOL.least;
    const remedy = isOlder ? remedies.newerHelper(CALLER) : remedies.newerCaller(CALLER);
    throw mismatch(method, socketPath, why, remedy);
  }
  if (version === PROTOCOL.most) {
    const why = `it refused protocol version ${version}, and says that it serves ${theirs}`;
    throw mismatch(method, socketPath, why, remedies.sameRelease);
  }
  const beyond = needsBeyond(needsOf(request), version);
  if (beyond.length > 0) {
    const names = beyond.map((need) => `"${need}"`).join(' and ');
    const why = `this needs ${names}, which helpers of protocol version ${version} may ignore`;
    throw mismatch(method, socketPath, why, remedies.newerHelper(CALLER));
  }
  return version;
}

/**
 * Sends one request to the helper that listens at `socketPath` and returns its result; a second
 * time where the helper is of another release. Throws HelperError, at the deadline at the latest.
 */
export async function askHelper<M extends Method>(
  connector: Connector,
  socketPath: string,
  method: M,
  params: Methods[M]['params'],
  patience: Patience,
): Promise<Methods[M]['result']> {
  const request = { method, params } as unknown as ParsedRequest;
  const needs = needsOf(request);
  patience.signal?.throwIfAborted();
  const { over, release } = impatience(socketPath, method, patience);
  const askIn = (version: number): Promise<Answer<M>> => {
    const message = { version, method, params, ...namedNeeds(needs, version) };
    return exchange(connector, socketPath, message, over);
  };
  try {
    const first = await askIn(PROTOCOL.most);
    if ('result' in first) return first.result;
    const version = nextVersion(request, socketPath, first.serves);
    const second = await askIn(version);
    if ('result' in second) return second.result;
    const why = `it refused protocol version ${version} too, although it named it`;
    throw mismatch(method, socketPath, why, remedies.sameRelease);
  } finally {
    release();
  }
}
