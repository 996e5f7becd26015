// `--health-address`: whether podpaced lives and serves, as Kubernetes' probes ask for it: by HTTP,
// answered from memory. To start an executable for each probe would take a hundred times as much.

import type { Server, ServerResponse } from 'node:http';
import { parseListenAddress, type ListenAddress } from './protocol/listen-address.ts';

/** Looks at the maps come every two seconds, and on a large node take some. */
const LONGEST_PAUSE_MS = 120_000;
/** Nobody but a kubelet asks. */
const MAX_CONNECTIONS = 16;
const REQUEST_MS = 5_000;

/** What the helper tells of itself. */
export interface Health {
  /** A look at the maps has ended. */
  readonly hasLooked: () => void;
  /** Pods with caps can be added from here on. */
  readonly serves: () => void;
  readonly close: () => void;
}

const SILENT: Health = {
  hasLooked: () => undefined,
  serves: () => undefined,
  close: () => undefined,
};

/** Answers a probe: 200, or 503 with what is wrong. */
function answer(response: ServerResponse, fault: string | undefined): void {
  response.writeHead(fault === undefined ? 200 : 503, { 'Content-Type': 'text/plain' });
  response.end(`${fault ?? 'ok'}\n`);
}

function listen(server: Server, { host, port }: ListenAddress): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error) => {
      const message = `Cannot listen on ${host} port ${port}: ${error.message}; name another address with --health-address`;
      reject(new Error(message, { cause: error }));
    });
    server.listen({ host, port, exclusive: true }, resolve);
  });
}

/**
 * Listens on an address as `listenAddress` takes it, or on none where it is empty. `/livez` fails
 * when looks at the maps no longer end, `/readyz` until the helper serves. Throws Error with the
 * remedy when it cannot listen.
 */
export async function openHealth(
  address: string,
  nowMs = () => performance.now(),
): Promise<Health> {
  const place = parseListenAddress(address);
  if (place === undefined) return SILENT;
  let [lookedAtMs, isServing] = [nowMs(), false];
  const questions: Readonly<Record<string, () => string | undefined>> = {
    '/livez': () => {
      const pauseMs = nowMs() - lookedAtMs;
      if (pauseMs <= LONGEST_PAUSE_MS) return undefined;
      return `the last look at the maps ended ${(pauseMs / 1000).toFixed(0)} s ago`;
    },
    '/readyz': () => (isServing ? undefined : 'podpaced does not serve yet'),
  };
  // Costs three MB: only here.
  const { createServer } = await import('node:http');
  const limits = { requestTimeout: REQUEST_MS, headersTimeout: REQUEST_MS, keepAlive: false };
  const server = createServer(limits, ({ url = '' }, response) => {
    response.setHeader('Connection', 'close');
    const question = Object.hasOwn(questions, url) ? questions[url] : undefined;
    if (question !== undefined) return answer(response, question());
    response.writeHead(404).end();
  });
  server.maxConnections = MAX_CONNECTIONS;
  await listen(server, place);
  return {
    hasLooked: () => void (lookedAtMs = nowMs()),
    serves: () => void (isServing = true),
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}
