// A helper that does what the test's script says: it speaks the protocol, or fails to in a chosen
// way.

import { createServer, type Server, type Socket } from 'node:net';
import path from 'node:path';
import { encodeLine, LineReader } from '../../helper/protocol/frame.ts';
import type { Method, ProtocolError, Request } from '../../helper/protocol/messages.ts';
import type { VersionRange } from '../../helper/protocol/versions.ts';
import { temporaryDirectory } from '../bed/temporary-directory.ts';
import type { Teardown } from '../bed/undo.ts';

/** Answers one request by writing to the connection. */
export type Script = (request: Request, connection: Socket) => void;

export interface FakeHelper {
  readonly socketPath: string;
  /** Every request that came, in order. */
  readonly requests: readonly Request[];
  methods(): Method[];
}

const RESULTS: Readonly<Record<Method, unknown>> = {
  attach: { degraded: [], notices: [], held: [] },
  detach: {},
  check: {},
  gc: { removed: [] },
  status: { problems: [] },
  list: { attachments: [] },
  uncapped: { uncapped: [], unknown: [] },
  set: {},
  counters: { attachments: [] },
  history: { stepSeconds: 10, effective: {} },
  probe: { items: [] },
  explain: { entries: [], exits: [], exempt: [] },
  uninstall: { restoredExits: [], detached: 0, kept: 0 },
};

/** Answers every method as a healthy helper does. */
export const healthy: Script = (request, connection) => {
  connection.write(encodeLine({ version: request.version, result: RESULTS[request.method] }));
};

/**
 * Refuses one method with an error of the protocol; the others are answered as by a healthy helper.
 */
export function refuses(method: Method, error: ProtocolError): Script {
  return (request, connection) => {
    if (request.method === method)
      connection.write(encodeLine({ version: request.version, error }));
    else healthy(request, connection);
  };
}

/** A helper of another release: it refuses other versions than these, and names what it serves. */
export function serving(serves: VersionRange, script: Script = healthy): Script {
  return (request, connection) => {
    const { version } = request;
    if (version >= serves.least && version <= serves.most) return script(request, connection);
    const error = { code: 'protocol-version', message: 'another version', serves };
    connection.write(encodeLine({ version: serves.most, error }));
  };
}

/**
 * A helper from before versions had ranges: it refuses every version but its own, in which it
 * answers.
 */
export function servingOnly(only: number, script: Script = healthy): Script {
  return (request, connection) => {
    if (request.version === only) return script(request, connection);
    const message = `podpaced speaks protocol version ${only}, the caller ${request.version}`;
    const error = { code: 'protocol-version', message };
    connection.write(encodeLine({ version: only, error }));
  };
}

function serve(server: Server, socketPath: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(socketPath, () => resolve());
  });
}

/**
 * Starts a helper that ends with the test; it listens in a directory of its own unless told where.
 */
export async function startFakeHelper(
  t: Teardown,
  script: Script = healthy,
  socketPath: string = path.join(temporaryDirectory(t), 'helper.sock'),
): Promise<FakeHelper> {
  const requests: Request[] = [];
  const connections = new Set<Socket>();
  const server = createServer((connection) => {
    connections.add(connection);
    const reader = new LineReader();
    connection.on('error', () => undefined);
    connection.on('close', () => connections.delete(connection));
    connection.on('data', (chunk) => {
      reader.push(chunk);
      const request = reader.next() as Request | undefined;
      if (request === undefined) return;
      requests.push(request);
      script(request, connection);
    });
  });
  t.teardown(() => {
    for (const connection of connections) connection.destroy();
    server.close();
  });
  await serve(server, socketPath);
  return { socketPath, requests, methods: () => requests.map(({ method }) => method) };
}
