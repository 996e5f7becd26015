// podpace on a real Kubernetes of one node, by the manifests as they stand but for what a kernel
// without fq needs: everything but the cap itself, which the tier vm measures.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import type { ListResult } from '../../helper/protocol/messages.ts';
import { IDLE_IMAGE } from '../../scripts/lib/cluster/idle-image.ts';
import { clusterEnvironment, startCluster } from '../../scripts/lib/cluster/outside.ts';
import { projectRoot } from '../../scripts/lib/paths.ts';
import { temporaryDirectory } from '../bed/temporary-directory.ts';
import { UndoStack } from '../bed/undo.ts';
import { endOf } from '../kit/run-program.ts';

const PODPACED = path.join(projectRoot, 'dist/podpaced');
const READY_MS = 180_000;

interface Cluster {
  /** Runs a script on the node; throws Error with what it says when it fails. */
  readonly run: (script: string) => Promise<string>;
  /** Has kubectl apply an object. */
  readonly apply: (object: object) => Promise<void>;
  /** The manifests, with a list that adds pods also where caps cannot be held. */
  readonly manifests: string;
}

/** Changed: without fq ADD would refuse every cap. */
function copyManifests(directory: string): void {
  fs.cpSync(path.join(projectRoot, 'conf/kubernetes'), directory, { recursive: true });
  const list = path.join(directory, 'main-plugin/network-list.yaml');
  const text = fs.readFileSync(list, 'utf8');
  const allowing = text.replace('"type": "podpace",', '$& "onUnenforceable": "allow",');
  fs.writeFileSync(list, allowing);
}

async function makeCluster(t: ExecutionContext): Promise<Cluster> {
  const undo = UndoStack.of(t);
  const manifests = path.join(temporaryDirectory(undo), 'kubernetes');
  copyManifests(manifests);
  // stdin stays open for as long as it is to run.
  const command = ['sh', '-c', 'echo is there; exec cat'];
  const { child, directory, ended, kill } = startCluster(command, ['pipe', 'pipe', 'inherit']);
  undo.teardown(async () => {
    kill();
    await ended;
  });
  if (child.stdout !== null) await Promise.race([once(child.stdout, 'data'), ended]);
  const children = fs.readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8');
  const inside = ['--target', children.trim(), '--net', '--mount', '--pid'];
  const env = clusterEnvironment(directory);
  const run = async (script: string, input = ''): Promise<string> => {
    const shell = spawn('nsenter', [...inside, 'sh', '-ec', script], { env });
    shell.stdin.end(input);
    const { code, stdout, stderr } = await endOf(shell);
    if (code !== 0) throw new Error(`${script}: ${stderr}${stdout}`);
    return stdout.trim();
  };
  const apply = async (object: object): Promise<void> =>
    void (await run('kubectl apply -f -', JSON.stringify(object)));
  return { run, apply, manifests };
}

async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  for (const endMs = performance.now() + READY_MS; !(await isSo()); await sleep(300))
    if (performance.now() > endMs) throw new Error(`in vain: ${what}`);
}

const ANNOTATIONS = {
  'kubernetes.io/egress-bandwidth': '10M',
  'kubernetes.io/ingress-bandwidth': '20M',
};
const POD_SPEC = {
  terminationGracePeriodSeconds: 0,
  containers: [{ name: 'idle', image: IDLE_IMAGE, imagePullPolicy: 'Never' }],
};
const WEB = {
  ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'web-0', annotations: ANNOTATIONS } },
  spec: POD_SPEC,
};

function deploymentOf(replicas: number): object {
  const labels = { app: 'many' };
  return {
    ...{ apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'many' } },
    spec: {
      ...{ replicas, selector: { matchLabels: labels } },
      template: { metadata: { labels, annotations: ANNOTATIONS }, spec: POD_SPEC },
    },
  };
}

/** Rates of each pod that the helper knows, in bits per second. */
async function capsOf({ run }: Cluster): Promise<Record<string, unknown>> {
  const { attachments } = JSON.parse(await run(`${PODPACED} list --json`)) as ListResult;
  return Object.fromEntries(
    attachments.map(({ podNamespace, podName, caps: { egress, ingress } }) => [
      `${podNamespace}/${podName}`,
      [egress?.rateBitsPerSec, ingress?.rateBitsPerSec],
    ]),
  );
}

/** Links, addresses, pins and records: what a pod may leave. */
function leavings({ run }: Cluster): Promise<string> {
  return run(
    'ip -o link | cut -d: -f2; ls /run/netns; ls /var/lib/cni/networks/podpace | grep -v reserved; ' +
      'find /run/podpace /sys/fs/bpf/podpace | sort',
  );
}

/** But for what is IPAM's and the runtime's own. */
function nodeFiles({ run }: Cluster): Promise<string> {
  return run(
    'find /etc /opt /run/podpace /var/lib/podpace /sys/fs/bpf -printf "%p %y %m %s %l\\n" 2>/dev/null | ' +
      'grep -v "\\.debug" | sort; ip -o link | cut -d: -f2',
  );
}

test.serial('from an empty node to capped pods, and back', async (t) => {
  t.timeout(900_000);
  const cluster = await makeCluster(t);
  const { run, apply, manifests } = cluster;
  for (const overlay of ['chained', 'main-plugin', 'uninstall'])
    await t.notThrowsAsync(run(`kubectl apply --dry-run=server -k ${manifests}/${overlay}`));
  const before = await nodeFiles(cluster);

  const startMs = performance.now();
  await run(`kubectl apply -k ${manifests}/main-plugin`);
  await apply(WEB);
  const phase = (): Promise<string> => run("kubectl get pod web-0 -o jsonpath='{.status.phase}'");
  await until('web-0 runs', async () => (await phase()) === 'Running');
  t.log(`first pod with a cap after ${((performance.now() - startMs) / 1000).toFixed(1)} s`);
  const web = { 'default/web-0': [10_000_000, 20_000_000] };
  t.deepEqual(await capsOf(cluster), web);
  await run('kubectl -n kube-system rollout status ds/podpace --timeout=120s');

  await run('kubectl -n kube-system rollout restart ds/podpace');
  await run('kubectl -n kube-system rollout status ds/podpace --timeout=120s');
  t.deepEqual(await capsOf(cluster), web);
  const ready = "kubectl get node -o jsonpath='{.items[0].status.conditions[-1].status}'";
  t.is(await run(ready), 'True');

  const without = await leavings(cluster);
  await apply(deploymentOf(20));
  await run('kubectl rollout status deploy/many --timeout=180s');
  const caps = await capsOf(cluster);
  t.is(Object.keys(caps).length, 21);
  for (const each of Object.values(caps)) t.deepEqual(each, [10_000_000, 20_000_000]);
  await apply(deploymentOf(0));
  await until('nothing of 20 pods is left', async () => (await leavings(cluster)) === without);
  t.deepEqual(await capsOf(cluster), web);

  await run('kubectl delete deploy/many pod/web-0');
  await until('web-0 is gone', async () => (await run('ls /run/netns')) === 'peer');
  await run(`kubectl delete -k ${manifests}/main-plugin`);
  const gone = 'kubectl -n kube-system get pods -o name';
  await until('podpaced is gone', async () => (await run(gone)) === '');
  await run(`kubectl apply -k ${manifests}/uninstall`);
  await run('kubectl -n kube-system rollout status ds/podpace-uninstall --timeout=120s');
  t.is(await nodeFiles(cluster), before);
});
