// A real Kubernetes of Debian's packages alone. Debian 12 has the whole of 1.20 as a source package
// (later suites have kubectl only), and etcd, containerd, runc and kubectl of the same time beside it.

import { existsSync } from 'node:fs';
import { cp, mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { aptGet, ensurePackages, requireDebian } from '../debian.ts';
import { packageSets } from '../needs.ts';
import { buildDirectory } from '../paths.ts';
import { privateApt, sourceLines } from '../private-apt.ts';
import { capture } from '../process.ts';
import { step } from '../progress.ts';
import { ensureRuntime, RUNTIME_PATH, unpackPackages } from './runtime.ts';

const PROGRAMS = [
  'kubelet',
  'kube-apiserver',
  'kube-controller-manager',
  'kube-scheduler',
] as const;

/**
 * Takes the place of the one in Kubernetes' vendor tree, 1.0.1, which reads maps as the runtime of
 * Go before 1.18 lays them out: the apiserver dies of it after some minutes.
 */
const REFLECT2_PACKAGE = 'golang-github-modern-go-reflect2-dev';
const REFLECT2 = 'github.com/modern-go/reflect2';

const clusterDirectory = join(buildDirectory, 'cluster');
/** kubelet and the control plane. */
const programDirectory = join(clusterDirectory, 'kubernetes');
/** Sources and Go's cache: an interrupted build goes on from there. Removed at the end. */
const workDirectory = join(clusterDirectory, 'kubernetes-build');

/** Folders with the executables of a cluster, in the order of a PATH. */
const clusterPrograms: readonly string[] = [programDirectory, ...RUNTIME_PATH];

/** For whoever is part of a cluster, or runs a command in it. */
export function clusterEnvironment(directory: string): Readonly<Record<string, string>> {
  const PATH = [...clusterPrograms, process.env['PATH']].join(':');
  return { PATH, KUBECONFIG: join(directory, 'admin.kubeconfig') };
}

/**
 * Has the programs of a cluster under build/cluster, building them on the first call: half an hour
 * on two processors, 5 GB of disk meanwhile. Throws an Error without Debian's apt, CommandError
 * when a step of the build fails.
 */
export async function ensureKubernetes(): Promise<void> {
  await ensureRuntime();
  const missing = PROGRAMS.filter((name) => !existsSync(join(programDirectory, name)));
  if (missing.length === 0) return;
  requireDebian('build Kubernetes');
  await ensurePackages(packageSets.cnitool);
  await step('Building Kubernetes (about half an hour, once)', async (report) => {
    await unpackSource(report);
    await generateOpenApi(report);
    await mkdir(programDirectory, { recursive: true });
    for (const name of missing) await compile(name, report);
    await rm(workDirectory, { recursive: true, force: true });
  });
}

const goPath = join(workDirectory, 'go');
const source = join(goPath, 'src', 'k8s.io', 'kubernetes');
/** Go as of before modules: the source package has a vendor tree and no module cache. */
const GO_ENVIRONMENT = {
  GO111MODULE: 'off',
  GOPATH: goPath,
  GOCACHE: join(workDirectory, 'go-cache'),
  GOFLAGS: '',
  CGO_ENABLED: '0',
  // The compiler collects its garbage seldom: a fifth less time for some hundred MB.
  GOGC: '400',
};
/** Without the SDKs of clouds, a third of the code, and without Docker's former runtime. */
const TAGS = 'providerless,dockerless';

/** Leaves Kubernetes' sources in GOPATH. apt checks the archive against the mirror's signature. */
async function unpackSource(report: (line: string) => void): Promise<void> {
  if (existsSync(source)) return;
  const download = join(workDirectory, 'download');
  await mkdir(download, { recursive: true });
  const purpose = 'get the source package kubernetes';
  const options = await privateApt(join(workDirectory, 'apt'), sourceLines, { purpose, report });
  await aptGet([...options, 'source', '--download-only', 'kubernetes'], {
    cwd: download,
    onLine: report,
  });
  const archive = (await readdir(download)).find((name) => name.includes('.orig.tar.'));
  if (archive === undefined)
    throw new Error('Cannot build Kubernetes: its source package has no upstream archive');
  report('unpacking');
  const staged = `${source}.new`;
  await rm(staged, { recursive: true, force: true });
  await mkdir(staged, { recursive: true });
  await capture('tar', ['-x', '--strip-components=1', '-f', join(download, archive)], {
    cwd: staged,
  });
  await unpackPackages([REFLECT2_PACKAGE], join(workDirectory, 'reflect2'));
  const vendored = join(staged, 'vendor', REFLECT2);
  await rm(vendored, { recursive: true });
  await cp(join(workDirectory, 'reflect2', 'usr', 'share', 'gocode', 'src', REFLECT2), vendored, {
    recursive: true,
  });
  await rename(staged, source);
}

const GO_PACKAGE = 'k8s.io/kubernetes';
/** Samples for those who write API servers of their own. */
const NOT_OF_KUBERNETES = /\/(code-generator|sample-[^/]+|testdata)\//;

/** Go packages whose types the apiserver describes: those with a tag for the generator. */
async function describedPackages(): Promise<string[]> {
  const tagged = await capture(
    'grep',
    ['-rl', '--include=*.go', '--exclude=*_test.go', '+k8s:openapi-gen=', 'pkg', 'staging/src'],
    { cwd: source },
  );
  const directories = tagged
    .trim()
    .split('\n')
    .filter((file) => !NOT_OF_KUBERNETES.test(file))
    .map((file) => file.slice(0, file.lastIndexOf('/')).replace(/^staging\/src\//, 'vendor/'));
  return [...new Set(directories)].toSorted().map((directory) => `${GO_PACKAGE}/${directory}`);
}

/** Writes pkg/generated/openapi, which Kubernetes' own build makes and its archive lacks. */
async function generateOpenApi(report: (line: string) => void): Promise<void> {
  const output = 'pkg/generated/openapi';
  const name = 'zz_generated.openapi';
  if (existsSync(join(source, output, `${name}.go`))) return;
  report('generating the descriptions of the API');
  const options = { cwd: source, env: GO_ENVIRONMENT };
  const generator = join(workDirectory, 'openapi-gen');
  const generatorPackage = `${GO_PACKAGE}/vendor/k8s.io/kube-openapi/cmd/openapi-gen`;
  await capture('go', ['build', '-o', generator, generatorPackage], options);
  await capture(
    generator,
    [
      ...['--go-header-file', 'hack/boilerplate/boilerplate.generatego.txt'],
      ...['--input-dirs', (await describedPackages()).join(',')],
      ...['--output-package', `${GO_PACKAGE}/${output}`, '--output-file-base', name],
      ...['--output-base', join(goPath, 'src')],
      ...['--report-filename', join(workDirectory, 'openapi-violations')],
    ],
    options,
  );
}

/** Builds one program; it appears under its name only when it is whole. */
async function compile(name: string, report: (line: string) => void): Promise<void> {
  report(`compiling ${name}`);
  const built = join(workDirectory, name);
  await capture(
    'go',
    [
      ...['build', '-tags', TAGS, '-ldflags', '-s -w'],
      ...['-o', built, `${GO_PACKAGE}/cmd/${name}`],
    ],
    { cwd: source, env: GO_ENVIRONMENT },
  );
  await rename(built, join(programDirectory, name));
}
