// The unix socket: connections, framing, deadlines. What a request means is the handler's business.

import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { encodeLine, FrameError, LineReader } from './protocol/frame.ts';
import { PROTOCOL_VERSION, type ProtocolError, type Response } from './protocol/messages.ts';
import { removeDeadSocket } from './socket-file.ts';

/** Answers one message; never rejects. */
export type Handler = (message: unknown) => Promise<Response>;

export interface ServerOptions {
  readonly socketPath: string;
  /** An answer that takes longer is replaced by an error; the work itself goes on to its end. */
  readonly requestDeadlineMs: number;
  /** A connection that says nothing for so long is closed. */
  readonly idleTimeoutMs: number;
}

/** Connections beyond this are refused by the kernel's queue: no caller holds one for long. */
const MAX_CONNECTIONS = 256;

function errorResponse(error: ProtocolError): Response {
  return { version: PROTOCOL_VERSION, error };
}

async function withDeadline(work: Promise<Response>, deadlineMs: number): Promise<Response> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<Response>((resolve) => {
    const message = `No answer within ${deadlineMs} ms`;
    timer = setTimeout(
      () => resolve(errorResponse({ code: 'busy', message, remedy: 'try again' })),
      deadlineMs,
    );
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

function encodeAnswer(response: Response): Buffer {
  try {
    return encodeLine(response);
  } catch (error) {
    return encodeLine(errorResponse({ code: 'internal', message: (error as Error).message }));
  }
}

/** Serves one connection: requests are answered in the order in which they came. */
function serveConnection(socket: net.Socket, handler: Handler, options: ServerOptions): void {
  const reader = new LineReader();
  let answering = Promise.resolve();
  const answer = async (message: unknown): Promise<void> => {
    const response = await withDeadline(handler(message), options.requestDeadlineMs);
    if (socket.writable) socket.write(encodeAnswer(response));
  };
  socket.setTimeout(options.idleTimeoutMs, () => socket.destroy());
  socket.on('error', () => socket.destroy());
  socket.on('data', (chunk) => {
    try {
      reader.push(chunk);
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
      socket.end(encodeLine(errorResponse({ code: 'bad-request', message: error.message })));
      return;
    }
    for (let message = reader.next(); message !== undefined; message = reader.next()) {
      const current = message;
      answering = answering.then(() => answer(current));
    }
  });
  socket.on('end', () => {
    answering = answering.then(() => {
      socket.end();
    });
  });
}

/**
 * Listens on the socket, readable and writable by root only. A leftover of a dead helper is replaced.
 * Throws when another helper answers there, or
 * when the file is no socket.
 */
export async function listen(handler: Handler, options: ServerOptions): Promise<net.Server> {
  const { socketPath } = options;
  await removeDeadSocket(socketPath);
  fs.mkdirSync(path.dirname(socketPath), { recursive: true, mode: 0o755 });
  const server = net.createServer({ allowHalfOpen: true }, (socket) =>
    serveConnection(socket, handler, options),
  );
  server.maxConnections = MAX_CONNECTIONS;
  const formerMask = process.umask(0o177);
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      // Exclusive: a variable of a Node cluster in the environment (NODE_UNIQUE_ID) must not have its primary asked.
      server.listen({ path: socketPath, exclusive: true }, resolve);
    });
  } finally {
    process.umask(formerMask);
  }
  return server;
}
