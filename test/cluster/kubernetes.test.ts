// podpace on a real Kubernetes of one node, by the manifests as they stand but for what a kernel
// without fq needs: everything but the cap itself, which vm/node.test.ts measures.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { clusterEnvironment } from '../../scripts/lib/cluster/kubernetes.ts';
import { firstProcess, startCluster } from '../../scripts/lib/cluster/outside.ts';
import { projectRoot } from '../../scripts/lib/paths.ts';
import { temporaryDirectory } from '../bed/temporary-directory.ts';
import { UndoStack } from '../bed/undo.ts';
import {
  apply,
  capped,
  capsOf,
  deploymentOf,
  leavings,
  outputOf,
  podOf,
  uninstall,
  until,
  untilRolledOut,
  untilSame,
  type RunOnNode,
} from '../kit/cluster.ts';

const CAPPED = capped('10M', '20M');
const RATES = [10_000_000, 20_000_000];

interface Cluster {
  readonly run: RunOnNode;
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
  const cluster = startCluster(command, ['pipe', 'pipe', 'inherit']);
  const { child, directory, ended, kill } = cluster;
  undo.teardown(async () => {
    kill();
    await ended;
  });
  if (child.stdout !== null) await Promise.race([once(child.stdout, 'data'), ended]);
  const inside = ['--target', String(firstProcess(cluster)), '--net', '--mount', '--pid'];
  const env = { ...process.env, ...clusterEnvironment(directory) };
  const run = async (script: string, input = ''): Promise<string> => {
    return await outputOf(
      spawn('nsenter', [...inside, 'sh', '-ec', script], { env }),
      script,
      input,
    );
  };
  return { run, manifests };
}

/** But for what is IPAM's and the runtime's own. */
function nodeFiles(run: RunOnNode): Promise<string> {
  return run(
    'find /etc /opt /run/podpace /var/lib/podpace /sys/fs/bpf -printf "%p %y %m %s %l\\n" 2>/dev/null | ' +
      'grep -v "\\.debug" | sort; ip -o link | cut -d: -f2',
  );
}

const MANY = 20;
/** How many pods are there when they are disturbed. */
const SOME = 5;

/** Both come again, as under a service manager. */
async function killKubeletAndRuntime(run: RunOnNode): Promise<void> {
  await run('kill -KILL $(pidof kubelet); kill -KILL $(pidof containerd)');
}

/** As a runtime does with an ADD that has had its time: the first ones meet a helper that hangs. */
async function killFirstAdds(run: RunOnNode, begin: () => Promise<void>): Promise<void> {
  await run('kill -STOP $(pidof podpaced)');
  try {
    await begin();
    await until('an ADD hangs', async () => (await run('pidof podpace || true')) !== '');
    await run('kill -KILL $(pidof podpace)');
    await killKubeletAndRuntime(run);
  } finally {
    await run('kill -CONT $(pidof podpaced)');
  }
}

async function twentyPodsComeAndGo(t: ExecutionContext, run: RunOnNode): Promise<void> {
  const before = await leavings(run);
  const others = await capsOf(run);
  await killFirstAdds(run, () => apply(run, deploymentOf('many', MANY, CAPPED)));
  await until('some pods are there', async () => Object.keys(await capsOf(run)).length > SOME);
  await killKubeletAndRuntime(run);
  await run('kubectl rollout status deploy/many --timeout=300s');
  const caps = await capsOf(run);
  t.is(Object.keys(caps).length, MANY + 1);
  for (const each of Object.values(caps)) t.deepEqual(each, RATES);
  await apply(run, deploymentOf('many', 0, CAPPED));
  await until(
    'some pods are gone',
    async () => Object.keys(await capsOf(run)).length < MANY - SOME,
  );
  await killKubeletAndRuntime(run);
  await untilSame('nothing of 20 pods is left', () => leavings(run), before);
  t.deepEqual(await capsOf(run), others);
}

test.serial('from an empty node to capped pods, and back', async (t) => {
  t.timeout(900_000);
  const { run, manifests } = await makeCluster(t);
  for (const overlay of ['chained', 'main-plugin', 'uninstall'])
    await t.notThrowsAsync(run(`kubectl apply --dry-run=server -k ${manifests}/${overlay}`));
  const before = await nodeFiles(run);

  const startMs = performance.now();
  await run(`kubectl apply -k ${manifests}/main-plugin`);
  await apply(run, podOf('web-0', CAPPED));
  const phase = (): Promise<string> => run("kubectl get pod web-0 -o jsonpath='{.status.phase}'");
  await untilSame('web-0 runs', phase, 'Running');
  t.log(`first pod with a cap after ${((performance.now() - startMs) / 1000).toFixed(1)} s`);
  const web = { 'default/web-0': RATES };
  t.deepEqual(await capsOf(run), web);
  await untilRolledOut(run, 'podpace');

  await run('kubectl -n kube-system rollout restart ds/podpace');
  await untilRolledOut(run, 'podpace');
  t.deepEqual(await capsOf(run), web);
  const ready = "kubectl get node -o jsonpath='{.items[0].status.conditions[-1].status}'";
  t.is(await run(ready), 'True');

  await twentyPodsComeAndGo(t, run);

  await run('kubectl delete deploy/many pod/web-0');
  await untilSame('web-0 is gone', () => run('ls /run/netns'), 'peer');
  await uninstall(run, 'main-plugin', manifests);
  t.is(await nodeFiles(run), before);
});
