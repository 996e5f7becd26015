// Where the API server is, by the environment or by a kubeconfig.

import { accessInPod, type Access } from '../cluster/access.ts';

/**
 * What says how to reach the API server: the environment of a pod, or a kubeconfig, which is read
 * anew each time, since whoever renews what is in it writes it anew. Throws AccessError where it
 * cannot be told at all.
 */
export async function accessBy(
  kubeconfig: string,
  environment: Readonly<Record<string, string | undefined>>,
): Promise<() => Access> {
  if (kubeconfig === '') {
    const access = accessInPod(environment);
    return () => access;
  }
  const { readKubeconfig } = await import('./kubeconfig.ts');
  readKubeconfig(kubeconfig);
  return () => readKubeconfig(kubeconfig);
}
