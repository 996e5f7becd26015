// node inside.ts ROLE DIRECTORY [COMMAND...]: a cluster of one node (`all`) in namespaces of its
// own, in which this process has to be the first but `unshare`'s: all of it ends with this.
// `DIRECTORY` is empty. Or its `control` plane likewise, whose command boots a VM, and in that VM
// its `node`, by the keys in the control plane's directory.

import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import https from 'node:https';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { PODPACE_IMAGE_FILE } from '../image/podpace.ts';
import { capture } from '../process.ts';
import { say, step } from '../progress.ts';
import { IDLE_IMAGE_FILE } from './idle-image.ts';
import { clusterEnvironment } from './kubernetes.ts';
import { makeMachine, sh } from './machine.ts';
import {
  API,
  CERTIFICATES,
  containerdConfig,
  controlPlane,
  kubeconfig,
  kubelet,
  kubeletConfig,
  NODE_NAME,
  ROLES,
  tokenOf,
  tokenTable,
  USERS,
  type User,
} from './settings.ts';

const [roleName, directory = '', ...command] = process.argv.slice(2);
const role = ROLES.find((one) => one === roleName) ?? 'all';
const POLL_MS = 300;
const READY_MS = 600_000;
const RESTART_MS = 1000;

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
}

function writeKubeconfigs(): void {
  for (const user of Object.keys(USERS) as User[])
    fs.writeFileSync(path.join(directory, `${user}.kubeconfig`), kubeconfig(directory, user));
}

/** Starts a part of the cluster, whose words go into a file. */
function start([program = '', ...args]: readonly string[]): ChildProcess {
  const log = fs.openSync(path.join(directory, 'log', program), 'a');
  const child = spawn(program, args, {
    stdio: ['ignore', log, log],
    env: { ...process.env, ...clusterEnvironment(directory) },
  });
  fs.closeSync(log);
  child.on('exit', (code, signal) => say(`${program} ended (${signal ?? code})`));
  return child;
}

/** Starts what comes again when it ends, as under a service manager. */
function keepUp(command: readonly string[]): ChildProcess {
  const child = start(command);
  child.on('exit', () => setTimeout(() => keepUp(command), RESTART_MS));
  return child;
}

/** Asks the apiserver; empty while it does not answer. */
function ask(place: string): Promise<string> {
  const headers = { Authorization: `Bearer ${tokenOf('admin')}` };
  const ca = fs.readFileSync(path.join(directory, 'pki/ca.crt'));
  return new Promise((resolve) => {
    const request = https.get(`${API}/${place}`, { headers, ca }, (answer) => {
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

const CONTAINERD_SOCKET = '/run/containerd/containerd.sock';

async function startRuntime(): Promise<ChildProcess> {
  const env = clusterEnvironment(directory);
  const runc = (await capture('sh', ['-c', 'command -v runc'], { env })).trim();
  fs.writeFileSync(path.join(directory, 'containerd.toml'), containerdConfig(directory, runc));
  const containerd = keepUp(['containerd', '--config', path.join(directory, 'containerd.toml')]);
  await until('Starting containerd', 'containerd', async () => fs.existsSync(CONTAINERD_SOCKET));
  return containerd;
}

async function importImages(): Promise<void> {
  const ctr = ['-a', CONTAINERD_SOCKET, '-n', 'k8s.io', 'images', 'import'];
  for (const image of [IDLE_IMAGE_FILE, PODPACE_IMAGE_FILE])
    await capture('ctr', [...ctr, image], { env: clusterEnvironment(directory) });
}

/** Images for a VM, which would be minutes at unpacking them. */
async function leaveImages(): Promise<void> {
  const containerd = await startRuntime();
  await importImages();
  containerd.removeAllListeners('exit');
  containerd.kill();
  await once(containerd, 'exit');
}

async function startControlPlane(): Promise<void> {
  const [etcd, apiserver, ...others] = controlPlane(directory, role);
  start(etcd ?? []);
  start(apiserver ?? []);
  await until(
    'Starting the apiserver',
    'kube-apiserver',
    async () => (await ask('readyz')) === 'ok',
  );
  for (const each of others) start(each);
  const account = 'namespaces/default/serviceaccounts/default';
  await until('Waiting for the service account', 'kube-controller-manager', () =>
    hasField(account, 'secrets'),
  );
}

async function startKubelet(): Promise<void> {
  const isUnified = fs.existsSync('/sys/fs/cgroup/cgroup.controllers');
  fs.writeFileSync(path.join(directory, 'kubelet.json'), kubeletConfig(directory, isUnified));
  keepUp(kubelet(directory));
  await until('Waiting for the node', 'kubelet', () => hasField(`nodes/${NODE_NAME}`, 'status'));
}

async function startCluster(): Promise<void> {
  await makeMachine(role, directory);
  if (role !== 'node') await makeKeys();
  writeKubeconfigs();
  const parts = {
    all: [
      () => Promise.all([startRuntime().then(importImages), startControlPlane()]),
      startKubelet,
    ],
    control: [() => Promise.all([leaveImages(), startControlPlane()])],
    node: [startRuntime, startKubelet],
  };
  for (const part of parts[role]) await part();
}

/** Runs the command of this machine; asked to end, it is asked too. */
async function runCommand(): Promise<number> {
  const [program = 'sh', ...args] = command;
  const env = { ...process.env, ...clusterEnvironment(directory) };
  const child = spawn(program, args, { stdio: 'inherit', env });
  process.on('SIGTERM', () => child.kill('SIGTERM'));
  // Ctrl-C reaches it by the terminal.
  process.on('SIGINT', () => undefined);
  return await new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => resolve(code ?? 1));
  });
}

const NAMES = { all: 'cluster', control: 'control plane', node: 'node' };

try {
  const startMs = performance.now();
  await startCluster();
  const took = ((performance.now() - startMs) / 1000).toFixed(0);
  say(`The ${NAMES[role]} is there after ${took} s`);
  process.exitCode = await runCommand();
} catch (error) {
  process.exitCode = 1;
  say(error instanceof Error ? error.message : String(error));
}
// The others end with this process.
process.exit();
