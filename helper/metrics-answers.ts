// What scrapers get: a page is measured once for all who ask while that goes on or a second later,
// and each reads it at his own pace. What waits for readers is bounded.

import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { metricsPage, type MetricsSource } from './metrics-page.ts';
import { CONTENT_TYPES, formatFor, type Format } from './metrics/exposition.ts';

/** A page serves for so long: whoever asks more often asks nothing of the node. */
const SHARED_MS = 1_000;
/** Pages that are being read at once. With a thousand pods one has 6 MB. */
const MAX_PAGES = 4;
/** Given to the socket at once. */
const CHUNK_BYTES = 65_536;

type Page = readonly Buffer[];

/** Pages as they are asked for, and who is reading which. */
class Pages {
  readonly #source: MetricsSource;
  readonly #shared = new Map<Format, Promise<Page>>();
  /** In the order in which they came. */
  readonly #readers = new Map<ServerResponse, Page>();

  constructor(source: MetricsSource) {
    this.#source = source;
  }

  at(format: Format): Promise<Page> {
    const former = this.#shared.get(format);
    if (former !== undefined) return former;
    const page = metricsPage(this.#source, format);
    this.#shared.set(format, page);
    const forget = (): void => void this.#shared.delete(format);
    page.then(() => void setTimeout(forget, SHARED_MS).unref(), forget);
    return page;
  }

  /** Whoever reads the oldest of too many pages has had his time: he is cut off. */
  isRead(page: Page, reader: ServerResponse): void {
    this.#readers.set(reader, page);
    reader.once('close', () => this.#readers.delete(reader));
    const [oldest, ...others] = new Set(this.#readers.values());
    if (others.length < MAX_PAGES) return;
    for (const [one, read] of this.#readers) if (read === oldest) one.destroy();
  }
}

function* chunksOf(page: Page): Generator<Buffer> {
  for (const piece of page)
    for (let at = 0; at < piece.length; at += CHUNK_BYTES)
      yield piece.subarray(at, at + CHUNK_BYTES);
}

/** The next chunk goes when the reader has taken those before. */
function writeAll(response: ServerResponse, chunks: Iterator<Buffer>): void {
  for (let next = chunks.next(); next.done !== true; next = chunks.next())
    if (!response.write(next.value))
      return void response.once('drain', () => writeAll(response, chunks));
  response.end();
}

/** Answers GET /metrics, and nothing else. */
export function answerScrapes(source: MetricsSource): RequestListener {
  const pages = new Pages(source);
  const answer = async ({ headers }: IncomingMessage, response: ServerResponse): Promise<void> => {
    const format = formatFor(headers.accept ?? '');
    const page = await pages.at(format);
    if (response.destroyed) return;
    pages.isRead(page, response);
    const length = page.reduce((sum, piece) => sum + piece.length, 0);
    response.writeHead(200, { 'Content-Type': CONTENT_TYPES[format], 'Content-Length': length });
    writeAll(response, chunksOf(page));
  };
  return (request, response) => {
    const { method, url = '' } = request;
    if (url.split('?')[0] !== '/metrics') return void response.writeHead(404).end();
    if (method !== 'GET' && method !== 'HEAD') return void response.writeHead(405).end();
    answer(request, response).catch((error: unknown) => {
      if (!response.headersSent) response.writeHead(500, { 'Content-Type': 'text/plain' });
      response.end(`${(error as Error).message}\n`);
    });
  };
}
