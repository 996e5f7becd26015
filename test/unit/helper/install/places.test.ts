// Which directories are taken, on nodes in a folder. Where each distribution has them:
// helper/network-list/runtimes.ts names the sources.

import fs from 'node:fs';
import path from 'node:path';
import test from 'ava';
import { resolveIn } from '../../../../helper/install/node-root.ts';
import { findPlaces } from '../../../../helper/install/places.ts';
import { installScene } from '../../../kit/install-scene.ts';

const CNI_V2 = (bin: string, conf: string): string =>
  `version = 2\n[plugins."io.containerd.grpc.v1.cri".cni]\nbin_dir = "${bin}"\nconf_dir = "${conf}"\n`;

/** A node by what is on it, and its directories of lists and plugins. */
const NODES: Readonly<
  Record<
    string,
    readonly [files: Readonly<Record<string, string>>, confDir: string, binDirs: readonly string[]]
  >
> = {
  'kubeadm, kind, minikube with containerd': [
    { '/etc/containerd/config.toml': 'version = 3' },
    ...(['/etc/cni/net.d', ['/opt/cni/bin', '/usr/lib/cni']] as const),
  ],
  GKE: [
    {
      '/home/kubernetes/bin/mounter': '',
      '/etc/containerd/config.toml': CNI_V2('/home/kubernetes/bin', '/etc/cni/net.d'),
    },
    ...(['/etc/cni/net.d', ['/home/kubernetes/bin']] as const),
  ],
  k3s: [
    {
      '/var/lib/rancher/k3s/agent/etc/containerd/config.toml': CNI_V2(
        '/var/lib/rancher/k3s/data/cni',
        '/var/lib/rancher/k3s/agent/etc/cni/net.d',
      ),
    },
    ...(['/var/lib/rancher/k3s/agent/etc/cni/net.d', ['/var/lib/rancher/k3s/data/cni']] as const),
  ],
  RKE2: [
    { '/var/lib/rancher/rke2/agent/etc/containerd/config.toml': 'version = 2' },
    ...(['/etc/cni/net.d', ['/opt/cni/bin']] as const),
  ],
  MicroK8s: [
    { '/var/snap/microk8s/current/args/containerd.toml': 'version = 2' },
    ...([
      '/var/snap/microk8s/current/args/cni-network',
      ['/var/snap/microk8s/current/opt/cni/bin'],
    ] as const),
  ],
  Talos: [{ '/etc/cri/containerd.toml': '' }, ...(['/etc/cni/net.d', ['/opt/cni/bin']] as const)],
  'OpenShift with Multus': [
    {
      '/etc/kubernetes/cni/net.d/00-multus.conf': '{}',
      '/etc/crio/crio.conf.d/00-default':
        '[crio.network]\nnetwork_dir = "/etc/kubernetes/cni/net.d/"\nplugin_dirs = ["/var/lib/cni/bin", "/usr/libexec/cni"]\n',
    },
    ...(['/etc/kubernetes/cni/net.d/', ['/var/lib/cni/bin', '/usr/libexec/cni']] as const),
  ],
  'CRI-O as upstream': [
    { '/etc/crio/crio.conf': '' },
    ...(['/etc/cni/net.d', ['/opt/cni/bin']] as const),
  ],
};

for (const [what, [files, confDir, binDirs]] of Object.entries(NODES))
  test(`${what}: its directories are found`, async (t) => {
    const scene = installScene(t, true);
    for (const [file, text] of Object.entries(files)) scene.write(file, text);
    const found = await findPlaces({ root: scene.root });
    t.deepEqual([found.confDir, found.binDirs], [confDir, binDirs]);
    t.is(found.why.length, 2);
  });

test('flags win, and both spare the look at the runtime', async (t) => {
  const scene = installScene(t);
  const found = await findPlaces({ root: scene.root, binDir: '/b' });
  t.deepEqual([found.confDir, found.binDirs], ['/etc/cni/net.d', ['/b']]);
  scene.write('/etc/containerd/config.toml', 'no TOML');
  const both = await findPlaces({ root: scene.root, binDir: '/b', confDir: '/c' });
  t.deepEqual([both.confDir, both.binDirs, both.why], ['/c', ['/b'], []]);
});

test('of two runtimes the one that runs is taken, and it is said why', async (t) => {
  const scene = installScene(t);
  scene.write('/etc/crio/crio.conf', '');
  t.is((await findPlaces({ root: scene.root })).runtime, 'CRI-O');
  scene.write('/run/containerd/containerd.sock', '');
  const found = await findPlaces({ root: scene.root });
  t.is(found.runtime, 'containerd');
  t.is((await findPlaces({ root: scene.root })).why[0]?.startsWith('containerd'), true);
});

test('containerd: imports count in their order, wherever they lead', async (t) => {
  const scene = installScene(t);
  scene.write(
    '/etc/containerd/config.toml',
    `imports = ["conf.d/*.toml"]\n${CNI_V2('/a', '/a.d')}`,
  );
  scene.write('/etc/containerd/conf.d/20-b.toml', CNI_V2('/b', '/b.d'));
  scene.write(
    '/etc/containerd/conf.d/10-c.toml',
    `imports = ["/etc/containerd/config.toml"]\n${CNI_V2('/c', '/c.d')}`,
  );
  scene.write('/etc/containerd/conf.d/30-d.conf', CNI_V2('/d', '/d.d'));
  const found = await findPlaces({ root: scene.root });
  t.deepEqual([found.confDir, found.binDirs], ['/b.d', ['/b']]);
});

test('nothing known: the flags are named', async (t) => {
  const { root } = installScene(t, true);
  await t.throwsAsync(findPlaces({ root }), {
    message:
      /no containerd and no CRI-O is known at .*; give --conf-dir and --bin-dir, and see whether --root/,
  });
});

test('links of a node lead from its root', (t) => {
  const { root, at } = installScene(t, true);
  fs.mkdirSync(at('/data/v1/bin'), { recursive: true });
  fs.symlinkSync('/data/v1', at('/data/current'));
  fs.symlinkSync('../../../../data/current/bin', at('/data/v1/loop'));
  t.is(resolveIn(root, '/data/current/bin'), at('/data/v1/bin'));
  t.is(resolveIn(root, '/data/current/loop/x'), at('/data/v1/bin/x'));
  t.is(resolveIn(root, '/not/there'), at('/not/there'));
  t.is(resolveIn(root, '/../../etc'), path.join(root, 'etc'));
  fs.symlinkSync('b', at('/a'));
  fs.symlinkSync('a', at('/b'));
  t.throws(() => resolveIn(root, '/a'), { message: /too many symbolic links/ });
});
