// A node with Debian's containerd and runc in namespaces of its own, which runs the containers of
// the manifests as a kubelet would have them run.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ExecutionContext } from 'ava';
import { RUNTIME_PATH } from '../../scripts/lib/cluster/runtime.ts';
import { PODPACE_IMAGE, PODPACE_IMAGE_FILE } from '../../scripts/lib/image/podpace.ts';
import { temporaryDirectory } from '../bed/temporary-directory.ts';
import { UndoStack } from '../bed/undo.ts';
import { endOf, type Ended } from './run-program.ts';

/** What of a container of a manifest counts here. */
export interface Container {
  readonly name: string;
  readonly image: string;
  readonly args: readonly string[];
  readonly env?: readonly {
    readonly name: string;
    readonly valueFrom: { readonly fieldRef: { readonly fieldPath: string } };
  }[];
  readonly securityContext: {
    readonly readOnlyRootFilesystem: boolean;
    readonly capabilities: { readonly drop: readonly string[]; readonly add?: readonly string[] };
  };
  readonly volumeMounts?: readonly {
    readonly name: string;
    readonly mountPath: string;
    readonly mountPropagation?: 'HostToContainer';
    readonly readOnly?: boolean;
  }[];
}

/** And of a pod. */
export interface PodSpec {
  readonly hostNetwork: boolean;
  readonly securityContext: { readonly seccompProfile: { readonly type: string } };
  readonly initContainers: readonly Container[];
  readonly containers: readonly Container[];
  readonly volumes: readonly {
    readonly name: string;
    readonly hostPath?: { readonly path: string };
    readonly configMap?: { readonly name: string };
  }[];
}

/** What runc gives to a container that nobody says more of (containerd's oci.WithDefaultUnixCaps). */
const USUAL_CAPABILITIES = [
  ...['AUDIT_WRITE', 'CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'FSETID', 'KILL', 'MKNOD'],
  ...['NET_BIND_SERVICE', 'NET_RAW', 'SETFCAP', 'SETGID', 'SETPCAP', 'SETUID', 'SYS_CHROOT'],
];

const SOCKET = '/run/containerd-of-test.sock';

/** The node's own directories are not the machine's. `$0` is a folder with containerd's files. */
const SET_UP = [
  'mount --make-rprivate /',
  'mount -t tmpfs node "$0/state" && mkdir "$0/state/cgroup"',
  'mount --rbind /sys/fs/cgroup "$0/state/cgroup"',
  'umount -R -l /sys && mount -t sysfs sysfs /sys',
  'mount --rbind "$0/state/cgroup" /sys/fs/cgroup',
  'mount -t bpf bpf /sys/fs/bpf',
  'for each in /run /var/lib /opt /etc; do mount -t tmpfs -o mode=755 node "$each"; done',
  'mkdir -p /opt/cni/bin /etc/cni/net.d /run/netns',
  // Of each container in the node's network.
  'touch /etc/hosts /etc/resolv.conf',
  'mount --make-rshared /',
  'ip link set lo up',
  'exec containerd --config "$0/containerd.toml"',
].join(' && ');

function configuration(directory: string): string {
  return [
    'version = 2',
    `root = "${directory}/state/root"`,
    'state = "/run/containerd-of-test"',
    // What would make pods of these.
    'disabled_plugins = ["io.containerd.grpc.v1.cri"]',
    `[grpc]\n  address = "${SOCKET}"`,
  ].join('\n');
}

const ENV = { ...process.env, PATH: [...RUNTIME_PATH, process.env['PATH']].join(':') };

/** Files of ConfigMaps, by the name of either. */
export type ConfigMaps = ReadonlyMap<string, Readonly<Record<string, string>>>;

export class ContainerNode {
  readonly #pid: number;
  readonly #configMaps: ConfigMaps;

  /** `pid` is in the node's namespaces. */
  constructor(pid: number, configMaps: ConfigMaps) {
    this.#pid = pid;
    this.#configMaps = configMaps;
  }

  /** Runs a command on the node. */
  run(command: string, ...args: readonly string[]): Promise<Ended> {
    const inside = ['--target', String(this.#pid), '--mount', '--net', '--pid', command, ...args];
    return endOf(spawn('nsenter', inside, { env: ENV, stdio: ['ignore', 'pipe', 'pipe'] }));
  }

  shell(script: string): Promise<Ended> {
    return this.run('sh', '-c', script);
  }

  async import(file: string): Promise<Ended> {
    return await this.run('ctr', '--address', SOCKET, 'images', 'import', file);
  }

  async runs(id: string): Promise<boolean> {
    const { stdout } = await this.run('ctr', '--address', SOCKET, 'tasks', 'list');
    return new RegExp(`^${id} .*RUNNING`, 'm').test(stdout);
  }

  signal(id: string, signal: string): Promise<Ended> {
    return this.run('ctr', '--address', SOCKET, 'tasks', 'kill', '--signal', signal, id);
  }

  /** Runs a container to its end, `args` instead of its own where given. */
  async container(pod: PodSpec, container: Container, args = container.args): Promise<Ended> {
    const { name, image, securityContext } = container;
    const { drop, add = [] } = securityContext.capabilities;
    const dropped = drop.includes('ALL') ? USUAL_CAPABILITIES : drop;
    const mounts = await Promise.all(
      (container.volumeMounts ?? []).map((mount) => this.#mountOf(pod, mount)),
    );
    const { type } = pod.securityContext.seccompProfile;
    return await this.run(
      // Without a cgroup, of which something would stay.
      ...(['ctr', '--address', SOCKET, 'run', '--rm', '--cgroup', ''] as const),
      ...(type === 'RuntimeDefault' ? ['--seccomp'] : []),
      ...(pod.hostNetwork ? ['--net-host'] : []),
      ...(securityContext.readOnlyRootFilesystem ? ['--read-only'] : []),
      ...dropped.flatMap((capability) => ['--cap-drop', `CAP_${capability}`]),
      ...add.flatMap((capability) => ['--cap-add', `CAP_${capability}`]),
      ...mounts.flatMap((mount) => ['--mount', mount]),
      ...[image, name, '/usr/bin/podpaced', ...args],
    );
  }

  /** Where a volume is on the node; made as the kubelet would. */
  async #mountOf(
    { volumes }: PodSpec,
    mount: NonNullable<Container['volumeMounts']>[number],
  ): Promise<string> {
    const volume = volumes.find(({ name }) => name === mount.name);
    const source = volume?.hostPath?.path ?? `/run/volumes/${mount.name}`;
    await this.run('mkdir', '-p', source);
    const files = this.#configMaps.get(volume?.configMap?.name ?? '') ?? {};
    for (const [name, text] of Object.entries(files))
      await this.run('sh', '-c', 'printf %s "$1" >"$0"', path.join(source, name), text);
    const options = [
      ...['rbind', mount.readOnly === true ? 'ro' : 'rw'],
      ...(mount.mountPropagation === undefined ? [] : ['rslave']),
    ];
    return `type=bind,src=${source},dst=${mount.mountPath},options=${options.join(':')}`;
  }
}

/** The process that stands first in the namespaces. */
async function firstInside(pid: number): Promise<number> {
  for (;;) {
    const [child] = fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ');
    if (child !== undefined && child !== '') return Number(child);
    await sleep(20);
  }
}

/** A node that runs, with the image. It is gone when the test is over. */
export async function makeContainerNode(
  t: ExecutionContext,
  configMaps: ConfigMaps,
): Promise<ContainerNode> {
  const undo = UndoStack.of(t);
  const directory = temporaryDirectory(undo);
  fs.mkdirSync(path.join(directory, 'state'));
  fs.writeFileSync(path.join(directory, 'containerd.toml'), configuration(directory));
  const namespaces = ['--net', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc'];
  const child = spawn('unshare', [...namespaces, 'sh', '-c', SET_UP, directory], {
    env: ENV,
    stdio: 'ignore',
  });
  const ended = once(child, 'exit');
  undo.teardown(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  const node = new ContainerNode(await firstInside(child.pid ?? 0), configMaps);
  while ((await node.shell(`test -S ${SOCKET}`)).code !== 0) {
    if (child.exitCode !== null) throw new Error(`containerd ended with ${child.exitCode}`);
    await sleep(100);
  }
  const { code, stderr } = await node.import(PODPACE_IMAGE_FILE);
  t.is(code, 0, `${PODPACE_IMAGE}: ${stderr}`);
  return node;
}
