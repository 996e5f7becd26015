// What a kubelet asks of a container runtime by the CRI (k8s.io/cri-api, pkg/apis/runtime/v1/
// api.proto): gRPC over HTTP/2, as no Debian package has crictl.

import { randomUUID } from 'node:crypto';
import http2 from 'node:http2';
import net from 'node:net';
import { Fields, field, message, stringMap } from './protobuf.ts';

/** A call includes CNI plugins and runc, which an emulated processor is long at. */
const LIMIT_SEC = 240;
/** Before each message: not compressed, and its length. */
const PREFIX_BYTES = 5;

/** What is asked for a pod. */
export interface PodRequest {
  readonly name: string;
  readonly annotations: Readonly<Record<string, string>>;
  /** After so many seconds the runtime gives it up. */
  readonly limitSec?: number;
}

/** A pod's sandbox, as the runtime tells of it. */
export interface Sandbox {
  readonly id: string;
  readonly address: string;
  /** Path of its network namespace, in the runtime's mount namespace. */
  readonly netns: string;
}

/** `NetworkReady` or another condition of the runtime. */
export interface Condition {
  readonly isTrue: boolean;
  readonly reason: string;
  readonly message: string;
}

export class Cri {
  readonly #session: http2.ClientHttp2Session;

  readonly #cgroup: string;

  private constructor(session: http2.ClientHttp2Session, cgroup: string) {
    this.#session = session;
    this.#cgroup = cgroup;
    // Told by the call that fails of it.
    session.on('error', () => undefined);
  }

  /** Connects to the socket of a runtime that serves; names the control group of all pods. */
  static open(socket: string, cgroup: string): Cri {
    const createConnection = (): net.Socket => net.connect(socket);
    return new Cri(http2.connect('http://localhost', { createConnection }), cgroup);
  }

  close(): void {
    this.#session.destroy();
  }

  /** Name and version of the runtime. */
  async version(): Promise<string> {
    const answer = await this.#call('Version');
    return `${answer.text(2)} ${answer.text(3)}`;
  }

  /** The runtime's conditions by their types. */
  async conditions(): Promise<Map<string, Condition>> {
    const [status] = (await this.#call('Status')).messages(1);
    const conditions = status?.messages(1) ?? [];
    return new Map(
      conditions.map((each) => [
        each.text(1),
        { isTrue: each.isTrue(2), reason: each.text(3), message: each.text(4) },
      ]),
    );
  }

  /** Makes the sandbox of a pod; returns its id. */
  async runSandbox({ name, annotations, limitSec }: PodRequest): Promise<string> {
    const metadata = message(1, field(1, name), field(2, randomUUID()), field(3, 'default'));
    const linux = message(8, field(1, `/${this.#cgroup}`));
    const config = message(1, metadata, stringMap(7, annotations), linux);
    return (await this.#call('RunPodSandbox', [config], limitSec)).text(1);
  }

  async sandbox(id: string): Promise<Sandbox> {
    const answer = await this.#call('PodSandboxStatus', [field(1, id), field(2, 1)]);
    const [status] = answer.messages(1);
    const [network] = status?.messages(5) ?? [];
    const info = JSON.parse(answer.stringMap(2).get('info') ?? '{}') as SandboxInfo;
    const { namespaces = [] } = info.runtimeSpec?.linux ?? {};
    const netns = namespaces.find(({ type }) => type === 'network')?.path ?? '';
    return { id, address: network?.text(1) ?? '', netns };
  }

  /** Ids of all sandboxes. */
  async sandboxes(): Promise<string[]> {
    return (await this.#call('ListPodSandbox')).messages(1).map((each) => each.text(1));
  }

  async stopSandbox(id: string): Promise<void> {
    await this.#call('StopPodSandbox', [field(1, id)]);
  }

  async removeSandbox(id: string): Promise<void> {
    await this.#call('RemovePodSandbox', [field(1, id)]);
  }

  /** Throws Error with what the runtime says. */
  #call(
    method: string,
    fields: readonly Buffer[] = [],
    limitSec: number = LIMIT_SEC,
  ): Promise<Fields> {
    const stream = this.#session.request({
      ...{ ':method': 'POST', ':path': `/runtime.v1.RuntimeService/${method}` },
      ...{ 'content-type': 'application/grpc', te: 'trailers', 'grpc-timeout': `${limitSec}S` },
    });
    const body = Buffer.concat(fields);
    const prefix = Buffer.alloc(PREFIX_BYTES);
    prefix.writeUInt32BE(body.length, 1);
    stream.end(Buffer.concat([prefix, body]));
    return new Promise((resolve, reject) => {
      const fail = (why: string): void => reject(new Error(`CRI ${method}: ${why}`));
      const chunks: Buffer[] = [];
      let [status, words] = ['none', 'it ended without an answer'];
      const note = (headers: http2.IncomingHttpHeaders): void => {
        status = textOf(headers['grpc-status']) ?? status;
        words = textOf(headers['grpc-message']) ?? words;
      };
      // Where there is no message, the status comes with the headers.
      stream.on('response', note);
      stream.on('trailers', note);
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.on('error', (error: Error) => fail(error.message));
      stream.on('close', () => {
        if (status === '0') resolve(new Fields(Buffer.concat(chunks).subarray(PREFIX_BYTES)));
        else fail(decodeURIComponent(words));
      });
    });
  }
}

function textOf(header: string | string[] | undefined): string | undefined {
  return Array.isArray(header) ? header[0] : header;
}

/** What containerd adds to the status when asked to be verbose, as far as it is read here. */
interface SandboxInfo {
  readonly runtimeSpec?: {
    readonly linux?: { readonly namespaces?: readonly { type: string; path?: string }[] };
  };
}
