// What ./scripts/release makes, for both architectures: what is in it, that it is the same each
// time, and that it starts on a node that has a C library and nothing else.

import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { build } from 'esbuild';
import manifest from '../../package.json' with { type: 'json' };
import { assetSourcePath } from '../../helper/kernel/assets.ts';
import { projectRoot } from '../../scripts/lib/paths.ts';
import { run } from '../../scripts/lib/process.ts';
import {
  architectures,
  ensureEmulator,
  ensureSysroot,
  ensureTarget,
  type Architecture,
} from '../../scripts/lib/target.ts';
import { temporaryDirectory } from '../bed/temporary-directory.ts';

const MADE = path.join(projectRoot, 'dist/release');
const MINUTE_MS = 60_000;

function nameFor(architecture: Architecture): string {
  return `podpace-${manifest.version}-linux-${architecture}`;
}

/** Unpacks an archive; returns the directory that it makes. */
function unpack(t: ExecutionContext, architecture: Architecture): string {
  const directory = temporaryDirectory(t);
  const archive = path.join(MADE, `${nameFor(architecture)}.tar.gz`);
  execFileSync('tar', ['-xzf', archive, '-C', directory]);
  return path.join(directory, nameFor(architecture));
}

function filesBelow(directory: string): string[] {
  return fs
    .readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .filter((name) => !fs.statSync(path.join(directory, name)).isDirectory())
    .toSorted();
}

async function release(tree: string): Promise<void> {
  await run(path.join(tree, 'scripts/release'), []);
}

test.serial.before('the archives are made', async (t) => {
  t.timeout(20 * MINUTE_MS);
  await release(projectRoot);
});

interface Component {
  readonly name: string;
  readonly version: string;
  readonly purl?: string;
  readonly licenses?: readonly { readonly expression?: string }[];
  readonly components?: readonly Component[];
}

/** What esbuild takes of npm's packages into the programs, by name and version. */
async function bundled(): Promise<string[]> {
  const { metafile } = await build({
    ...{ absWorkingDir: projectRoot, entryPoints: ['cni/main.ts', 'helper/main.ts'] },
    ...{ bundle: true, write: false, metafile: true, outdir: '/nowhere', platform: 'node' },
    ...{ format: 'esm', external: ['node-gyp-build', '*.node'], logLevel: 'error' },
  });
  const names = Object.keys(metafile.inputs).flatMap(
    (file) => /^node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(file)?.[1] ?? [],
  );
  return [...new Set(names)].map((name) => {
    const text = fs.readFileSync(path.join(projectRoot, 'node_modules', name, 'package.json'));
    return `${name}@${(JSON.parse(text.toString()) as Component).version}`;
  });
}

for (const architecture of architectures) {
  test.serial(
    `${architecture}: the archive holds executables, libraries, lists, licences and a bill`,
    (t) => {
      const tree = unpack(t, architecture);
      const files = filesBelow(tree);
      const conf = filesBelow(path.join(projectRoot, 'conf'));
      const expected = [
        ...['podpace', 'podpaced', 'LICENSE', 'README.md', 'sbom.cdx.json'],
        ...['man/podpace.8', 'man/podpaced.8'],
        ...['lib/libstdc++.so.6', 'lib/libgcc_s.so.1', ...conf.map((name) => `conf/${name}`)],
      ];
      const others = files.filter((file) => !file.startsWith('licenses/'));
      t.deepEqual(others, expected.toSorted());
      for (const file of files) {
        const { mode } = fs.statSync(path.join(tree, file));
        t.is(mode & 0o777, /^podpaced?$/.test(file) ? 0o755 : 0o644, file);
      }
      const machine = { x64: 'X86-64', arm64: 'AArch64' }[architecture];
      for (const file of ['podpace', 'lib/libstdc++.so.6', 'lib/libgcc_s.so.1']) {
        const header = execFileSync('readelf', ['--file-header', path.join(tree, file)]);
        t.regex(header.toString(), new RegExp(`Machine:.*${machine}`), file);
      }
    },
  );

  test.serial(
    `${architecture}: the bill names all that is carried, with version and licence`,
    async (t) => {
      const tree = unpack(t, architecture);
      const text = fs.readFileSync(path.join(tree, 'sbom.cdx.json'), 'utf8');
      t.is(text, fs.readFileSync(path.join(MADE, `${nameFor(architecture)}.cdx.json`), 'utf8'));
      const { components } = JSON.parse(text) as { readonly components: readonly Component[] };
      const named = new Set(components.map(({ name, version }) => `${name}@${version}`));
      const { koffi, netlink } = manifest.dependencies;
      const carried = [
        ...(await bundled()),
        ...[`@koromix/koffi-linux-${architecture}@${koffi}`, `netlink@${netlink}`],
        `node-linux-${architecture}@${process.versions.node}`,
      ];
      t.true(carried.includes(`commander@${manifest.dependencies.commander}`));
      for (const each of carried) t.true(named.has(each), each);
      const names = new Set(components.map(({ name }) => name));
      for (const name of ['libstdc++6', 'libgcc-s1', 'libbpf-dev', 'linux-libc-dev'])
        t.true(names.has(name), name);
      for (const { name, version, purl, licenses } of components) {
        t.regex(version, /^\d+[\w.:+~-]*$/, name);
        t.regex(purl ?? '', /^pkg:(npm|deb)\//, name);
        t.regex(licenses?.[0]?.expression ?? '', /^[A-Z][\w.-]+( (OR|WITH|AND) [\w.-]+)*$/, name);
        const file = `licenses/${name.replace('@', '').replace('/', '-')}.txt`;
        t.true(fs.statSync(path.join(tree, file)).size > 500, file);
      }
      const licences = filesBelow(path.join(tree, 'licenses'));
      t.is(licences.length, components.length, 'and no licence of what is not there');
      const node = components.find(({ name }) => name.startsWith('node-linux-'));
      const parts = new Map(node?.components?.map(({ name, version }) => [name, version]));
      for (const name of ['v8', 'openssl', 'uv', 'zlib'])
        t.is(parts.get(name), process.versions[name], name);
    },
  );

  test.serial(`${architecture}: nothing in it needs a C library newer than 2.28`, async (t) => {
    const tree = unpack(t, architecture);
    const { root } = await ensureTarget(architecture);
    const addons = (['koffi.node', 'netlink.node'] as const).map((name) =>
      path.join(root, assetSourcePath(name, architecture)),
    );
    const files = ['podpace', 'lib/libstdc++.so.6', 'lib/libgcc_s.so.1'];
    for (const file of [...files.map((name) => path.join(tree, name)), ...addons]) {
      const text = execFileSync('readelf', ['--version-info', '--wide', file]).toString();
      const minors = [...text.matchAll(/GLIBC_2\.(\d+)/g)].map(([, minor]) => Number(minor));
      t.true(minors.length > 0, file);
      t.true(Math.max(...minors) <= 28, `${file}: 2.${Math.max(...minors)}`);
    }
  });
}

test.serial('the checksums are those of the archives and bills, as sha256sum checks them', (t) => {
  const sums = fs.readFileSync(path.join(MADE, 'SHA256SUMS'), 'utf8');
  for (const architecture of architectures)
    for (const ending of ['tar.gz', 'cdx.json'])
      t.true(sums.includes(`  ${nameFor(architecture)}.${ending}\n`));
  execFileSync('sha256sum', ['--check', '--strict', '--quiet', 'SHA256SUMS'], { cwd: MADE });
  t.pass();
});

test.serial(
  'another copy of the sources, in another directory, gives the same bytes',
  async (t) => {
    t.timeout(20 * MINUTE_MS);
    // On the file system of the packages, which are then linked and not copied.
    const copy = fs.mkdtempSync(path.join(projectRoot, 'build/release-again-'));
    t.teardown(() => fs.rmSync(copy, { recursive: true, force: true }));
    const git = ['ls-files', '--cached', '--others', '--exclude-standard'];
    const sources = execFileSync('git', git, { cwd: projectRoot, encoding: 'utf8' });
    const archive = path.join(copy, 'sources.tar');
    const list = sources.split('\n').filter((file) => fs.existsSync(path.join(projectRoot, file)));
    execFileSync('tar', ['-cf', archive, '-T', '-'], { cwd: projectRoot, input: list.join('\n') });
    execFileSync('tar', ['-xf', archive], { cwd: copy });
    fs.mkdirSync(path.join(copy, 'build'));
    for (const name of ['node_modules', 'build/cross'])
      execFileSync('cp', ['-al', path.join(projectRoot, name), path.join(copy, name)]);
    await release(copy);
    for (const architecture of architectures) {
      const digests = [projectRoot, copy].map((tree) => {
        const file = path.join(tree, 'dist/release', `${nameFor(architecture)}.tar.gz`);
        return createHash('sha256').update(fs.readFileSync(file)).digest('hex');
      });
      t.is(digests[1], digests[0], architecture);
    }
  },
);

/**
 * Runs a program of an archive where there is nothing but Debian's C library (2.31; nobody has 2.28
 * any more) and the archive, by an emulator where that is not this machine's.
 */
async function onMinimalNode(
  t: ExecutionContext,
  architecture: Architecture,
): Promise<{
  readonly node: string;
  readonly start: (
    program: string,
    ...args: string[]
  ) => { readonly stdout: string; readonly stderr: string; readonly status: number | null };
}> {
  const node = path.dirname(unpack(t, architecture));
  execFileSync('cp', ['-a', `${await ensureSysroot(architecture)}/.`, node]);
  fs.mkdirSync(path.join(node, 'proc'));
  const isForeign = architecture !== process.arch;
  if (isForeign) fs.copyFileSync(await ensureEmulator(architecture), path.join(node, 'emulator'));
  const start = (
    program: string,
    ...args: string[]
  ): { readonly stdout: string; readonly stderr: string; readonly status: number | null } => {
    const command = [...(isForeign ? ['/emulator'] : []), program, ...args];
    // The loader asks /proc where the executable is.
    const script = 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"';
    const { stdout, stderr, status } = spawnSync(
      'unshare',
      ['--mount', '--pid', '--fork', 'sh', '-c', script, node, ...command],
      { encoding: 'utf8', env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', CNI_COMMAND: 'VERSION' } },
    );
    return { stdout, stderr, status };
  };
  return { node, start };
}

for (const architecture of architectures) {
  test.serial(
    `${architecture}: both programs start on a node with a C library and nothing else`,
    async (t) => {
      const { node, start } = await onMinimalNode(t, architecture);
      t.deepEqual(fs.globSync('{usr/,}lib/**/libstdc++*', { cwd: node }), []);
      const home = `/${nameFor(architecture)}`;
      const helper = start(`${home}/podpaced`, '--version');
      t.is(helper.stdout.trim(), manifest.version, helper.stderr);
      // Made by the addons, of which both need libstdc++, too.
      const probe = start(`${home}/podpaced`, 'probe', '--json');
      t.regex(probe.stdout, /"kernel"/, probe.stderr);
      const plugin = start(`${home}/podpace`);
      t.regex(plugin.stdout, /"supportedVersions"/, plugin.stderr);
      // As a runtime calls it, which has it in a directory of its own.
      const binDirectory = path.join(node, 'opt/cni/bin');
      fs.mkdirSync(binDirectory, { recursive: true });
      fs.renameSync(path.join(node, home, 'podpace'), path.join(binDirectory, 'podpace'));
      const alone = start('/opt/cni/bin/podpace');
      t.not(alone.status, 0, 'or the node has the library after all');
      fs.mkdirSync(path.join(node, 'var/lib/podpace'), { recursive: true });
      fs.renameSync(path.join(node, home, 'lib'), path.join(node, 'var/lib/podpace/lib'));
      const installed = start('/opt/cni/bin/podpace');
      t.regex(installed.stdout, /"supportedVersions"/, installed.stderr);
    },
  );
}
