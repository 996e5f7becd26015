// `--metrics-address`: GET /metrics, for Prometheus. Whoever asks while a scrape is being written,
// or a second later, gets that one; whoever does not read is cut off. HTTP is loaded when the first
// one comes.

import fs from 'node:fs';
import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http';
import net from 'node:net';
import type { HelperConfig } from './config.ts';
import { metricsPage, type MetricsSource } from './metrics-page.ts';
import { CONTENT_TYPES, formatFor, type Format } from './metrics/exposition.ts';
import type { Problem } from './shaping/judgement.ts';
import { Tallies } from './tallies.ts';
import { parseListenAddress, type ListenAddress } from './protocol/listen-address.ts';

type Log = (level: 'info' | 'warn' | 'error', message: string) => void;

/** Scrapers are few. */
const MAX_CONNECTIONS = 16;
const REQUEST_MS = 5_000;
/** For reading all of it. */
const UNREAD_MS = 15_000;
/** A page serves for so long: whoever asks more often asks nothing of the node. */
const SHARED_MS = 1_000;
/** Pause before an address that was in use is tried again. */
const RETRY_MS = 10_000;

type MetricsPlace = Pick<HelperConfig, 'metricsAddress' | 'metricsCertificate' | 'metricsKey'>;

export interface MetricsServer {
  /** Why nobody can scrape; nothing when all is well. */
  readonly notices: () => readonly string[];
  readonly close: () => void;
}

/** Serves one scrape at a time, to all who come while it is written and shortly after. */
function onRequest(source: MetricsSource): RequestListener {
  const underWay = new Map<Format, Promise<string[]>>();
  const pageIn = (format: Format): Promise<string[]> => {
    const former = underWay.get(format);
    if (former !== undefined) return former;
    const page = metricsPage(source, format);
    underWay.set(format, page);
    const forget = (): void => void underWay.delete(format);
    page.then(() => void setTimeout(forget, SHARED_MS).unref(), forget);
    return page;
  };
  const answer = async ({ headers }: IncomingMessage, response: ServerResponse): Promise<void> => {
    const format = formatFor(headers.accept ?? '');
    const page = await pageIn(format);
    const length = page.reduce((sum, piece) => sum + Buffer.byteLength(piece), 0);
    response.writeHead(200, { 'Content-Type': CONTENT_TYPES[format], 'Content-Length': length });
    for (const piece of page) response.write(piece);
    response.end();
  };
  return (request, response) => {
    request.socket.setTimeout(UNREAD_MS, () => request.socket.destroy());
    const { method, url = '' } = request;
    if (url.split('?')[0] !== '/metrics') return void response.writeHead(404).end();
    if (method !== 'GET' && method !== 'HEAD') return void response.writeHead(405).end();
    answer(request, response).catch((error: unknown) => {
      if (!response.headersSent) response.writeHead(500, { 'Content-Type': 'text/plain' });
      response.end(`${(error as Error).message}\n`);
    });
  };
}

/** Makes the server that speaks HTTP on connections that are handed to it. */
async function makeHttp(
  { metricsCertificate: certificate, metricsKey: key }: MetricsPlace,
  source: MetricsSource,
): Promise<Server> {
  const limits = { requestTimeout: REQUEST_MS, headersTimeout: REQUEST_MS };
  if (certificate === '') {
    const { createServer } = await import('node:http');
    return createServer(limits, onRequest(source));
  }
  const { createServer } = await import('node:https');
  const files = (): { cert: Buffer; key: Buffer } => ({
    cert: fs.readFileSync(certificate),
    key: fs.readFileSync(key),
  });
  const server = createServer({ ...limits, ...files() }, onRequest(source));
  // Certificates are renewed in place.
  fs.watchFile(certificate, { interval: RETRY_MS, persistent: false }, () => {
    try {
      server.setSecureContext(files());
    } catch {
      // Of a pair of which one half has come the former serves on.
    }
  });
  return server;
}

class Listener implements MetricsServer {
  readonly #address: ListenAddress;
  readonly #log: Log;
  readonly #server: net.Server;
  #http: Promise<Server> | undefined;
  #failure: string | undefined;
  #retry: NodeJS.Timeout | undefined;

  constructor(place: MetricsPlace, address: ListenAddress, source: MetricsSource, log: Log) {
    this.#address = address;
    this.#log = log;
    this.#server = net.createServer({ pauseOnConnect: true }, (socket) => {
      socket.on('error', () => undefined);
      this.#http ??= makeHttp(place, source);
      this.#http.then(
        (server) => {
          server.emit('connection', socket);
          socket.resume();
        },
        (error: unknown) => {
          this.#http = undefined;
          log('error', `Cannot serve metrics: ${(error as Error).message}`);
          socket.destroy();
        },
      );
    });
    this.#server.maxConnections = MAX_CONNECTIONS;
    this.#server.on('error', (error) => this.#fail(error));
    this.#server.on('listening', () => (this.#failure = undefined));
    this.#listen();
  }

  notices(): readonly string[] {
    return this.#failure === undefined ? [] : [this.#failure];
  }

  close(): void {
    clearTimeout(this.#retry);
    this.#server.close();
    void this.#http?.then((http) => http.closeAllConnections());
  }

  #listen(): void {
    const { host, port } = this.#address;
    this.#server.listen({ host, port, exclusive: true });
  }

  #fail({ message }: Error): void {
    const { host, port } = this.#address;
    const failure = `No metrics at ${host} port ${port}: ${message}; name another address with --metrics-address`;
    if (failure !== this.#failure) this.#log('warn', failure);
    this.#failure = failure;
    this.#retry = setTimeout(() => this.#listen(), RETRY_MS);
  }
}

/**
 * Serves metrics at an address, or nowhere. Where it cannot be listened it is tried again: caps do
 * not hang on it.
 */
export function openMetrics(place: MetricsPlace, source: MetricsSource, log: Log): MetricsServer {
  const address = parseListenAddress(place.metricsAddress);
  if (address === undefined) return { notices: () => [], close: () => undefined };
  return new Listener(place, address, source, log);
}

/** What the helper has to do with its metrics. */
export interface MetricsLink extends MetricsServer {
  readonly tallies: Tallies;
  /** A listener to problems, behind which these metrics hear of them, too. */
  readonly hearingToo: (
    tell: (problems: readonly Problem[]) => void,
  ) => (problems: readonly Problem[]) => void;
}

/** Serves the metrics of a helper, where that is configured. */
export function linkMetrics(
  place: MetricsPlace,
  shaper: MetricsSource['shaper'],
  log: Log,
): MetricsLink {
  const tallies = new Tallies();
  let found: readonly Problem[] = [];
  const server = openMetrics(place, { shaper, tallies, problems: () => found }, log);
  return {
    tallies,
    hearingToo: (tell) => (problems) => {
      found = problems;
      tell(problems);
    },
    notices: () => server.notices(),
    close: () => server.close(),
  };
}
