// `podpaced install` and what `podpaced uninstall` undoes of it, on a node in a folder.

import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { STAGED } from '../../../../helper/install/files.ts';
import { removeInstalled } from '../../../../helper/install/remove.ts';
import { FLANNEL, installScene, pluginOf, type InstallScene } from '../../../kit/install-scene.ts';
import { patched } from '../../../kit/patched.ts';
import { LISTS, SINGLES } from '../../../kit/published-lists.ts';

const LIST = '/etc/cni/net.d/10-flannel.conflist';
const PLUGIN = '/opt/cni/bin/podpace';
const RECEIPT = '/var/lib/podpace/install.json';

async function refusal(t: ExecutionContext, asked: Promise<unknown>): Promise<string> {
  return (await t.throwsAsync(asked))?.message ?? '';
}

test('install, install again, uninstall, uninstall again', async (t) => {
  const scene = installScene(t);
  const before = scene.picture();
  const first = await scene.install();
  t.is(first.plugin.did, 'copied');
  t.true(first.isListChanged);
  t.is(scene.read(PLUGIN), fs.readFileSync(scene.plugin, 'utf8'));
  t.is(fs.statSync(scene.at(PLUGIN)).mode & 0o7777, 0o755);
  // Somebody who may not read the list may not read it now.
  t.is(fs.statSync(scene.at(LIST)).mode & 0o7777, 0o600);
  const { plugins } = JSON.parse(scene.read(LIST)) as { plugins: { type: string }[] };
  t.deepEqual(
    plugins.map(({ type }) => type),
    ['flannel', 'portmap', 'podpace'],
  );
  const once = scene.picture();
  const inodes = [PLUGIN, LIST].map((file) => fs.statSync(scene.at(file)).ino);

  const second = await scene.install();
  t.deepEqual([second.plugin.did, second.isListChanged], ['there already', false]);
  t.deepEqual(scene.picture(), once);
  t.deepEqual(
    [PLUGIN, LIST].map((file) => fs.statSync(scene.at(file)).ino),
    inodes,
  );

  const removed = await removeInstalled(scene.root);
  t.deepEqual(removed, { changed: [scene.at(LIST), scene.at(PLUGIN)], notes: [] });
  t.deepEqual(scene.picture(), before);
  t.false(fs.existsSync(scene.at('/var/lib/podpace')));
  t.is(await removeInstalled(scene.root), undefined);
});

/** What a release archive has beside its executable. */
const LIBRARIES = ['libgcc_s.so.1', 'libstdc++.so.6'] as const;
const LIBRARY_DIRECTORY = '/var/lib/podpace/lib';

function putBeside({ plugin }: InstallScene, content: string): void {
  const directory = path.join(path.dirname(plugin), 'lib');
  fs.mkdirSync(directory, { recursive: true });
  for (const name of [...LIBRARIES, 'libother.so.1'])
    fs.writeFileSync(path.join(directory, name), content);
}

function librariesOf({ at }: InstallScene): Readonly<Record<string, string>> {
  const directory = at(LIBRARY_DIRECTORY);
  const names = fs.existsSync(directory) ? fs.readdirSync(directory).toSorted() : [];
  const read = (name: string): string => fs.readFileSync(path.join(directory, name), 'utf8');
  return Object.fromEntries(names.map((name) => [name, read(name)]));
}

test('libraries beside the plugin come with it, are renewed with it, and go with it', async (t) => {
  const scene = installScene(t);
  const before = scene.picture();
  for (const content of ['of one release', 'of the next']) {
    putBeside(scene, content);
    const files = LIBRARIES.map((name) => scene.at(`${LIBRARY_DIRECTORY}/${name}`));
    t.deepEqual((await scene.install({ isDryRun: true })).libraries.toSorted(), files);
    t.deepEqual((await scene.install()).libraries.toSorted(), files);
    t.deepEqual(librariesOf(scene), Object.fromEntries(LIBRARIES.map((name) => [name, content])));
    const [first = ''] = files;
    t.is(fs.statSync(first).mode & 0o777, 0o644);
    t.deepEqual((await scene.install()).libraries, []);
  }
  await removeInstalled(scene.root);
  t.deepEqual(scene.picture(), before);
  t.false(fs.existsSync(scene.at('/var/lib/podpace')));
});

test('libraries that an operator has put there stay when podpace goes', async (t) => {
  const scene = installScene(t);
  putBeside(scene, 'of the release');
  for (const name of LIBRARIES) scene.write(`${LIBRARY_DIRECTORY}/${name}`, 'of the release');
  const before = scene.picture();
  await scene.install();
  await removeInstalled(scene.root);
  t.deepEqual(scene.picture(), before);
});

test('every published list is byte for byte what it was', async (t) => {
  for (const [name, text] of Object.entries({ ...LISTS, ...SINGLES })) {
    const scene = installScene(t);
    fs.rmSync(scene.at(LIST));
    scene.write(`/etc/cni/net.d/${name}`, text);
    const before = scene.picture();
    await scene.install();
    t.notDeepEqual(scene.picture(), before, name);
    await removeInstalled(scene.root);
    t.deepEqual(scene.picture(), before, name);
  }
});

test('--dry-run prints the difference and changes nothing', async (t) => {
  const scene = installScene(t);
  const before = scene.picture();
  const { difference, plugin } = await scene.install(
    { isDryRun: true },
    { requireHelper: () => Promise.reject(new Error('was asked')) },
  );
  t.deepEqual(scene.picture(), before);
  t.is(plugin.did, 'copied');
  t.true(
    difference.startsWith(`--- ${scene.at(LIST)}\n+++ ${scene.at(LIST)}\n@@ -14,6 +14,13 @@\n`),
    difference,
  );
  const wanted = patched(FLANNEL, difference);
  await scene.install();
  t.is(scene.read(LIST), wanted);
});

test('without a helper nothing is changed', async (t) => {
  const scene = installScene(t);
  const before = scene.picture();
  const requireHelper = (): Promise<void> => Promise.reject(new Error('no helper'));
  t.is(await refusal(t, scene.install({}, { requireHelper })), 'no helper');
  t.deepEqual(scene.picture(), before);
  // The list is added to by the helper, when it serves.
  await scene.install({ isPluginOnly: true }, { requireHelper });
  t.is(scene.read(LIST), FLANNEL);
  t.true(fs.existsSync(scene.at(PLUGIN)));
  await removeInstalled(scene.root);
  t.deepEqual(scene.picture(), before);
});

test('killed after any step: the next install finishes, or an uninstall cleans', async (t) => {
  const steps: string[] = [];
  const counting = installScene(t);
  putBeside(counting, '');
  await counting.install({}, { reached: (step) => steps.push(step) });
  const libraries = ['library libstdc++.so.6', 'library libgcc_s.so.1'];
  t.deepEqual(steps, ['receipt', ...libraries, 'plugin', 'list 10-flannel.conflist']);
  const whole = counting.picture();
  for (const last of steps)
    for (const next of ['install', 'uninstall']) {
      const scene = installScene(t);
      putBeside(scene, '');
      const before = scene.picture();
      const reached = (step: string): void => {
        if (step === last) throw new Error('killed');
      };
      await t.throwsAsync(scene.install({}, { reached }));
      // A file that it was about to put there.
      for (const directory of ['/opt/cni/bin', '/etc/cni/net.d', '/var/lib/podpace'])
        scene.write(path.join(directory, STAGED), 'half');
      if (next === 'install') {
        await scene.install();
        t.deepEqual(scene.picture(), whole, last);
      } else {
        await removeInstalled(scene.root);
        t.deepEqual(scene.picture(), before, last);
      }
    }
});

test('two installs at once are one', async (t) => {
  const scene = installScene(t);
  const results = await Promise.all([scene.install(), scene.install(), scene.install()]);
  t.is(results.filter(({ isListChanged }) => isListChanged).length, 1);
  const { plugins } = JSON.parse(scene.read(LIST)) as { plugins: unknown[] };
  t.is(plugins.length, 3);
  await removeInstalled(scene.root);
  t.is(scene.read(LIST), FLANNEL);
});

test('what the other CNI writes meanwhile is not lost', async (t) => {
  const scene = installScene(t);
  const newer = FLANNEL.replace('"cbr0"', '"cbr1"');
  let isFirst = true;
  await scene.install(
    {},
    {
      reached: (step) => {
        if (step !== 'plugin' || !isFirst) return;
        isFirst = false;
        scene.write(LIST, newer, 0o600);
      },
    },
  );
  const { name, plugins } = JSON.parse(scene.read(LIST)) as { name: string; plugins: unknown[] };
  t.deepEqual([name, plugins.length], ['cbr1', 3]);
  await removeInstalled(scene.root);
  t.is(scene.read(LIST), newer);
});

test('what others have changed since stays when podpace goes', async (t) => {
  const scene = installScene(t);
  await scene.install();
  const changed = scene.read(LIST).replace('"hairpinMode": true', '"hairpinMode": false');
  // Renamed, too.
  fs.rmSync(scene.at(LIST));
  scene.write('/etc/cni/net.d/05-flannel.conflist', changed);
  await removeInstalled(scene.root);
  t.is(
    scene.read('/etc/cni/net.d/05-flannel.conflist'),
    FLANNEL.replace('"hairpinMode": true', '"hairpinMode": false'),
  );
});

test('a newer plugin is refused unless told; an older, and what is none, is replaced', async (t) => {
  const scene = installScene(t);
  scene.write(PLUGIN, pluginOf('1.10.0'), 0o755);
  const before = scene.picture();
  t.is(
    await refusal(t, scene.install()),
    `Cannot install podpace 1.2.0: ${scene.at(PLUGIN)} is of 1.10.0, which is newer; install that release, or go back with --downgrade`,
  );
  t.deepEqual(scene.picture(), before);
  const { plugin } = await scene.install({ mayDowngrade: true });
  t.deepEqual([plugin.did, plugin.formerRelease], ['replaced', '1.10.0']);
  for (const former of [pluginOf('1.1.9'), pluginOf('1.2.0-rc.1'), 'not even a program']) {
    scene.write(PLUGIN, former, 0o755);
    t.is((await scene.install()).plugin.did, 'replaced');
    t.is(scene.read(PLUGIN), pluginOf('1.2.0'));
  }
});

test('a plugin that was there before, and one that a list still names, stay', async (t) => {
  const scene = installScene(t);
  scene.write(PLUGIN, pluginOf('1.2.0'), 0o755);
  const before = scene.picture();
  await scene.install();
  await removeInstalled(scene.root);
  t.deepEqual(scene.picture(), before);

  const other = installScene(t);
  await other.install();
  other.write('/etc/cni/net.d/90-own.conflist', '{"plugins":[{"type":"podpace"}]}');
  const notes = (await removeInstalled(other.root))?.notes ?? [];
  t.regex(notes.join('\n'), /90-own\.conflist names podpace/);
  t.regex(
    notes.join('\n'),
    /bin\/podpace stays: a list in .* still names it; take it out there, and/,
  );
  t.true(fs.existsSync(other.at(PLUGIN)));
  fs.rmSync(other.at('/etc/cni/net.d/90-own.conflist'));
  t.deepEqual((await removeInstalled(other.root))?.notes, []);
  t.false(fs.existsSync(other.at(PLUGIN)));
});

test('CRI-O calls the plugin of ADD at DEL: it stays while libcni keeps such attachments', async (t) => {
  for (const [config, isKept] of [
    ['/etc/crio/crio.conf', true],
    ['/etc/containerd/config.toml', false],
  ] as const) {
    const scene = installScene(t, true);
    fs.mkdirSync(scene.at('/opt/cni/bin'), { recursive: true });
    scene.write(config, '');
    scene.write(LIST, FLANNEL);
    await scene.install();
    const list = Buffer.from(scene.read(LIST)).toString('base64');
    scene.write(
      '/var/lib/cni/results/cbr0-abc-eth0',
      JSON.stringify({ kind: 'cniCacheV1', config: list }),
    );
    scene.write('/var/lib/cni/results/other', 'no JSON');
    const notes = (await removeInstalled(scene.root))?.notes ?? [];
    t.is(fs.existsSync(scene.at(PLUGIN)), isKept, config);
    t.is(/1 attachments were made with it/.test(notes.join('\n')), isKept);
    fs.rmSync(scene.at('/var/lib/cni/results/cbr0-abc-eth0'));
    await removeInstalled(scene.root);
    t.false(fs.existsSync(scene.at(PLUGIN)));
  }
});

test('a list of the operator is written last, replaced by a later one, and taken away', async (t) => {
  const scene = installScene(t);
  const own = path.join(path.dirname(scene.plugin), '00-podpace.conflist');
  const list = '/etc/cni/net.d/00-podpace.conflist';
  const before = scene.picture();
  for (const name of ['a', 'b']) {
    fs.writeFileSync(
      own,
      `{"cniVersion":"1.0.0","name":"${name}","plugins":[{"type":"podpace","ipam":{}}]}`,
    );
    const steps: string[] = [];
    await scene.install({ ownList: own }, { reached: (step) => steps.push(step) });
    t.is(steps.at(-1), 'list 00-podpace.conflist');
    t.is(scene.read(list), fs.readFileSync(own, 'utf8'));
  }
  await removeInstalled(scene.root);
  t.deepEqual(scene.picture(), before);
  t.regex(await refusal(t, scene.install({ ownList: '/none' })), /Cannot read the list to install/);
});

/** A node on which something is wrong, and what is said of it. */
const BAD: Readonly<
  Record<string, readonly [damage: (scene: InstallScene) => void, said: RegExp]>
> = {
  'a list that is no JSON': [
    ({ write }) => write(LIST, '{"plugins": ['),
    /^Cannot add podpace to a network list in \/.*\/net\.d: 10-flannel\.conflist cannot be used: it is not JSON: .*--list$/,
  ],
  'a pipe in the place of a list': [
    ({ at }) => {
      fs.rmSync(at(LIST));
      spawnSync('mkfifo', [at(LIST)]);
    },
    /10-flannel\.conflist: it is no regular file; correct it, or name the list .* --list$/,
  ],
  'a list that is a link to nowhere': [
    ({ at }) => {
      fs.rmSync(at(LIST));
      fs.symlinkSync('nowhere', at(LIST));
    },
    /10-flannel\.conflist: it is a link that leads nowhere; correct it/,
  ],
  'a list of two megabytes': [
    ({ write }) => write(LIST, `${FLANNEL}${' '.repeat(2e6)}`),
    /10-flannel\.conflist: it has 20\d+ bytes, more than 1048576; correct it/,
  ],
  'no list': [({ at }) => fs.rmSync(at(LIST)), /there is no network list: install a main plugin/],
  'a directory in the place of the only list': [
    ({ at }) => {
      fs.rmSync(at(LIST));
      fs.mkdirSync(at(LIST));
    },
    /there is no network list/,
  ],
  'no directory of lists': [
    ({ at }) => fs.rmSync(at('/etc/cni'), { recursive: true }),
    /^Cannot read the network lists in .*\/etc\/cni\/net\.d: ENOENT; make it, or .* --conf-dir$/,
  ],
  'no directory of plugins': [
    ({ at }) => fs.rmSync(at('/opt'), { recursive: true }),
    /^Cannot install the plugin: .*\/opt\/cni\/bin is not there; make it, or .* --bin-dir$/,
  ],
  'a directory in the place of the plugin': [
    ({ at }) => fs.mkdirSync(at(PLUGIN)),
    /^Cannot install .*\/podpace: it is a directory; take it away$/,
  ],
  'a plugin that is none': [
    ({ plugin }) => fs.writeFileSync(plugin, '#!/bin/sh\n'),
    /^Cannot install .*podpace: it is no podpace that runs here; name the plugin with --plugin$/,
  ],
  'a plugin that is not there': [
    ({ plugin }) => fs.rmSync(plugin),
    /it is not there; name the plugin/,
  ],
  'a configuration of the runtime that is no TOML': [
    ({ write }) => write('/etc/containerd/config.toml', 'version = = 2'),
    /^Cannot understand the runtime's .*config\.toml: .*; give --conf-dir and --bin-dir$/,
  ],
  'a receipt that is damaged': [
    ({ write }) => write(RECEIPT, '{'),
    /^Cannot read .*install\.json, which says what was installed: .*; correct it, or take it away/,
  ],
  'a receipt of a newer podpaced': [
    ({ write }) =>
      write(
        RECEIPT,
        '{"receiptVersion":2,"release":"9.0.0","plugins":[],"confDirs":[],"runtime":"","ownLists":[]}',
      ),
    /it is of a newer podpaced \(9\.0\.0\)/,
  ],
};

for (const [what, [damage, said]] of Object.entries(BAD))
  test(`${what}: refused by name, and nothing changes`, async (t) => {
    const scene = installScene(t);
    damage(scene);
    const before = scene.picture();
    t.regex(await refusal(t, scene.install()), said);
    t.deepEqual(scene.picture(), before);
  });

test('a list that is a link: what it leads to is changed, within the root of the node', async (t) => {
  const scene = installScene(t);
  fs.rmSync(scene.at(LIST));
  scene.write('/etc/flannel/list', FLANNEL);
  fs.symlinkSync('/etc/flannel/list', scene.at(LIST));
  const before = scene.picture();
  await scene.install();
  t.is(fs.readlinkSync(scene.at(LIST)), '/etc/flannel/list');
  t.regex(scene.read('/etc/flannel/list'), /"podpace"/);
  await removeInstalled(scene.root);
  t.deepEqual(scene.picture(), before);
});
