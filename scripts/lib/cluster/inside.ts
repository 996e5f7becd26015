// node inside.ts DIRECTORY [COMMAND...]: a cluster of one node in namespaces of its own, in which
// this process has to be the first but `unshare`'s: all of it ends with this. `DIRECTORY` is empty.

import { spawn, type ChildProcess } from 'node:child_process';
import fs from 'node:fs';
import https from 'node:https';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { PODPACE_IMAGE_FILE } from '../image/podpace.ts';
import { capture } from '../process.ts';
import { say, step } from '../progress.ts';
import { IDLE_IMAGE_FILE } from './idle-image.ts';
import {
  ADDRESSES,
  CERTIFICATES,
  containerdConfig,
  controlPlane,
  kubeconfig,
  kubelet,
  kubeletConfig,
  NODE_NAME,
  tokenOf,
  tokenTable,
  USERS,
  type User,
} from './settings.ts';

const [directory = '', ...command] = process.argv.slice(2);
const POLL_MS = 300;
const READY_MS = 600_000;
/** Where Debian has plugins of others. */
const PLUGINS = '/usr/lib/cni';

function sh(script: string): Promise<string> {
  return capture('sh', ['-ec', script]);
}

/** Mounts of the node: only control groups and what is not written to are the machine's. */
async function makeMounts(): Promise<void> {
  const groups = path.join(directory, 'cgroup');
  const etc = path.join(directory, 'etc');
  await sh(`mount --make-rprivate /
mount -t tmpfs -o mode=755 cluster '${directory}'
mkdir '${groups}'
mount --rbind /sys/fs/cgroup '${groups}'
umount -R -l /sys
mount -t sysfs sysfs /sys
mount --rbind '${groups}' /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
for each in /run /var/lib /var/log /opt; do mount -t tmpfs -o mode=755 cluster "$each"; done
cp -a /etc '${etc}'
mount --bind '${etc}' /etc
mount --make-rshared /
mkdir -p /run/netns /opt/cni/bin /etc/cni/net.d /var/lib/cni '${directory}/log' '${directory}/pki'`);
  for (const name of fs.existsSync(PLUGINS) ? fs.readdirSync(PLUGINS) : [])
    fs.copyFileSync(path.join(PLUGINS, name), path.join('/opt/cni/bin', name));
}

/** The node's uplink leads to a peer, in a network namespace of that name. */
async function makeNetwork(): Promise<void> {
  const { node, peer, service, pods } = ADDRESSES;
  await sh(`ip link set lo up
ip addr add ${service}/32 dev lo
ip netns add peer
ip link add uplink numtxqueues 2 numrxqueues 2 type veth peer name eth0 netns peer
ip addr add ${node}/24 dev uplink
ip link set uplink up
ip -n peer addr add ${peer}/24 dev eth0
ip -n peer link set eth0 up
ip -n peer link set lo up
ip -n peer route add ${pods} via ${node}
ip route add default via ${peer}
echo 1 >/proc/sys/net/ipv4/ip_forward`);
}

async function makeKeys(): Promise<void> {
  const scripts = CERTIFICATES.map(
    ({ name, subject, extension }) => `
openssl req -newkey rsa:2048 -nodes -keyout ${name}.key -out ${name}.csr -subj '${subject}'
echo '${extension}' >${name}.ext
openssl x509 -req -in ${name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out ${name}.crt -days 2 -extfile ${name}.ext`,
  );
  await sh(`cd '${directory}/pki'
openssl genrsa -out accounts.key 2048
openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 2 -subj /CN=ca${scripts.join('')}`);
  fs.writeFileSync(path.join(directory, 'tokens.csv'), tokenTable());
  for (const user of Object.keys(USERS) as User[])
    fs.writeFileSync(path.join(directory, `${user}.kubeconfig`), kubeconfig(directory, user));
}

/** Starts a part of the cluster, whose words go into a file. */
function start([program = '', ...args]: readonly string[]): ChildProcess {
  const log = fs.openSync(path.join(directory, 'log', program), 'a');
  const child = spawn(program, args, { stdio: ['ignore', log, log] });
  fs.closeSync(log);
  child.on('exit', (code, signal) => say(`${program} ended (${signal ?? code})`));
  return child;
}

/** Asks the apiserver; empty while it does not answer. */
function ask(place: string): Promise<string> {
  const headers = { Authorization: `Bearer ${tokenOf('admin')}` };
  const ca = fs.readFileSync(path.join(directory, 'pki/ca.crt'));
  return new Promise((resolve) => {
    const request = https.get(`https://127.0.0.1/${place}`, { headers, ca }, (answer) => {
      let text = '';
      answer.on('data', (chunk: Buffer) => (text += chunk.toString()));
      answer.on('end', () => resolve(text));
    });
    request.on('error', () => resolve(''));
  });
}

/** Whether there is an object of the API, and something in a field of it. */
async function hasField(object: string, field: string): Promise<boolean> {
  const found = JSON.parse((await ask(`api/v1/${object}`)) || '{}') as Record<string, unknown>;
  return found['kind'] !== 'Status' && found[field] !== undefined;
}

/** Waits until something is so; on failure the end of a part's log says why. */
async function until(what: string, log: string, isSo: () => Promise<boolean>): Promise<void> {
  await step(what, async () => {
    const endMs = performance.now() + READY_MS;
    while (!(await isSo())) {
      if (performance.now() > endMs) {
        const lines = fs.readFileSync(path.join(directory, 'log', log), 'utf8').split('\n');
        throw new Error(`Cannot go on: ${log} says\n${lines.slice(-20).join('\n')}`);
      }
      await sleep(POLL_MS);
    }
  });
}

async function startRuntime(): Promise<void> {
  const runc = (await sh('command -v runc')).trim();
  fs.writeFileSync(path.join(directory, 'containerd.toml'), containerdConfig(directory, runc));
  start(['containerd', '--config', path.join(directory, 'containerd.toml')]);
  const socket = '/run/containerd/containerd.sock';
  await until('Starting containerd', 'containerd', async () => fs.existsSync(socket));
  for (const image of [IDLE_IMAGE_FILE, PODPACE_IMAGE_FILE])
    await capture('ctr', ['-a', socket, '-n', 'k8s.io', 'images', 'import', image]);
}

async function startCluster(): Promise<void> {
  await makeMounts();
  await makeNetwork();
  await makeKeys();
  const [etcd, apiserver, ...others] = controlPlane(directory);
  start(etcd ?? []);
  start(apiserver ?? []);
  await startRuntime();
  await until(
    'Starting the apiserver',
    'kube-apiserver',
    async () => (await ask('readyz')) === 'ok',
  );
  for (const each of others) start(each);
  const isUnified = fs.existsSync('/sys/fs/cgroup/cgroup.controllers');
  fs.writeFileSync(path.join(directory, 'kubelet.json'), kubeletConfig(directory, isUnified));
  start(kubelet(directory));
  await until('Waiting for the node', 'kubelet', () => hasField(`nodes/${NODE_NAME}`, 'status'));
  const account = 'namespaces/default/serviceaccounts/default';
  await until('Waiting for the service account', 'kube-controller-manager', () =>
    hasField(account, 'secrets'),
  );
}

try {
  const startMs = performance.now();
  await startCluster();
  say(`The cluster is there after ${((performance.now() - startMs) / 1000).toFixed(0)} s`);
  const [program = 'sh', ...args] = command;
  const child = spawn(program, args, { stdio: 'inherit' });
  process.exitCode = await new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => resolve(code ?? 1));
  });
} catch (error) {
  process.exitCode = 1;
  say(error instanceof Error ? error.message : String(error));
}
// The others end with this process.
process.exit();
