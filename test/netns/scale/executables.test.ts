// The built executables in surroundings that are not as they should be: variables and arguments
// meant for Node, no room or no right to write, a reader that is gone. Each runs in namespaces of
// its own.

import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import test from 'ava';
import { temporaryDirectory } from '../../bed/temporary-directory.ts';
import { makeNetns } from '../../kit/netns.ts';
import type { Answer } from '../../kit/plugin.ts';

const DIST = path.resolve(import.meta.dirname, '../../../dist');
const PODPACE = path.join(DIST, 'podpace');
const PODPACED = path.join(DIST, 'podpaced');
const PATHS = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' };

interface Surroundings {
  readonly env?: Readonly<Record<string, string>>;
  readonly stdin?: string;
  /**
   * Shell commands that come first; file descriptor 9 is the pod's network namespace when there is
   * one.
   */
  readonly setUp?: string;
  readonly netns?: string;
}

interface Ending {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs a program with nothing in its environment but `env`, where mounts and links are nobody
 * else's.
 */
function run(argv: readonly string[], surroundings: Surroundings = {}): Ending {
  const { env = {}, stdin = '', setUp = ':', netns = '/dev/null' } = surroundings;
  const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  const script = `exec 9<"$0" && { ${setUp}; } && exec env -i "$@"`;
  const { status, stdout, stderr } = spawnSync(
    'unshare',
    ['--mount', '--net', 'sh', '-c', script, netns, ...variables, ...argv],
    { input: stdin, encoding: 'utf8' },
  );
  return { status, stdout, stderr };
}

function cniEnv(command: string): Record<string, string> {
  return {
    CNI_COMMAND: command,
    CNI_CONTAINERID: 'c1',
    CNI_NETNS: '/proc/self/fd/9',
    CNI_IFNAME: 'eth0',
    CNI_PATH: '/nonesuch',
  };
}

const CONFIG = { cniVersion: '1.1.0', name: 'pods', type: 'podpace', socket: '/run/pp-none.sock' };
const PREVIOUS = {
  cniVersion: '1.1.0',
  interfaces: [{ name: 'eth0', sandbox: '/proc/self/fd/9' }],
};
const PASS_THROUGH = JSON.stringify({ ...CONFIG, prevResult: PREVIOUS });
const WITH_CAP = JSON.stringify({
  ...CONFIG,
  egressRate: 1_000_000,
  egressBurst: 8000,
  prevResult: PREVIOUS,
});

/** A directory with things that variables can name, and one in it that must stay empty. */
function temptations(t: Parameters<typeof temporaryDirectory>[0]): {
  file: string;
  conf: string;
  out: string;
} {
  const directory = temporaryDirectory(t);
  const [out, file, conf] = ['out', 'marker.cjs', 'openssl.cnf'].map((name) =>
    path.join(directory, name),
  ) as [string, string, string];
  fs.mkdirSync(out);
  fs.writeFileSync(
    file,
    `require('node:fs').writeFileSync(${JSON.stringify(path.join(out, 'marker'))}, '');`,
  );
  fs.writeFileSync(conf, 'this is no configuration [');
  return { file, conf, out };
}

/**
 * Every variable that Node 24 reads (its node.1 and cli.md), OpenSSL's and libuv's, by what it
 * would do; but for those of ARCHITECTURE.md.
 */
function variables({ file, conf, out }: ReturnType<typeof temptations>): Record<string, string> {
  return {
    // Run a file.
    NODE_OPTIONS: `--require=${file} --cpu-prof --cpu-prof-dir=${out} --report-on-fatalerror`,
    NODE_REPL_EXTERNAL_MODULE: file,
    NODE_PATH: path.dirname(file),
    OPENSSL_CONF: conf,
    OPENSSL_MODULES: out,
    OPENSSL_ENGINES: out,
    // Write files.
    NODE_V8_COVERAGE: path.join(out, 'coverage'),
    NODE_REDIRECT_WARNINGS: path.join(out, 'warnings'),
    NODE_COMPILE_CACHE: path.join(out, 'cache'),
    NODE_COMPILE_CACHE_PORTABLE: '1',
    NODE_REPL_HISTORY: path.join(out, 'history'),
    // Read files.
    NODE_EXTRA_CA_CERTS: conf,
    NODE_ICU_DATA: out,
    ICU_TIMEZONE_FILES_DIR: out,
    SSL_CERT_FILE: conf,
    SSL_CERT_DIR: out,
    PKG_EXECPATH: file,
    // Print.
    NODE_DEBUG_NATIVE: 'sea,diagnostics,code_cache,compile_cache,mksnapshot',
    NODE_PENDING_DEPRECATION: '1',
    // Change how it works.
    NODE_NO_WARNINGS: '0',
    NODE_PENDING_PIPE_INSTANCES: '1',
    NODE_PRESERVE_SYMLINKS: '1',
    NODE_SKIP_PLATFORM_CHECK: '1',
    NODE_TEST_CONTEXT: 'child-v8',
    NODE_TLS_REJECT_UNAUTHORIZED: '0',
    NODE_USE_ENV_PROXY: '1',
    NODE_USE_SYSTEM_CA: '1',
    NODE_CHANNEL_SERIALIZATION_MODE: 'advanced',
    NODE_CLUSTER_SCHED_POLICY: 'rr',
    NODE_UNIQUE_ID: '1',
    NODE_INSPECT_RESUME_ON_START: '1',
    NODE_DISABLE_COLORS: '1',
    WATCH_REPORT_DEPENDENCIES: '1',
    HTTP_PROXY: 'http://127.0.0.1:1',
    UV_THREADPOOL_SIZE: '1',
    UV_USE_IO_URING: '0',
    FORCE_COLOR: '3',
    NO_COLOR: '1',
    TZ: 'Nowhere/Nothing',
  };
}

test('podpace obeys no variable of Node: VERSION and ADD without caps', (t) => {
  const tempting = temptations(t);
  for (const [command, stdin] of [
    ['VERSION', ''],
    ['ADD', PASS_THROUGH],
  ] as const) {
    const plain = run([PODPACE], { env: cniEnv(command), stdin });
    t.is(plain.status, 0, plain.stderr);
    t.deepEqual(
      run([PODPACE], { env: { ...variables(tempting), ...cniEnv(command) }, stdin }),
      plain,
    );
    t.deepEqual(fs.readdirSync(tempting.out), []);
  }
});

test('no variable of Node does anything by itself', (t) => {
  const tempting = temptations(t);
  const env = cniEnv('VERSION');
  const plain = run([PODPACE], { env });
  const obeyed = Object.entries(variables(tempting)).filter(([name, value]) => {
    const ending = run([PODPACE], { env: { [name]: value, ...env } });
    const made = fs.readdirSync(tempting.out);
    for (const each of made) fs.rmSync(path.join(tempting.out, each), { recursive: true });
    return made.length > 0 || !isDeepStrictEqual(ending, plain);
  });
  t.deepEqual(
    obeyed.map(([name]) => name),
    [],
  );
});

test('podpaced obeys no variable of Node', (t) => {
  const tempting = temptations(t);
  const plain = run([PODPACED, '--version']);
  t.is(plain.status, 0, plain.stderr);
  t.deepEqual(run([PODPACED, '--version'], { env: variables(tempting) }), plain);
  t.deepEqual(fs.readdirSync(tempting.out), []);
});

test('podpaced serves in the environment of a Node cluster', (t) => {
  const pins = `/sys/fs/bpf/pp-${process.pid}-executables`;
  t.teardown(() => fs.rmSync(pins, { recursive: true, force: true }));
  const untilServing = [
    '"$@" & pid=$!',
    'for tenth in $(seq 600); do [ -S /run/helper.sock ] && break; kill -0 $pid || break; sleep 0.1; done',
    'kill $pid; wait $pid',
  ].join('\n');
  const flags = ['--socket', '/run/helper.sock', '--state-dir', '/run/state', '--pin-dir', pins];
  const { stderr } = run(['sh', '-c', untilServing, 'sh', PODPACED, 'run', ...flags], {
    env: { ...PATHS, NODE_UNIQUE_ID: '1' },
    setUp: 'mount -t tmpfs none /run',
  });
  t.regex(stderr, / serves \/run\/helper\.sock/);
  t.regex(stderr, /stopped; caps stay in force/);
});

test('plugin and helper are one file: it is what it is called, wherever it is', (t) => {
  t.is(fs.statSync(PODPACE).ino, fs.statSync(PODPACED).ino);
  const directory = temporaryDirectory(t);
  for (const [name, isHelper] of [
    ['podpaced', true],
    ['podpaced-1.2', true],
    ['podpace', false],
    ['bandwidth', false],
    ['podpaced.d/podpace', false],
  ] as const) {
    const file = path.join(directory, name);
    fs.mkdirSync(path.dirname(file), { recursive: true });
    if (!fs.existsSync(file)) fs.linkSync(PODPACE, file);
    const { status, stdout, stderr } = run([file, ...(isHelper ? ['--version'] : [])]);
    t.is(status, 0, stderr);
    if (isHelper) t.regex(stdout, /^\d+\.\d+\.\d+\n$/, name);
    else t.regex(stderr, /^CNI podpace plugin version /, name);
  }
});

test("arguments of Node's are none of podpace's and podpaced's", (t) => {
  const { file, out } = temptations(t);
  const own = [
    `--require=${file}`,
    `--node-options=--require=${file}`,
    '--inspect',
    '--cpu-prof',
    '--eval=1',
  ];
  const { status, stdout } = run([PODPACE, ...own], { env: cniEnv('VERSION') });
  t.is(status, 0);
  t.is((JSON.parse(stdout) as Answer).cniVersion, '1.1.0');
  for (const argument of own) {
    const ending = run([PODPACED, argument]);
    t.is(ending.status, 2);
    t.is(ending.stderr, `error: unknown option '${argument}'\n`);
  }
  t.deepEqual(fs.readdirSync(out), []);
});

test('an IPAM plugin gets the environment of the runtime, variables of Node included', (t) => {
  const tempting = temptations(t);
  const directory = temporaryDirectory(t);
  const record = path.join(directory, 'environment');
  fs.writeFileSync(path.join(directory, 'ipam'), `#!/bin/sh\nexec env >'${record}'\n`, {
    mode: 0o755,
  });
  const env = {
    ...variables(tempting),
    ...cniEnv('STATUS'),
    CNI_PATH: directory,
    PATH: '/usr/bin:/bin',
  };
  // That one Node takes away itself.
  const { NODE_UNIQUE_ID: _, ...expected }: Record<string, string> = env;
  // The helper is absent, which STATUS finds after the IPAM plugin has been asked.
  run([PODPACE], { env, stdin: JSON.stringify({ ...CONFIG, ipam: { type: 'ipam' } }) });
  const lines = fs.readFileSync(record, 'utf8').split('\n');
  t.deepEqual(
    Object.entries(expected).filter(([name, value]) => !lines.includes(`${name}=${value}`)),
    [],
  );
});

const SIZES = { full: 'size=64k', roomy: 'size=16m', 'read-only': 'size=64k' } as const;
type Place = keyof typeof SIZES;

/**
 * Private file systems in the place of those for the addons, with what killed processes have left
 * in the first.
 */
function addonPlaces(first: Place, second: Place): string {
  return [
    `mount -t tmpfs -o ${SIZES[first]} none /run`,
    `mount -t tmpfs -o ${SIZES[second]} none /var/lib`,
    'mkdir -p /run/podpace/addons /var/lib/cni/podpace/addons',
    'echo partial >/run/podpace/addons/koffi.node.4194304',
    'echo partial >/run/podpace/addons/netlink.node.4194305',
    'echo partial >/run/podpace/addons/koffi.node.1',
    ...(first === 'read-only' ? ['mount -o remount,ro /run'] : []),
    ...(second === 'read-only' ? ['mount -o remount,ro /var/lib'] : []),
  ].join(' && ');
}

/** What stands in the addon directories after a program has run, last in what it prints. */
function withListing(argv: readonly string[]): string[] {
  const script =
    '"$@"; code=$?; echo ---; find /run/podpace /var/lib/cni -type f | sort; exit $code';
  return ['sh', '-c', script, 'sh', ...argv];
}

function splitListing({ stdout }: Ending): { printed: string; files: string[] } {
  const [printed = '', listing = ''] = stdout.split('---\n');
  return { printed, files: listing.split('\n').filter((line) => line !== '') };
}

test('with the first directory of addons full the second is used, and nothing partial stays', (t) => {
  const pod = makeNetns(t);
  const ending = run(withListing([PODPACE]), {
    env: { ...PATHS, ...cniEnv('ADD') },
    stdin: WITH_CAP,
    setUp: addonPlaces('full', 'roomy'),
    netns: pod.netns.path,
  });
  const { printed, files } = splitListing(ending);
  // The addons are loaded: the kernel was asked, and has no such interface.
  t.is((JSON.parse(printed) as Answer).code, 103, printed);
  t.deepEqual(files, [
    // That of a process that lives.
    '/run/podpace/addons/koffi.node.1',
    '/var/lib/cni/podpace/addons/koffi.node',
  ]);
});

test('what killed processes left of addons is removed when there is room too, also beside whole addons', (t) => {
  const pod = makeNetns(t);
  const twice = [
    'cat >/run/stdin',
    '"$@" </run/stdin >/dev/null',
    'echo partial >/run/podpace/addons/koffi.node.4194304',
    '"$@" </run/stdin',
  ].join('; ');
  const ending = run(withListing(['sh', '-c', twice, 'sh', PODPACE]), {
    env: { ...PATHS, ...cniEnv('ADD') },
    stdin: WITH_CAP,
    setUp: addonPlaces('roomy', 'roomy'),
    netns: pod.netns.path,
  });
  t.deepEqual(splitListing(ending).files, [
    '/run/podpace/addons/koffi.node',
    '/run/podpace/addons/koffi.node.1',
  ]);
});

const CHANGES: Readonly<Record<string, string>> = {
  'changed in one byte': 'printf x | dd of=$addon bs=1 seek=1000 conv=notrunc status=none',
  'cut short': 'truncate -s 1000 $addon',
  'as long, and older':
    'head -c $(stat -c %s $addon) /dev/zero >/run/z; touch -d @1 /run/z; mv /run/z $addon',
  'writable by others': 'chmod 666 $addon',
};

for (const [what, change] of Object.entries(CHANGES)) {
  test(`an addon that is ${what} is written anew, one that is whole is not`, (t) => {
    const pod = makeNetns(t);
    const thrice = [
      'cat >/run/stdin; addon=/run/podpace/addons/koffi.node',
      '"$@" </run/stdin >/dev/null; cp -p $addon /run/whole; first=$(stat -c %i $addon)',
      '"$@" </run/stdin >/dev/null; test $(stat -c %i $addon) = $first && echo kept',
      change,
      '"$@" </run/stdin >/dev/null; cmp $addon /run/whole && echo whole; stat -c %a $addon',
    ].join('; ');
    const { stdout, stderr } = run(['sh', '-c', thrice, 'sh', PODPACE], {
      env: { ...PATHS, ...cniEnv('ADD') },
      stdin: WITH_CAP,
      setUp: addonPlaces('roomy', 'roomy'),
      netns: pod.netns.path,
    });
    t.is(stdout, 'kept\nwhole\n500\n', stderr);
  });
}

for (const place of ['full', 'read-only'] as const) {
  test(`both directories of addons ${place}: podpace prints one error object`, (t) => {
    const pod = makeNetns(t);
    const setUp = addonPlaces(place, place);
    const { status, stdout, stderr } = run([PODPACE], {
      env: cniEnv('ADD'),
      stdin: WITH_CAP,
      setUp,
      netns: pod.netns.path,
    });
    t.is(status, 1);
    t.is(stderr, '');
    const { code, msg = '', details = '' } = JSON.parse(stdout) as Answer;
    t.is(code, 102);
    t.regex(
      msg,
      /^Cannot load \w+\.node: \/run\/podpace\/addons: E\w+: .*; \/var\/lib\/cni\/podpace\/addons: E/,
    );
    t.regex(details, /must have room/);
    t.true(stdout.length < 1000, stdout);
  });

  test(`both directories of addons ${place}: podpaced run prints one line, and podpaced list needs no addon`, (t) => {
    const setUp = addonPlaces(place, place);
    const started = run([PODPACED, 'run'], { setUp });
    t.is(started.status, 1);
    t.regex(started.stderr, /^podpaced: [^\n]+\n$/);
    t.true(started.stderr.length < 1000, started.stderr);
    const listed = run([PODPACED, 'list'], { setUp });
    t.regex(listed.stderr, /^podpaced: Cannot reach the helper [^\n]*\n$/);
  });
}

test('as another user than root each command is one line or one object', (t) => {
  const asNobody = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--'];
  const added = run([...asNobody, PODPACE], {
    env: { ...PATHS, ...cniEnv('ADD') },
    stdin: WITH_CAP,
  });
  t.is(added.status, 1);
  t.is((JSON.parse(added.stdout) as Answer).code, 106);
  const env = PATHS;
  t.is(run([...asNobody, PODPACED, '--version'], { env }).status, 0);
  for (const command of ['run', 'list', 'status', 'counters', 'uninstall']) {
    const { status, stderr } = run([...asNobody, PODPACED, command], { env });
    t.is(status, 1, command);
    t.regex(stderr, /^podpaced: [^\n]+\n$/, command);
    t.true(stderr.length < 1000, stderr);
  }
});

test('a full standard output is one line on stderr and no success', (t) => {
  const toFull = (argv: readonly string[]): string[] => [
    'sh',
    '-c',
    'exec "$@" >/dev/full',
    'sh',
    ...argv,
  ];
  const calls = [
    { argv: [PODPACE], env: cniEnv('VERSION') },
    { argv: [PODPACED, '--version'], env: {} },
    { argv: [PODPACED, '--help'], env: {} },
    { argv: [PODPACED, 'probe'], env: {} },
  ];
  for (const { argv, env } of calls) {
    const { status, stderr } = run(toFull(argv), { env: { ...PATHS, ...env } });
    t.is(status, 1);
    t.regex(stderr, /^podpaced?: Cannot print the answer: ENOSPC[^\n]*\n$/);
  }
});

test('a reader that has gone is no failure and no message', (t) => {
  // The pipe has lost its reader before anything is written.
  const script = '{ sleep 0.3; "$@"; echo "ended with $?" >&2; } | true';
  for (const command of ['--help', '--version']) {
    const { stderr } = run(['sh', '-c', script, 'sh', PODPACED, command], { env: PATHS });
    t.is(stderr, 'ended with 0\n', command);
  }
});
