// A stand-in for the API server: pods and events as the real one serves them (Kubernetes 1.20 was
// looked at), over TLS with a certificate of an authority of its own. What it does wrong is said by
// the test.

import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { inNetns, type NetNamespace } from '../../helper/kernel/netns.ts';
import { temporaryDirectory } from '../bed/temporary-directory.ts';
import type { Teardown } from '../bed/undo.ts';

/** A certificate's authority, with the certificate of a server at 127.0.0.1. */
export interface Certificates {
  readonly caFile: string;
  readonly cert: Buffer;
  readonly key: Buffer;
}

/** Makes them by openssl. */
export function makeCertificates(t: Teardown): Certificates {
  const directory = temporaryDirectory(t);
  const at = (name: string): string => path.join(directory, name);
  const openssl = (...args: string[]): void => {
    execFileSync('openssl', args, { stdio: 'pipe', cwd: directory });
  };
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  openssl(
    ...['req', '-x509', ...newKey, '-keyout', 'ca.key', '-out', 'ca.crt', '-days', '2'],
    ...['-subj', '/CN=authority'],
  );
  openssl('req', ...newKey, '-keyout', 'server.key', '-out', 'server.csr', '-subj', '/CN=server');
  fs.writeFileSync(at('names'), 'subjectAltName=IP:127.0.0.1\n');
  openssl(
    ...['x509', '-req', '-in', 'server.csr', '-CA', 'ca.crt', '-CAkey', 'ca.key', '-days', '2'],
    ...['-CAcreateserial', '-extfile', 'names', '-out', 'server.crt'],
  );
  const [cert, key] = [fs.readFileSync(at('server.crt')), fs.readFileSync(at('server.key'))];
  return { caFile: at('ca.crt'), cert, key };
}

/** A pod as the API has it. */
export interface ApiPod {
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly uid: string;
    readonly resourceVersion: string;
    readonly annotations: Readonly<Record<string, string>>;
  };
  readonly spec: { readonly nodeName: string; readonly hostNetwork?: boolean };
  readonly status: { readonly phase: string };
}

export interface ApiEvent {
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly involvedObject: { readonly kind: string; readonly name: string; readonly uid: string };
  readonly reason: string;
  readonly message: string;
}

/** What becomes of a request in the place of an answer; false: it is answered as usual. */
type Fault = (request: IncomingMessage, response: ServerResponse) => boolean;

interface Watch {
  readonly response: ServerResponse;
  readonly nodeName: string;
}

function status(response: ServerResponse, code: number, reason: string, message = reason): void {
  response.writeHead(code, { 'Content-Type': 'application/json' });
  response.end(JSON.stringify({ kind: 'Status', code, reason, message }));
}

/** As the API server leaves out what was not asked for. */
function metadataOf({ metadata }: ApiPod): object {
  return { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata };
}

export interface ServerOptions {
  /** Where it listens, if not here. */
  readonly netns?: NetNamespace;
  /** Its own otherwise. */
  readonly certificates?: Certificates;
}

export class StandInApiServer {
  readonly pods = new Map<string, ApiPod>();
  readonly events: ApiEvent[] = [];
  /** Method and path of each request, with its query. */
  readonly requests: string[] = [];
  /** The one that is taken. */
  token = 'first-token';
  /** Watches from before this are refused with 410. */
  oldest = 0;
  pageLength = Infinity;
  fault: Fault = () => false;
  readonly #server: https.Server;
  readonly #certificates: Certificates;
  readonly #directory: string;
  #watches: Watch[] = [];
  #version = 100;

  private constructor(server: https.Server, certificates: Certificates, directory: string) {
    this.#server = server;
    this.#certificates = certificates;
    this.#directory = directory;
  }

  /** Serves, in a network namespace if one is given, until the test is over. */
  static async start(
    t: Teardown,
    { netns, certificates = makeCertificates(t) }: ServerOptions = {},
  ): Promise<StandInApiServer> {
    const { cert, key } = certificates;
    const server = https.createServer({ cert, key });
    const standIn = new StandInApiServer(server, certificates, temporaryDirectory(t));
    server.on('request', (request, response) => standIn.#serve(request, response));
    server.on('tlsClientError', () => undefined);
    // Without a host the socket is made at once, in the namespace.
    if (netns === undefined) server.listen(0);
    else inNetns(netns, () => server.listen(0));
    await once(server, 'listening');
    t.teardown(() => standIn.close());
    return standIn;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Ends all connections, and takes none any more. */
  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  /** Takes connections again, at the same port. */
  async open(port: number, netns?: NetNamespace): Promise<void> {
    if (netns === undefined) this.#server.listen(port);
    else inNetns(netns, () => this.#server.listen(port));
    await once(this.#server, 'listening');
  }

  /** File with the token that is taken; where a helper looks for it. */
  get tokenFile(): string {
    return path.join(this.#directory, 'token');
  }

  /** Has another token be taken; the file has it from `isWritten` on. */
  rotate(token: string, isWritten = true): void {
    this.token = token;
    if (isWritten) fs.writeFileSync(this.tokenFile, `${token}\n`);
  }

  /** Writes a kubeconfig that leads here, and returns its path. */
  kubeconfig(caFile = this.#certificates.caFile): string {
    fs.writeFileSync(this.tokenFile, `${this.token}\n`);
    const file = path.join(this.#directory, 'kubeconfig');
    fs.writeFileSync(
      file,
      `apiVersion: v1
kind: Config
current-context: test
clusters:
- name: here
  cluster:
    server: https://127.0.0.1:${this.port}
    certificate-authority: ${caFile}
contexts:
- name: test
  context:
    cluster: here
    user: helper
users:
- name: helper
  user:
    tokenFile: token
`,
    );
    return file;
  }

  /** Makes a pod, or changes its annotations. */
  put(
    name: string,
    annotations: Readonly<Record<string, string>>,
    more: {
      readonly uid?: string;
      readonly hostNetwork?: boolean;
      readonly nodeName?: string;
    } = {},
  ): ApiPod {
    const former = this.pods.get(name);
    const {
      uid = former?.metadata.uid ?? `uid-of-${name}`,
      hostNetwork,
      nodeName = 'node-1',
    } = more;
    this.#version += 1;
    const pod: ApiPod = {
      metadata: {
        ...{ name, namespace: 'default', uid, annotations },
        resourceVersion: String(this.#version),
      },
      spec: { nodeName, ...(hostNetwork !== undefined && { hostNetwork }) },
      status: { phase: 'Running' },
    };
    this.pods.set(name, pod);
    this.#tell(former === undefined ? 'ADDED' : 'MODIFIED', pod);
    return pod;
  }

  remove(name: string): void {
    const pod = this.pods.get(name);
    if (pod === undefined) return;
    this.pods.delete(name);
    this.#version += 1;
    const metadata = { ...pod.metadata, resourceVersion: String(this.#version) };
    this.#tell('DELETED', { ...pod, metadata });
  }

  /** Sends a text to all that watch, as it stands. */
  send(text: string | Uint8Array): void {
    for (const { response } of this.#watches) response.write(text);
  }

  bookmark(): void {
    this.#version += 1;
    const metadata = { resourceVersion: String(this.#version) };
    this.send(`${JSON.stringify({ type: 'BOOKMARK', object: { kind: 'Pod', metadata } })}\n`);
  }

  get watching(): number {
    return this.#watches.length;
  }

  /** Ends all watches as a server does whose time is over. */
  endWatches(): void {
    for (const { response } of this.#watches) response.end();
  }

  /** Breaks all connections. */
  breakConnections(): void {
    this.#server.closeAllConnections();
  }

  #tell(type: string, pod: ApiPod): void {
    const line = `${JSON.stringify({ type, object: metadataOf(pod) })}\n`;
    for (const { response, nodeName } of this.#watches)
      if (pod.spec.nodeName === nodeName) response.write(line);
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    this.requests.push(`${request.method} ${request.url}`);
    if (this.fault(request, response)) return;
    if (request.headers.authorization !== `Bearer ${this.token}`)
      return status(response, 401, 'Unauthorized');
    const url = new URL(request.url ?? '', 'https://here');
    if (request.method === 'POST') return void this.#postEvent(request, response);
    if (url.searchParams.get('watch') !== null) return this.#watch(url, response);
    this.#list(url, response);
  }

  #list(url: URL, response: ServerResponse): void {
    const selector = new URLSearchParams(
      url.searchParams.get('fieldSelector')?.replaceAll(',', '&'),
    );
    const [nodeName, name] = [selector.get('spec.nodeName'), selector.get('metadata.name')];
    const all = [...this.pods.values()].filter(
      ({ metadata, spec }) =>
        (nodeName === null || spec.nodeName === nodeName) &&
        (name === null || metadata.name === name),
    );
    const from = Number(url.searchParams.get('continue') ?? 0);
    const items = all.slice(from, from + this.pageLength);
    const rest = from + items.length < all.length ? String(from + items.length) : '';
    response.writeHead(200, { 'Content-Type': 'application/json' });
    response.end(
      JSON.stringify({
        kind: 'PartialObjectMetadataList',
        metadata: { resourceVersion: String(this.#version), continue: rest },
        items: name === null ? items.map(metadataOf) : items,
      }),
    );
  }

  #watch(url: URL, response: ServerResponse): void {
    response.writeHead(200, { 'Content-Type': 'application/json' });
    const from = Number(url.searchParams.get('resourceVersion'));
    if (from < this.oldest) {
      const object = { kind: 'Status', code: 410, reason: 'Expired', message: 'too old' };
      return void response.end(`${JSON.stringify({ type: 'ERROR', object })}\n`);
    }
    response.flushHeaders();
    const nodeName = url.searchParams.get('fieldSelector')?.replace('spec.nodeName=', '') ?? '';
    const watch = { response, nodeName };
    this.#watches.push(watch);
    response.on('close', () => (this.#watches = this.#watches.filter((one) => one !== watch)));
    for (const pod of this.pods.values()) {
      if (Number(pod.metadata.resourceVersion) <= from || pod.spec.nodeName !== nodeName) continue;
      response.write(`${JSON.stringify({ type: 'MODIFIED', object: metadataOf(pod) })}\n`);
    }
  }

  async #postEvent(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const pieces: Buffer[] = [];
    for await (const piece of request) pieces.push(piece as Buffer);
    const event = JSON.parse(Buffer.concat(pieces).toString()) as ApiEvent;
    if (this.events.some(({ metadata }) => metadata.name === event.metadata.name))
      return status(response, 409, 'AlreadyExists');
    this.events.push(event);
    response.writeHead(201, { 'Content-Type': 'application/json' });
    response.end(JSON.stringify(event));
  }
}
