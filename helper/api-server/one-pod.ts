// Looks a pod up as a whole: what its metadata does not say.

import { parsePodNetwork, StreamError } from '../cluster/stream.ts';
import type { Pod } from '../cluster/pods.ts';
import { NoAnswer, Silence, type ApiClient } from './client.ts';

const SILENCE_MS = 10_000;

/**
 * Whether a pod is in the network of its node; undefined where that is not known: the pod is not
 * running, is another by now, or the server does not answer. By a list of one pod, since podpaced
 * need not be allowed to get pods.
 */
export async function isHostNetwork(
  client: ApiClient,
  { namespace, name, uid }: Pick<Pod, 'namespace' | 'name' | 'uid'>,
): Promise<'host network' | 'own network' | undefined> {
  const query = new URLSearchParams({ fieldSelector: `metadata.name=${name}` }).toString();
  const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods?${query}`;
  try {
    const asked = { path, silenceMs: SILENCE_MS, deadlineMs: SILENCE_MS };
    const { status, body } = await client.askWhole(asked, new AbortController().signal);
    return status === 200 ? parsePodNetwork(body, uid) : undefined;
  } catch (error) {
    if ([NoAnswer, Silence, StreamError].some((kind) => error instanceof kind)) return undefined;
    throw error;
  }
}
