// `--metrics-address`: GET /metrics, for Prometheus. HTTP is loaded when the first scraper comes.

import type { Server } from 'node:http';
import net from 'node:net';
import type { HelperConfig } from './config.ts';
import { RenewedKeyPair } from './key-pair.ts';
import { answerScrapes } from './metrics-answers.ts';
import type { MetricsSource } from './metrics-page.ts';
import { openPush, type OtlpPlace } from './otlp-link.ts';
import type { Problem } from './shaping/judgement.ts';
import { Tallies } from './tallies.ts';
import { parseListenAddress, type ListenAddress } from './protocol/listen-address.ts';

type Log = (level: 'info' | 'warn' | 'error', message: string) => void;

/** Scrapers are few. */
const MAX_CONNECTIONS = 16;

const TIMING = {
  /**
   * A connection is for one scrape, and has so long for all of it: handshake, request and reading.
   * Prometheus gives up after 10 s.
   */
  connectionMs: 15_000,
  /** Pause before an address at which nobody could listen is tried again. */
  retryMs: 10_000,
};

type MetricsPlace = Pick<HelperConfig, 'metricsAddress' | 'metricsCertificate' | 'metricsKey'>;

export interface MetricsServer {
  /** Why nobody can scrape; nothing when all is well. */
  readonly notices: () => readonly string[];
  readonly close: () => void;
}

/** Speaks HTTP on a connection. */
type Serve = (socket: net.Socket) => void;

/** Throws Error when there is no certificate to begin with. */
async function makeHttp(place: MetricsPlace, source: MetricsSource, log: Log): Promise<Serve> {
  const serveWith =
    (server: Server): Serve =>
    (socket) => {
      server.emit('connection', socket);
      socket.resume();
    };
  // It never listens, so it keeps no deadlines: those are the connections'.
  if (place.metricsCertificate === '') {
    const { createServer } = await import('node:http');
    const server = createServer(answerScrapes(source));
    server.maxRequestsPerSocket = 1;
    return serveWith(server);
  }
  const { createServer } = await import('node:https');
  const files = { certificate: place.metricsCertificate, key: place.metricsKey };
  const pair = new RenewedKeyPair(files, (message) => log('warn', message));
  const server = createServer(pair.first, answerScrapes(source));
  server.maxRequestsPerSocket = 1;
  const serve = serveWith(server);
  return (socket) => {
    pair.renew((renewed) => server.setSecureContext(renewed));
    serve(socket);
  };
}

class Listener implements MetricsServer {
  readonly #address: ListenAddress;
  readonly #log: Log;
  readonly #timing: typeof TIMING;
  readonly #makeHttp: () => Promise<Serve>;
  readonly #server: net.Server;
  readonly #connections = new Set<net.Socket>();
  #http: Promise<Serve> | undefined;
  #failure: string | undefined;
  #retry: NodeJS.Timeout | undefined;

  constructor(
    address: ListenAddress,
    http: () => Promise<Serve>,
    { log, timing }: { readonly log: Log; readonly timing: typeof TIMING },
  ) {
    [this.#address, this.#makeHttp, this.#log, this.#timing] = [address, http, log, timing];
    this.#server = net.createServer({ pauseOnConnect: true }, (socket) => this.#serve(socket));
    this.#server.maxConnections = MAX_CONNECTIONS;
    this.#server.on('error', (error) => this.#fail(error));
    this.#server.on('listening', () => this.#listens());
    this.#listen();
  }

  notices(): readonly string[] {
    return this.#failure === undefined ? [] : [this.#failure];
  }

  close(): void {
    clearTimeout(this.#retry);
    this.#server.close();
    for (const socket of this.#connections) socket.destroy();
  }

  #serve(socket: net.Socket): void {
    const deadline = setTimeout(() => socket.destroy(), this.#timing.connectionMs);
    this.#connections.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => {
      clearTimeout(deadline);
      this.#connections.delete(socket);
    });
    this.#http ??= this.#makeHttp();
    this.#http.then(
      (serve) => {
        if (!socket.destroyed) serve(socket);
      },
      (error: unknown) => {
        this.#http = undefined;
        this.#log('error', `Cannot serve metrics: ${(error as Error).message}`);
        socket.destroy();
      },
    );
  }

  #listen(): void {
    const { host, port } = this.#address;
    this.#server.listen({ host, port, exclusive: true });
  }

  #listens(): void {
    if (this.#failure !== undefined) this.#log('info', `metrics are served: ${this.#place}`);
    this.#failure = undefined;
  }

  #fail({ message }: Error): void {
    // Of one connection, such as for want of descriptors.
    if (this.#server.listening) return this.#log('warn', `A scraper was refused: ${message}`);
    const failure = `No metrics at ${this.#place}: ${message}; name another address, or off, with --metrics-address`;
    if (failure !== this.#failure) this.#log('warn', failure);
    this.#failure = failure;
    this.#retry = setTimeout(() => this.#listen(), this.#timing.retryMs);
  }

  get #place(): string {
    return `${this.#address.host} port ${this.#address.port}`;
  }
}

/**
 * Serves metrics at an address, or nowhere where it is `off`. Where it cannot be listened it is tried again: caps do
 * not hang on it.
 */
export function openMetrics(
  place: MetricsPlace,
  source: MetricsSource,
  log: Log,
  timing = TIMING,
): MetricsServer {
  const address = parseListenAddress(place.metricsAddress);
  if (address === undefined) return { notices: () => [], close: () => undefined };
  return new Listener(address, () => makeHttp(place, source, log), { log, timing });
}

/** What the helper has to do with its metrics. */
export interface MetricsLink extends MetricsServer {
  readonly tallies: Tallies;
  /** A listener to problems, behind which these metrics hear of them, too. */
  readonly hearingToo: (
    tell: (problems: readonly Problem[]) => void,
  ) => (problems: readonly Problem[]) => void;
}

/** Serves and pushes the metrics of a helper, where that is configured. */
export function linkMetrics(
  place: MetricsPlace & OtlpPlace,
  shaper: MetricsSource['shaper'],
  log: Log,
): MetricsLink {
  const tallies = new Tallies();
  let found: readonly Problem[] = [];
  const source = { shaper, tallies, problems: () => found };
  const server = openMetrics(place, source, log);
  const push = openPush(place, process.env, source, log);
  return {
    tallies,
    hearingToo: (tell) => (problems) => {
      found = problems;
      tell(problems);
    },
    notices: () => [...server.notices(), ...push.notices()],
    close: () => {
      server.close();
      push.close();
    },
  };
}
