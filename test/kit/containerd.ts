// containerd on a test bed's node, with files and networks of its own.

import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { writeImage } from '../../scripts/lib/image/layout.ts';
import { writeTar } from '../../scripts/lib/image/tar.ts';
import { projectRoot } from '../../scripts/lib/paths.ts';
import { capture } from '../../scripts/lib/process.ts';
import { unpackedContainerd, type ContainerdSuite } from '../../scripts/lib/containerd.ts';
import { BackgroundProcess } from '../bed/background.ts';
import { temporaryDirectory } from '../bed/temporary-directory.ts';
import type { TestBed } from '../bed/testbed.ts';
import type { UndoStack } from '../bed/undo.ts';
import { Cri } from './cri.ts';

const PAUSE_IMAGE = 'localhost/pause:1';
const READY_TIMEOUT_MS = 60_000;

/** In the form of version 2, which containerd 1 and 2 read. */
function configuration(folder: string): string {
  const cri = 'plugins."io.containerd.grpc.v1.cri"';
  return `
version = 2
root = "${folder}/root"
state = "${folder}/state"
[grpc]
  address = "${folder}/containerd.sock"
[${cri}]
  sandbox_image = "${PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  disable_apparmor = true
[${cri}.cni]
  bin_dir = "${folder}/bin"
  conf_dir = "${folder}/net.d"
[${cri}.containerd]
  snapshotter = "native"
`;
}

/** The first container of each pod, which only has to stay: busybox, and nothing else. */
function pauseImage(): Buffer {
  const content = fs.readFileSync('/bin/busybox');
  const archive = writeTar([{ path: 'busybox', kind: 'file', content, isExecutable: true }]);
  const layer = { archive, gzipped: gzipSync(archive, { level: 1 }) };
  return writeImage(layer, {
    name: PAUSE_IMAGE,
    architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
    entrypoint: ['/busybox', 'sleep', '2147483647'],
    labels: {},
  });
}

/** Folders of this name in every hierarchy of control groups, and what runc keeps beside them. */
function removeTraces(cgroup: string): void {
  for (const folder of fs.globSync(`/sys/fs/cgroup/{,*/}${cgroup}`)) fs.rmdirSync(folder);
  for (const folder of ['runc/k8s.io', 'runc', 's', '']) removeEmpty(`/run/containerd/${folder}`);
}

function removeEmpty(folder: string): void {
  if (fs.existsSync(folder) && fs.readdirSync(folder).length === 0) fs.rmdirSync(folder);
}

/** The plugins of the runtime's suite, and podpace. */
function linkPlugins(plugins: string, folder: string): void {
  fs.mkdirSync(folder);
  for (const name of fs.readdirSync(plugins))
    fs.symlinkSync(path.join(plugins, name), path.join(folder, name));
  fs.symlinkSync(path.join(projectRoot, 'dist/podpace'), path.join(folder, 'podpace'));
}

/** Its socket is there before its CRI is. Throws Error with the last answer after a minute. */
async function untilReady(cri: Cri, signal: AbortSignal): Promise<void> {
  const deadlineMs = performance.now() + READY_TIMEOUT_MS;
  const ask = async (): Promise<string> => {
    try {
      const ready = (await cri.conditions()).get('RuntimeReady');
      return ready?.isTrue === true ? '' : `containerd is not ready: ${ready?.message}`;
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  };
  for (let answer = await ask(); answer !== ''; answer = await ask()) {
    signal.throwIfAborted();
    if (performance.now() > deadlineMs) throw new Error(`Cannot go on: ${answer}`);
    await sleep(100);
  }
}

/**
 * Starts the containerd of a Debian suite (ensureContainerd) on a node, with one network list; returns
 * when it can make sandboxes. What it has made is taken away afterwards.
 */
export async function startContainerd(
  bed: TestBed<string>,
  { suite, list }: { readonly suite: ContainerdSuite; readonly list: string },
  undo: UndoStack,
  signal: AbortSignal,
): Promise<Cri> {
  const { path: PATH, plugins } = await unpackedContainerd(suite);
  const folder = temporaryDirectory(undo);
  undo.defer('take away what runc has left', () => removeTraces(path.basename(folder)));
  const [config, socket] = [path.join(folder, 'config.toml'), path.join(folder, 'containerd.sock')];
  fs.writeFileSync(config, configuration(folder));
  linkPlugins(plugins, path.join(folder, 'bin'));
  fs.mkdirSync(path.join(folder, 'net.d'));
  fs.writeFileSync(path.join(folder, 'net.d', '10-pods.conflist'), list);
  const onNode = (...command: readonly string[]): [string, string[]] =>
    bed.onNode('env', `PATH=${PATH}`, ...command);
  const daemon = await BackgroundProcess.start(...onNode('containerd', '--config', config));
  undo.defer('end containerd', () => daemon.stop());
  await daemon.ready((output) => output.includes('containerd successfully booted'), signal);
  const cri = Cri.open(socket, path.basename(folder));
  undo.defer('close the connection to containerd', () => cri.close());
  await untilReady(cri, signal);
  undo.defer('take the sandboxes away', async () => {
    for (const id of await cri.sandboxes()) {
      await cri.stopSandbox(id);
      await cri.removeSandbox(id);
    }
  });
  const image = path.join(folder, 'pause.tar');
  fs.writeFileSync(image, pauseImage());
  const ctr = ['ctr', '--address', socket, '--namespace', 'k8s.io'];
  const local = suite === 'sid' ? ['--local'] : [];
  await capture(...onNode(...ctr, 'images', 'import', ...local, image));
  return cri;
}
