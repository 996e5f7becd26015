// What kubectl would ask the apiserver, without a kubectl: its start is seconds of an emulated
// processor. For tests on the node of a cluster.

import fs from 'node:fs';
import https from 'node:https';
import { text } from 'node:stream/consumers';
import { until } from './cluster.ts';

interface Kubeconfig {
  readonly clusters: readonly {
    readonly cluster: { readonly server: string; readonly 'certificate-authority': string };
  }[];
  readonly users: readonly { readonly user: { readonly token: string } }[];
}

const agent = new https.Agent({ keepAlive: true });

/** Asks for an object of the API; undefined where there is none. Throws Error for other refusals. */
async function ask(method: 'GET' | 'DELETE', place: string): Promise<unknown> {
  const file = process.env['KUBECONFIG'] ?? '';
  const { clusters, users } = JSON.parse(fs.readFileSync(file, 'utf8')) as Kubeconfig;
  const [{ cluster } = { cluster: { server: '', 'certificate-authority': '' } }] = clusters;
  const ca = fs.readFileSync(cluster['certificate-authority']);
  const headers = { Authorization: `Bearer ${users[0]?.user.token}` };
  const [status, body] = await new Promise<[number, string]>((resolve, reject) => {
    const request = https.request(`${cluster.server}${place}`, { method, headers, ca, agent });
    request.once('error', reject);
    request.once('response', (answer) => {
      text(answer).then((all) => resolve([answer.statusCode ?? 0, all]), reject);
    });
    request.end();
  });
  if (status === 404) return undefined;
  if (status >= 300) throw new Error(`${method} ${place}: ${status} ${body}`);
  return JSON.parse(body);
}

const PODS = '/api/v1/namespaces/default/pods';

/** Waits until a pod runs; returns its address. */
export async function runningPod(name: string): Promise<string> {
  let address = '';
  await until(`${name} runs`, async () => {
    const { status } = (await ask('GET', `${PODS}/${name}`)) as {
      readonly status: { readonly phase: string; readonly podIP?: string };
    };
    address = status.podIP ?? '';
    return status.phase === 'Running' && address !== '';
  });
  return address;
}

/** Deletes a pod, and waits until it is gone. */
export async function deletePod(name: string): Promise<void> {
  await ask('DELETE', `${PODS}/${name}`);
  await until(`${name} is gone`, async () => (await ask('GET', `${PODS}/${name}`)) === undefined);
}

/** Whether a node is Ready, and since when: `True since TIME`. */
export async function readyOf(node: string): Promise<string> {
  const found = (await ask('GET', `/api/v1/nodes/${node}`)) as {
    readonly status: {
      readonly conditions: readonly {
        readonly type: string;
        readonly status: string;
        readonly lastTransitionTime: string;
      }[];
    };
  };
  const ready = found.status.conditions.find(({ type }) => type === 'Ready');
  return `${ready?.status} since ${ready?.lastTransitionTime}`;
}

/** Waits until a DaemonSet of kube-system is what was asked for. */
export async function daemonSetReady(name: string): Promise<void> {
  await until(`${name} is everywhere`, async () => {
    const { metadata, status } = (await ask(
      'GET',
      `/apis/apps/v1/namespaces/kube-system/daemonsets/${name}`,
    )) as {
      readonly metadata: { readonly generation: number };
      readonly status: Readonly<Record<string, number | undefined>>;
    };
    const wanted = status['desiredNumberScheduled'];
    return (
      status['observedGeneration'] === metadata.generation &&
      status['updatedNumberScheduled'] === wanted &&
      status['numberAvailable'] === wanted
    );
  });
}
