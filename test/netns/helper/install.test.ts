// `podpaced install` as built: beside a helper that serves, and on file systems that are full or
// read-only.

import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { PODPACED } from '../../bed/helper.ts';
import { makeHelperDirectories, placeFlags, startOwnHelper, wirePod } from '../../kit/helper.ts';
import { FLANNEL, installScene, type InstallScene } from '../../kit/install-scene.ts';
import { makeNetns } from '../../kit/netns.ts';
import { runProgram, type Ended } from '../../kit/run-program.ts';

const LIST = '/etc/cni/net.d/10-flannel.conflist';
const PLUGIN = '/opt/cni/bin/podpace';

function install({ root }: InstallScene, ...flags: string[]): Promise<Ended> {
  return runProgram(PODPACED, ['install', '--root', root, ...flags]);
}

async function until(isSo: () => boolean): Promise<void> {
  for (let waitedMs = 0; !isSo(); waitedMs += 50) {
    if (waitedMs > 60_000) throw new Error('not in 60 s');
    await sleep(50);
  }
}

/** A file system of the test's own at a directory of the node. */
function mountAt(t: ExecutionContext, directory: string, options: string): void {
  execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', directory]);
  t.teardown(() => execFileSync('umount', [directory]));
}

test.serial('the plugin beside podpaced, a helper that serves, and all of it undone', async (t) => {
  const node = makeNetns(t);
  const directories = makeHelperDirectories(t);
  const helper = await startOwnHelper(t, node, directories);
  const scene = installScene(t);
  const before = scene.picture();
  const { code, stdout, stderr } = await install(scene, '--socket', helper.socket, '--json');
  t.is(code, 0, stderr);
  const result = JSON.parse(stdout) as { list: string; isListChanged: boolean };
  t.deepEqual([result.list, result.isListChanged], [scene.at(LIST), true]);
  const built = fs.readFileSync(path.join(path.dirname(PODPACED), 'podpace'));
  t.true(built.equals(fs.readFileSync(scene.at(PLUGIN))));
  const { plugins } = JSON.parse(scene.read(LIST)) as { plugins: { socket?: string }[] };
  t.is(plugins.at(-1)?.socket, helper.socket);

  const places = placeFlags(directories);
  const removed = await runProgram(PODPACED, ['uninstall', ...places, '--root', scene.root]);
  t.is(removed.code, 0, removed.stderr);
  t.true(removed.stdout.includes(`Took podpace out of ${scene.at(LIST)}, ${scene.at(PLUGIN)}.`));
  await helper.end('SIGTERM');
  t.deepEqual(scene.picture(), before);
});

test.serial(
  'the helper keeps podpace in, tells of pods that came meanwhile, and lets go',
  async (t) => {
    const [node, sandbox, directories] = [makeNetns(t), makeNetns(t), makeHelperDirectories(t)];
    const scene = installScene(t);
    const before = scene.picture();
    t.is((await install(scene, '--no-list')).code, 0);
    const flags = ['--cni-conf-dir', scene.at('/etc/cni/net.d')];
    const helper = await startOwnHelper(t, node, directories, flags);
    await until(() => scene.read(LIST).includes('"podpace"'));
    // The other CNI starts again, and a pod is added by its list.
    scene.write(LIST, FLANNEL, 0o600);
    wirePod(node, sandbox, 'came0');
    await until(() => scene.read(LIST).includes('"podpace"'));
    await until(() => helper.log().includes('pods were added while'));
    t.regex(helper.log(), /warn 1 pods were added while podpace was not in .* \(came0\): delete/);
    const places = placeFlags(directories);
    const removed = await runProgram(PODPACED, ['uninstall', ...places, '--root', scene.root]);
    t.is(removed.code, 0, removed.stderr);
    await helper.end('SIGTERM');
    t.deepEqual(scene.picture(), before);
  },
);

test.serial('no helper: refused with what to do, and --without-helper goes on', async (t) => {
  const scene = installScene(t);
  const before = scene.picture();
  const socket = scene.at('/none.sock');
  const refused = await install(scene, '--socket', socket, '--wait', '0');
  t.is(refused.code, 1);
  t.regex(
    refused.stderr,
    /no helper serves, so pods with caps .*podpaced run.*--wait.*--without-helper/,
  );
  t.deepEqual(scene.picture(), before);
  t.is((await install(scene, '--socket', socket, '--without-helper')).code, 0);
  t.not(scene.read(LIST), FLANNEL);
});

test.serial(
  'a full or read-only directory is named with the remedy, and nothing is lost',
  async (t) => {
    const full = installScene(t);
    mountAt(t, full.at('/opt/cni/bin'), 'size=1m');
    const noRoom = await install(full, '--without-helper');
    t.is(noRoom.code, 1);
    t.regex(
      noRoom.stderr,
      /Cannot write to \S+\/opt\/cni\/bin: .*; make room on the file system of/,
    );
    t.deepEqual(fs.readdirSync(full.at('/opt/cni/bin')), []);
    t.is(full.read(LIST), FLANNEL);

    const readOnly = installScene(t);
    mountAt(t, readOnly.at('/opt/cni/bin'), 'ro');
    const refused = await install(readOnly, '--without-helper');
    t.is(refused.code, 1);
    t.regex(
      refused.stderr,
      /opt\/cni\/bin is read-only; name a directory .* with --bin-dir, and have/,
    );
    t.is(readOnly.read(LIST), FLANNEL);
    fs.mkdirSync(readOnly.at('/opt/other'));
    const elsewhere = await install(readOnly, '--without-helper', '--bin-dir', '/opt/other');
    t.is(elsewhere.code, 0, elsewhere.stderr);
    t.true(fs.existsSync(readOnly.at('/opt/other/podpace')));
  },
);

test.serial('a directory of lists that is read-only: what was there stays', async (t) => {
  const scene = installScene(t);
  const directory = scene.at('/etc/cni/net.d');
  mountAt(t, directory, 'size=64k');
  fs.writeFileSync(scene.at(LIST), FLANNEL);
  execFileSync('mount', ['-o', 'remount,ro', directory]);
  const refused = await install(scene, '--without-helper');
  t.is(refused.code, 1);
  t.regex(
    refused.stderr,
    /Cannot write to \S+net\.d: .*; name one that can be written to, .*--conf-dir/,
  );
  execFileSync('mount', ['-o', 'remount,rw', directory]);
  // Every byte of it taken.
  fs.writeFileSync(path.join(directory, 'filler'), Buffer.alloc(4096));
  for (let isFull = false; !isFull;)
    try {
      fs.appendFileSync(path.join(directory, 'filler'), Buffer.alloc(4096));
    } catch {
      isFull = true;
    }
  const noRoom = await install(scene, '--without-helper');
  t.is(noRoom.code, 1);
  t.regex(noRoom.stderr, /Cannot write to \S+net\.d: .*; make room on the file system of/);
  t.is(scene.read(LIST), FLANNEL);
  t.deepEqual(fs.readdirSync(directory).toSorted(), ['10-flannel.conflist', 'filler']);
});
