// Pods that kubectl makes, for tests that run on the node of a cluster or beside it.

import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ListResult } from '../../helper/protocol/messages.ts';
import { IDLE_IMAGE } from '../../scripts/lib/cluster/idle-image.ts';
import { projectRoot } from '../../scripts/lib/paths.ts';
import { endOf } from './run-program.ts';

const PODPACED = path.join(projectRoot, 'dist/podpaced');
const WITHIN_MS = 180_000;

/** Runs a script on the node; throws Error with what it says when it fails. */
export type RunOnNode = (script: string, input?: string) => Promise<string>;

/** What a shell with a script says; throws Error with that when it fails. */
export async function outputOf(
  shell: ChildProcessWithoutNullStreams,
  script: string,
  input: string,
): Promise<string> {
  // It may have ended without reading.
  shell.stdin.on('error', () => undefined);
  shell.stdin.end(input);
  const { code, stdout, stderr } = await endOf(shell);
  if (code !== 0) throw new Error(`${script}: ${stderr}${stdout}`);
  return stdout.trim();
}

/** Annotations of a pod that is capped both ways. */
export function capped(egress: string, ingress: string): Readonly<Record<string, string>> {
  return {
    'kubernetes.io/egress-bandwidth': egress,
    'kubernetes.io/ingress-bandwidth': ingress,
  };
}

const POD_SPEC = {
  terminationGracePeriodSeconds: 0,
  containers: [{ name: 'idle', image: IDLE_IMAGE, imagePullPolicy: 'Never' }],
};

/** A pod that does nothing. */
export function podOf(name: string, annotations: Readonly<Record<string, string>>): object {
  return { apiVersion: 'v1', kind: 'Pod', metadata: { name, annotations }, spec: POD_SPEC };
}

export function deploymentOf(
  name: string,
  replicas: number,
  annotations: Readonly<Record<string, string>>,
): object {
  const labels = { app: name };
  return {
    ...{ apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name } },
    spec: {
      ...{ replicas, selector: { matchLabels: labels } },
      template: { metadata: { labels, annotations }, spec: POD_SPEC },
    },
  };
}

/** Has kubectl apply an object. */
export async function apply(run: RunOnNode, object: object): Promise<void> {
  await run('kubectl apply -f -', JSON.stringify(object));
}

/** What the helper knows. */
export async function listed(run: RunOnNode): Promise<ListResult['attachments']> {
  return (JSON.parse(await run(`${PODPACED} list --json`)) as ListResult).attachments;
}

/** Rates of each pod that the helper knows, out and in, in bits per second. */
export async function capsOf(run: RunOnNode): Promise<Record<string, unknown>> {
  return Object.fromEntries(
    (await listed(run)).map(({ podNamespace, podName, caps: { egress, ingress } }) => [
      `${podNamespace}/${podName}`,
      [egress?.rateBitsPerSec, ingress?.rateBitsPerSec],
    ]),
  );
}

/** Links, addresses, routes, namespaces, pins, records and results: what a pod may leave. */
export function leavings(run: RunOnNode): Promise<string> {
  return run(
    'ip -o link | cut -d: -f2; ip -o -4 address; ip -4 route; ls /run/netns; ' +
      'find /var/lib/cni /run/podpace /sys/fs/bpf/podpace ! -type d | grep -v "/lock$\\|reserved" | sort',
  );
}

/** Waits; throws Error with what was awaited after three minutes. */
export async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  for (const endMs = performance.now() + WITHIN_MS; !(await isSo()); await sleep(300))
    if (performance.now() > endMs) throw new Error(`in vain: ${what}`);
}

/** As `until`; the error says what is, too. */
export async function untilSame(
  what: string,
  is: () => Promise<string>,
  wanted: string,
): Promise<void> {
  let last = '';
  try {
    await until(what, async () => (last = await is()) === wanted);
  } catch (error) {
    throw new Error(`${what}: in vain: ${last}\ninstead of ${wanted}`, { cause: error });
  }
}

const MANIFESTS = path.join(projectRoot, 'conf/kubernetes');

/** Waits until a DaemonSet of kube-system is what was asked for on every node. */
export async function untilRolledOut(run: RunOnNode, name: string): Promise<void> {
  await run(`kubectl -n kube-system rollout status ds/${name} --timeout=300s`);
}

/** Takes podpace off the cluster again; its pods have to be gone. */
export async function uninstall(
  run: RunOnNode,
  overlay: string,
  manifests = MANIFESTS,
): Promise<void> {
  await run(`kubectl delete -k ${manifests}/${overlay}`);
  const gone = 'kubectl -n kube-system get pods -o name';
  await until('podpaced is gone', async () => (await run(gone)) === '');
  await run(`kubectl apply -k ${manifests}/uninstall`);
  await untilRolledOut(run, 'podpace-uninstall');
}
