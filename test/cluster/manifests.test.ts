// The manifests as they stand: what kubectl makes of them, and their containers in Debian's
// containerd and runc, with the rights and mounts that they name and nothing else.

import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { RUNTIME_PATH } from '../../scripts/lib/cluster/runtime.ts';
import { PODPACE_IMAGE } from '../../scripts/lib/image/podpace.ts';
import { projectRoot } from '../../scripts/lib/paths.ts';
import {
  makeContainerNode,
  type ConfigMaps,
  type Container,
  type ContainerNode,
  type PodSpec,
} from '../kit/container-node.ts';
import type { Ended } from '../kit/run-program.ts';

const KUBECTL = path.join(RUNTIME_PATH[0] ?? '', 'kubectl');
const OVERLAYS = ['chained', 'main-plugin'] as const;
type Overlay = (typeof OVERLAYS)[number];

interface Resource {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly data?: Readonly<Record<string, string>>;
  readonly spec?: { readonly template: { readonly spec: PodSpec } };
}

/** What `kubectl apply -k` would send. kubectl writes JSON without a server where it changes a mark. */
function resourcesOf(overlay: Overlay | 'uninstall'): Resource[] {
  const directory = path.join(projectRoot, 'conf/kubernetes', overlay);
  const input = execFileSync(KUBECTL, ['kustomize', directory]);
  const mark = ['annotate', '--local', '--filename=-', '--output=json', 'test=1'];
  const json = execFileSync(KUBECTL, mark, { input, encoding: 'utf8' });
  return JSON.parse(`[${json.trim().replaceAll(/^\}\n\{/gm, '},{')}]`) as Resource[];
}

function podOf(resources: readonly Resource[]): PodSpec {
  const pod = resources.find(({ kind }) => kind === 'DaemonSet')?.spec?.template.spec;
  if (pod === undefined) throw new Error('no DaemonSet');
  return pod;
}

function configMapsOf(resources: readonly Resource[]): ConfigMaps {
  return new Map(resources.flatMap(({ metadata, data }) => (data ? [[metadata.name, data]] : [])));
}

for (const overlay of [...OVERLAYS, 'uninstall'] as const) {
  test(`${overlay}: all is in kube-system, of the image that ./scripts/image makes`, (t) => {
    const resources = resourcesOf(overlay);
    for (const { kind, metadata } of resources)
      t.is(metadata.namespace, kind.startsWith('ClusterRole') ? undefined : 'kube-system');
    const { initContainers, containers } = podOf(resources);
    for (const { image } of [...initContainers, ...containers]) t.is(image, PODPACE_IMAGE);
  });

  test(`${overlay}: nobody may write to the image, or gain rights`, (t) => {
    const pod = podOf(resourcesOf(overlay));
    t.is(pod.securityContext.seccompProfile.type, 'RuntimeDefault');
    for (const { name, securityContext } of [...pod.initContainers, ...pod.containers])
      t.like(
        securityContext,
        {
          ...{ privileged: undefined, allowPrivilegeEscalation: false },
          readOnlyRootFilesystem: true,
        },
        name,
      );
  });
}

function containerOf({ initContainers, containers }: PodSpec, name: string): Container {
  const found = [...initContainers, ...containers].find((one) => one.name === name);
  if (found === undefined) throw new Error(`no container ${name}`);
  return found;
}

/** The address of a node that has loopback only. */
const HOST_IP = '127.0.0.1';

/** Arguments with variables as the kubelet puts them in; no apiserver is here. */
function argsOf({ args, env = [] }: Container): string[] {
  const { fieldPath } = env.find(({ name }) => name === 'HOST_IP')?.valueFrom.fieldRef ?? {};
  return args
    .filter((one) => one !== '--kubernetes')
    .map((one) => (fieldPath === 'status.hostIP' ? one.replace('$(HOST_IP)', HOST_IP) : one));
}

/** Asks as the kubelet does; empty where nobody answers. */
async function asks(node: ContainerNode, question: string, port = 9843): Promise<string> {
  const script = `fetch('http://127.0.0.1:${port}${question}').then((one) => one.text()).then(console.log)`;
  return (await node.run(process.execPath, '-e', script)).stdout.trim();
}

/** Starts the helper's container; returns its end. */
async function starts(node: ContainerNode, pod: PodSpec): Promise<Promise<Ended>[]> {
  const helper = containerOf(pod, 'podpaced');
  const args = argsOf(helper);
  const ended = node.container(pod, helper, args);
  const failed = ended.then(({ stderr }) => {
    throw new Error(stderr);
  });
  failed.catch(() => undefined);
  const ready = async (): Promise<void> => {
    while ((await asks(node, '/readyz')) !== 'ok') await sleep(200);
  };
  await Promise.race([ready(), failed]);
  return [ended];
}

/** What a node had before, and must have again. */
async function treeOf(node: ContainerNode): Promise<string> {
  const script =
    'find /etc /opt /var/lib /sys/fs/bpf /run/podpace -printf "%p %y %m %s %l\\n" 2>/dev/null | grep -v debug | sort; ' +
    'find /etc /opt /var/lib -type f -exec sha256sum {} + | sort';
  return (await node.shell(script)).stdout;
}

const OTHERS_LIST = '{"cniVersion":"1.0.0","name":"pods","plugins":[{"type":"ptp"}]}\n';

async function installed(
  t: ExecutionContext,
  overlay: Overlay,
): Promise<{ readonly node: ContainerNode; readonly pod: PodSpec; readonly before: string }> {
  const resources = resourcesOf(overlay);
  const pod = podOf(resources);
  const node = await makeContainerNode(t, configMapsOf(resources));
  if (overlay === 'chained')
    await node.run('sh', '-c', 'printf %s "$0" >/etc/cni/net.d/10-other.conflist', OTHERS_LIST);
  const before = await treeOf(node);
  const { code, stderr } = await node.container(pod, containerOf(pod, 'install'));
  t.is(code, 0, stderr);
  t.is(
    (await node.run('cmp', '/opt/cni/bin/podpace', path.join(projectRoot, 'dist/podpace'))).code,
    0,
  );
  // A node may have none, and the plugin needs it.
  t.is((await node.run('test', '-s', '/var/lib/podpace/lib/libstdc++.so.6')).code, 0);
  return { node, pod, before };
}

async function listsOf(node: ContainerNode): Promise<string> {
  return (await node.shell('cat /etc/cni/net.d/*.conflist')).stdout;
}

async function uninstalls(t: ExecutionContext, node: ContainerNode): Promise<void> {
  const pod = podOf(resourcesOf('uninstall'));
  const { code, stdout, stderr } = await node.container(pod, containerOf(pod, 'uninstall'));
  t.is(code, 0, stderr);
  t.is(stderr, '');
  t.regex(stdout, /^Detached 0 pods/);
}

test.serial('chained: install, helper, restart, uninstall leave the node as it was', async (t) => {
  t.timeout(300_000);
  const { node, pod, before } = await installed(t, 'chained');
  t.is(await listsOf(node), OTHERS_LIST);
  for (let turn = 1; turn <= 2; turn += 1) {
    const [ended] = await starts(node, pod);
    t.is(await asks(node, '/livez'), 'ok');
    t.regex(await asks(node, '/metrics', 9844), /^podpace_attachments 0$/m);
    while (!(await listsOf(node)).includes('podpace')) await sleep(100);
    const { stdout } = await node.run(path.join(projectRoot, 'dist/podpaced'), 'status', '--json');
    const status = JSON.parse(stdout) as { nodeTraffic?: unknown; problems: string[] };
    // Its own bpffs would be named there, and a root of control groups that it cannot find.
    t.deepEqual(
      status.problems.filter((one) => /bpffs|control group|cgroup/.test(one)),
      [],
    );
    await node.signal('podpaced', 'SIGTERM');
    t.is((await ended)?.code, 0);
    // What caps are made of stays on the node's bpffs.
    t.is((await node.shell('test -e /sys/fs/bpf/podpace/aggregate_config')).code, 0);
  }
  await uninstalls(t, node);
  t.is(await treeOf(node), before);
});

test.serial('main plugin: the list comes when the helper serves, and goes with it', async (t) => {
  t.timeout(300_000);
  const { node, pod, before } = await installed(t, 'main-plugin');
  t.is(await listsOf(node), '');
  const helper = containerOf(pod, 'podpaced') as Container & {
    readonly lifecycle: { readonly postStart: { readonly exec: { readonly command: string[] } } };
  };
  const [program, ...args] = helper.lifecycle.postStart.exec.command;
  t.is(program, '/usr/bin/podpaced');
  // The kubelet runs it at once, beside the helper.
  const hook = node.container(pod, { ...helper, name: 'post-start' }, args);
  const [ended] = await starts(node, pod);
  const { code, stderr } = await hook;
  t.is(code, 0, stderr);
  const { plugins } = JSON.parse(await listsOf(node)) as { plugins: { type: string }[] };
  t.deepEqual(
    plugins.map(({ type }) => type),
    ['podpace'],
  );
  await node.signal('podpaced', 'SIGTERM');
  await ended;
  await uninstalls(t, node);
  t.is(await treeOf(node), before);
});

test.serial('no capability is there in vain', async (t) => {
  t.timeout(300_000);
  const { node, pod } = await installed(t, 'chained');
  const container = containerOf(pod, 'podpaced');
  const { add = [] } = container.securityContext.capabilities;
  for (const capability of add) {
    const { securityContext } = container;
    const capabilities = { drop: ['ALL'], add: add.filter((one) => one !== capability) };
    const without = { ...container, securityContext: { ...securityContext, capabilities } };
    const args = argsOf(container);
    const { code, stderr } = await node.container(pod, without, args);
    t.is(code, 1);
    t.regex(stderr, new RegExp(`podpaced lacks CAP_${capability} `));
  }
});

test.serial(
  'what waits at the end of an uninstall needs no right, and ends when it is told to',
  async (t) => {
    const pod = podOf(resourcesOf('uninstall'));
    const node = await makeContainerNode(t, new Map());
    const end = { isThere: false };
    const ended = node.container(pod, containerOf(pod, 'done')).finally(() => (end.isThere = true));
    while (!end.isThere && !(await node.runs('done'))) await sleep(200);
    await sleep(2_000);
    t.false(end.isThere);
    // The first process of a container gets no signal before it listens for it.
    for (; !end.isThere; await sleep(500)) await node.signal('done', 'SIGTERM');
    const { code, stderr } = await ended;
    t.is(code, 0, stderr);
  },
);

test('the tag in the manifests is that of the release', (t) => {
  for (const file of ['base', 'uninstall']) {
    const text = fs.readFileSync(
      path.join(projectRoot, 'conf/kubernetes', file, 'kustomization.yaml'),
      'utf8',
    );
    t.is(`localhost/podpace:${/newTag: (.*)/.exec(text)?.[1]}`, PODPACE_IMAGE);
  }
});
