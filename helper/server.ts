// The unix socket: who may connect, and that there is always one to connect to. What is said on it
// is connection.ts's.

import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import {
  errorResponse,
  serveConnection,
  type ConnectionOptions,
  type Handler,
} from './connection.ts';
import { encodeLine } from './protocol/frame.ts';
import { removeDeadSocket } from './socket-file.ts';

export interface ServerOptions extends Omit<ConnectionOptions, 'onBusy'> {
  readonly socketPath: string;
  readonly log: (level: 'info' | 'warn' | 'error', message: string) => void;
}

/**
 * Beyond this a new connection takes the place of the one that has been idle for the longest time.
 */
const MAX_CONNECTIONS = 256;

/** How often it is looked whether the socket's file is still there. */
const FILE_CHECK_MS = 1000;

/** The connections that are open. */
class Connections {
  readonly #all = new Set<net.Socket>();
  /** Those on which nobody waits for us, the one that has been so for the longest time first. */
  readonly #idle = new Set<net.Socket>();

  /**
   * Takes a new connection in. False when there are too many, each with a request that is being
   * worked on.
   */
  admit(socket: net.Socket): boolean {
    if (this.#all.size >= MAX_CONNECTIONS) {
      const [oldest] = this.#idle;
      if (oldest === undefined) return false;
      this.#forget(oldest);
      oldest.destroy();
    }
    this.#all.add(socket);
    this.#idle.add(socket);
    socket.on('close', () => this.#forget(socket));
    return true;
  }

  setBusy(socket: net.Socket, isBusy: boolean): void {
    if (isBusy) this.#idle.delete(socket);
    else if (this.#all.has(socket)) this.#idle.add(socket);
  }

  #forget(socket: net.Socket): void {
    this.#all.delete(socket);
    this.#idle.delete(socket);
  }
}

/** Begins to listen; the file is readable and writable by root only. */
async function open(server: net.Server, socketPath: string): Promise<void> {
  fs.mkdirSync(path.dirname(socketPath), { recursive: true, mode: 0o755 });
  const formerMask = process.umask(0o177);
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      // Exclusive: NODE_UNIQUE_ID in the environment would have Node ask the primary of a cluster
      // that is not there.
      server.listen({ path: socketPath, exclusive: true }, () => {
        server.off('error', reject);
        resolve();
      });
    });
  } finally {
    process.umask(formerMask);
  }
}

function inodeOf(file: string): bigint | undefined {
  return fs.lstatSync(file, { bigint: true, throwIfNoEntry: false })?.ino;
}

/** A helper's socket. When its file is removed it is made again. */
export class SocketServer {
  readonly #handler: Handler;
  readonly #options: ServerOptions;
  readonly #connections = new Connections();
  #server: net.Server | undefined;
  #inode: bigint | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isLost = false;

  constructor(handler: Handler, options: ServerOptions) {
    this.#handler = handler;
    this.#options = options;
  }

  /**
   * Throws when another helper answers there, when the file is no socket, and when it cannot be
   * made.
   */
  async start(): Promise<void> {
    await removeDeadSocket(this.#options.socketPath);
    await this.#open();
    this.#timer = setInterval(() => void this.#restore(), FILE_CHECK_MS);
  }

  /**
   * Accepts no more, and takes the file away, if it is ours. Connections are left to those who hold
   * them.
   */
  close(): void {
    clearInterval(this.#timer);
    this.#stopListening();
  }

  async #open(): Promise<void> {
    const server = net.createServer({ allowHalfOpen: true }, (socket) => this.#accept(socket));
    await open(server, this.#options.socketPath);
    server.on('error', (error) =>
      this.#options.log('error', `Cannot accept a connection: ${error.message}`),
    );
    this.#server = server;
    this.#inode = inodeOf(this.#options.socketPath);
  }

  #accept(socket: net.Socket): void {
    if (!this.#connections.admit(socket)) {
      const message = `All ${MAX_CONNECTIONS} connections are in use`;
      socket.on('error', () => socket.destroy());
      const error = { code: 'busy', message, remedy: 'try again' } as const;
      socket.end(encodeLine(errorResponse(undefined, error)));
      return;
    }
    const onBusy = (isBusy: boolean): void => this.#connections.setBusy(socket, isBusy);
    void serveConnection(socket, this.#handler, { ...this.#options, onBusy });
  }

  /** Closing a server removes the file under its path, whosever that is by then. */
  #stopListening(): void {
    const { socketPath } = this.#options;
    const isForeign = ![undefined, this.#inode].includes(inodeOf(socketPath));
    if (isForeign) this.#server?.unref();
    else this.#server?.close();
    this.#server = undefined;
  }

  /** Looks whether the file is there, and ours; makes it again where there is none. */
  async #restore(): Promise<void> {
    const { socketPath, log } = this.#options;
    const inode = inodeOf(socketPath);
    if (inode === this.#inode && this.#server !== undefined) {
      this.#isLost = false;
      return;
    }
    const wasLost = this.#isLost;
    this.#isLost = true;
    try {
      if (inode !== undefined && inode !== this.#inode) await removeDeadSocket(socketPath);
      this.#stopListening();
      await this.#open();
      this.#isLost = false;
      log('warn', `${socketPath} was removed: listening there again`);
    } catch (error) {
      if (!wasLost)
        log('error', `Cannot listen on ${socketPath} again: ${(error as Error).message}`);
    }
  }
}

/**
 * Serves the socket. A leftover of a dead helper is replaced. Throws as SocketServer.start does.
 */
export async function listen(handler: Handler, options: ServerOptions): Promise<SocketServer> {
  const server = new SocketServer(handler, options);
  await server.start();
  return server;
}
