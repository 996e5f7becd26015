// Every command of the project's documents, run as it stands on a node of the test's own: its
// network and mounts are nobody else's, the built executables are installed into them, two pods
// with caps wait there. A command without a case fails, and so does a case whose command has gone.

import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { ErrorCode } from '../../../cni/types.ts';
import { inNetns } from '../../../helper/kernel/netns.ts';
import { writeSysctl } from '../../../helper/kernel/sysctl.ts';
import type { ProbeResult, StatusResult } from '../../../helper/protocol/messages.ts';
import { checkProbeItems } from '../../../helper/protocol/probe-items.ts';
import { DOCUMENTS } from '../../../scripts/lib/documents.ts';
import {
  addUplink,
  leaveRecord,
  makeHelperDirectories,
  paramsOf,
  wirePod,
} from '../../kit/helper.ts';
import { FLANNEL } from '../../kit/install-scene.ts';
import { makeNetns } from '../../kit/netns.ts';
import { runProgram, type Ended } from '../../kit/run-program.ts';

const ROOT = path.resolve(import.meta.dirname, '../../..');
/** Its commands are for a cluster: test/cluster/vm/node.test.ts runs them. */
const OF_CLUSTERS = 'conf/kubernetes/COMING-FROM.md';
const TEXT = DOCUMENTS.filter((file) => file !== OF_CLUSTERS)
  .map((file) => fs.readFileSync(path.join(ROOT, file), 'utf8'))
  .join('\n');

interface Block {
  readonly language: string;
  readonly text: string;
}

const FENCED = /^```(\w*)\n([^]*?)^```$/gm;

function blocks(): Block[] {
  return [...TEXT.matchAll(FENCED)].map(([, language = '', text = '']) => ({ language, text }));
}

function blockIn(language: string): string {
  return blocks().find((block) => block.language === language)?.text ?? '';
}

/**
 * Commands of a block: all lines of a script, those behind a prompt of a session; without comments.
 */
function commandsIn({ language, text }: Block): string[] {
  const lines = text.split('\n');
  const typed =
    language === 'sh'
      ? lines
      : lines.filter((line) => line.startsWith('$ ')).map((line) => line.slice(2));
  return typed.map((line) => line.replace(/\s+#.*$/, '').trim()).filter((line) => line !== '');
}

function codeSpans(): string[] {
  const spans = TEXT.replaceAll(FENCED, '').matchAll(/`([^`]+)`/g);
  return [...spans].map(([, code = '']) => code.replaceAll(/\s+/g, ' '));
}

/** Programs that stand for a command in a sentence when anything follows. */
const PROGRAMS =
  'podpaced|npm|npx|systemctl|kubectl|crictl|journalctl|install|mount|modprobe|ip|tc|nft|sysctl|iperf3|ethtool|setarch';
const COMMAND = new RegExp(`^(\\./scripts/\\w+( |$)|(${PROGRAMS}) )`);

function commandsOfDocuments(): Set<string> {
  const spans = codeSpans().filter((code) => COMMAND.test(code));
  return new Set([...blocks().flatMap(commandsIn), ...spans]);
}

/** What the longest command of the documents, a build, takes on a busy machine. */
const BUILD_MS = 240_000;

interface Node {
  /** Runs a line of a shell in the project's directory. */
  run(line: string): Promise<Ended>;
  /** Starts one that goes on; resolves when it has said that it serves. */
  serve(line: string): Promise<void>;
  /** How the one that goes on ended. */
  readonly served: Promise<Ended>;
  readonly hasFq: boolean;
}

/**
 * What a node has of its own: a place for programs, /run with the records, and a bpffs on which
 * nothing is.
 */
function mounts(run: string, pins: string): string {
  return [
    `mkdir -p ${run}/outer ${run}/state ${pins}`,
    `mount --rbind /run ${run}/outer`,
    'mount -t tmpfs none /run',
    'mkdir -p /run/netns /run/podpace',
    `mount --rbind ${run}/outer/netns /run/netns`,
    `mount --bind ${run}/state /run/podpace`,
    `mount --bind ${pins} /sys/fs/bpf`,
    'mount -t tmpfs none /usr/local/sbin',
    'mount -t tmpfs none /opt && mkdir -p /opt/cni/bin',
    // With containerd and nothing else.
    'cp -a /etc /opt/etc && mount --bind /opt/etc /etc',
    'rm -rf /etc/cni /etc/containerd /etc/crio /etc/cri /etc/kubernetes',
    'mkdir -p /etc/cni/net.d /etc/containerd && touch /etc/containerd/config.toml',
    'mount -t tmpfs none /etc/systemd/system',
    'echo ready && exec sleep infinity',
  ].join(' && ');
}

/**
 * A node behind its uplink eth0, with the records of two pods: 4f2a…, capped in both directions,
 * and another.
 */
async function makeNode(t: ExecutionContext): Promise<Node> {
  const [net, peer, first, second] = [makeNetns(t), makeNetns(t), makeNetns(t), makeNetns(t)];
  const directories = makeHelperDirectories(t);
  addUplink(net, peer, 'eth0', 1);
  const egress = { rateBitsPerSec: 10_000_000 };
  const web = { podNamespace: 'default', podName: 'web-0' };
  const db = { podNamespace: 'shop', podName: 'db-0' };
  const pods = [
    {
      name: 'pod1',
      sandbox: first,
      more: { containerId: '4f2a9d', ...web },
      caps: { egress, ingress: egress },
    },
    { name: 'pod2', sandbox: second, more: { containerId: 'b10c55', ...db }, caps: { egress } },
  ];
  for (const { name, sandbox, more, caps } of pods) {
    // Or the pod's own kernel reports groups and looks for routers, which counts as all it sends
    // does.
    inNetns(sandbox.netns, () => writeSysctl('net/ipv6/conf/default/disable_ipv6', '1'));
    wirePod(net, sandbox, name);
    leaveRecord(net, directories, { ...paramsOf(name, sandbox, caps), ...more });
  }
  const inNet = ['--net=/run/netns/' + net.name];
  const script = mounts(directories.run, directories.pins);
  const holder = spawn('nsenter', [...inNet, 'unshare', '--mount', 'sh', '-ec', script]);
  t.teardown(() => holder.kill('SIGKILL'));
  await new Promise((resolve, reject) => {
    holder.stdout.once('data', resolve);
    holder.once('exit', () => reject(new Error('Cannot make the mounts of the node')));
  });
  const inside = [...inNet, `--mount=/proc/${holder.pid}/ns/mnt`, `--wd=${ROOT}`, 'sh', '-c'];
  const hasFq =
    spawnSync('unshare', ['--net', 'tc', 'qdisc', 'add', 'dev', 'lo', 'root', 'fq']).status === 0;
  let served: Promise<Ended> = Promise.reject(new Error('Nothing was started'));
  served.catch(() => undefined);
  return {
    hasFq,
    run: (line) => runProgram('nsenter', [...inside, line], BUILD_MS),
    async serve(line) {
      const child = spawn('nsenter', [...inside, `exec ${line}`]);
      t.teardown(() => child.kill('SIGKILL'));
      let stderr = '';
      child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
      served = new Promise((resolve) => {
        child.on('close', (code) => resolve({ code, stdout: '', stderr }));
      });
      while (!stderr.includes(' serves ')) {
        if (child.exitCode !== null) throw new Error(`podpaced does not serve: ${stderr}`);
        await sleep(20);
      }
    },
    get served() {
      return served;
    },
  };
}

/** Runs one command of a document; asserts what the document says of it. */
type Case = (t: ExecutionContext, node: Node, command: string) => Promise<void> | void;

const installs =
  (file: string, source: string): Case =>
  async (t, node, command) => {
    const { code, stderr } = await node.run(command);
    t.is(code, 0, stderr);
    t.is((await node.run(`cmp ${file} ${source} && test -x ${file}`)).code, 0);
  };

/** Succeeds, and prints what matches. */
const prints =
  (expected: RegExp): Case =>
  async (t, node, command) => {
    const { code, stdout, stderr } = await node.run(command);
    t.is(code, 0, stderr);
    t.regex(stdout, expected);
  };

/**
 * Why it is not run: it takes minutes to hours, or runs this very test. It has to be understood as
 * it stands, and its --help to tell of what the document says of it.
 */
const helps =
  (_why: string, ...expected: readonly string[]): Case =>
  async (t, node, command) => {
    const asked = alternativesOf(command).map((one) => `${one.split(' -- ')[0]} --help`);
    for (const { code, stdout, stderr } of await Promise.all(asked.map((line) => node.run(line)))) {
      t.is(code, 0, stderr);
      const told = stdout.replaceAll(/\s+/g, ' ');
      for (const words of expected) t.true(told.includes(words), `${command}: ${words}`);
    }
  };

/** `--tier a|b` as a reader types it: with either. */
function alternativesOf(command: string): string[] {
  const words = command.split(' ');
  const at = words.findIndex((word) => word.includes('|'));
  if (at === -1) return [command];
  return (words[at] ?? '').split('|').map((word) => words.with(at, word).join(' '));
}

const probes: Case = async (t, node, command) => {
  const { code, stdout } = await node.run(command);
  t.is(code, node.hasFq ? 0 : 1, stdout);
  t.regex(stdout, /^ok +BPF programs +/m);
  t.regex(stdout, node.hasFq ? /^ok +sch_fq +/m : /^MISSING +sch_fq .*modprobe sch_fq/m);
};

/** What the helper says of the same node is the same. */
const probesInJson: Case = async (t, node, command) => {
  const [probed, told] = [await node.run(command), await node.run('podpaced status --json')];
  const { kernel, items } = JSON.parse(probed.stdout) as ProbeResult;
  checkProbeItems(items);
  t.is(probed.code, items.every(({ ok }) => ok) ? 0 : 1);
  const { kernel: same, features } = JSON.parse(told.stdout) as StatusResult;
  t.is(kernel, same);
  t.deepEqual(features, items);
};

/** The lines that README shows below the command. */
const showsStatus: Case = async (t, node, command) => {
  const { code, stdout } = await node.run(command);
  t.is(code, node.hasFq ? 0 : 1, stdout);
  const [, shown = ''] = TEXT.split(`$ ${command}\n`);
  const lines = shown.split('\n...\n')[0]?.split('\n') ?? [];
  t.is(lines.length, 3);
  const printed = stdout.split('\n');
  for (const line of lines) {
    // Without sch_fq it goes on to say what is not enforced.
    const isThere = node.hasFq
      ? printed.includes(line)
      : printed.some((text) => text.startsWith(line.replace(/ok$/, '')));
    t.true(isThere, `${line} of\n${stdout}`);
  }
};

const NETWORK_LIST = '/etc/cni/net.d/10-flannel.conflist';

/** The rest of README's line is "then without". */
const showsDifference: Case = async (t, node, command) => {
  await node.run(`cat > ${NETWORK_LIST} <<'END'\n${FLANNEL}END`);
  t.is(command, 'podpaced install --dry-run');
  const { code, stdout, stderr } = await node.run(command);
  t.is(code, 0, stderr);
  t.regex(stdout, /^\+ +"type": "podpace",$/m);
  t.is((await node.run(`cat ${NETWORK_LIST}`)).stdout, FLANNEL);
  t.is((await node.run('test -e /opt/cni/bin/podpace')).code, 1);
};

const installsPlugin: Case = async (t, node, command) => {
  t.teardown(() => fs.rmSync('/var/lib/podpace', { recursive: true, force: true }));
  const { code, stderr } = await node.run(command);
  t.is(code, 0, stderr);
  t.is((await node.run('cmp /opt/cni/bin/podpace dist/podpace')).code, 0);
  const { stdout } = await node.run(`cat ${NETWORK_LIST}`);
  const { plugins } = JSON.parse(stdout) as { plugins: { type: string }[] };
  t.is(plugins.at(-1)?.type, 'podpace');
};

/** What stands for values in a synopsis is replaced by some. */
const sets: Case = async (t, node, command) => {
  t.is(command, 'podpaced set POD[/IFNAME] --egress|--ingress');
  const ways = [
    '4f2a --egress',
    '4f2a9d/eth0 --ingress',
    'shop/db-0 --egress',
    'default/web-0/eth0 --egress',
  ];
  const values = [
    '--rate 5M',
    '--burst 100k',
    '--horizon 60ms',
    '--aqm-target 6ms',
    '--aqm-interval 120ms',
  ];
  for (const way of ways) {
    for (const value of [values.join(' '), '--aqm-target off', '--rate default', '--reset']) {
      const { code, stdout, stderr } = await node.run(`podpaced set ${way} ${value}`);
      t.is(code, 0, `${way} ${value}: ${stderr}`);
      t.regex(stdout, /BEFORE +AFTER/);
    }
  }
};

/** What was installed as a unit starts what was installed as a program. No systemd runs here. */
const startsService: Case = async (t, node) => {
  const { stdout: unit } = await node.run('cat /etc/systemd/system/podpaced.service');
  const [, started = ''] = /^ExecStart=\/usr\/local\/sbin\/(.*)$/m.exec(unit) ?? [];
  t.is(started, RUN);
  t.regex(unit, /^\[Install\]\nWantedBy=/m);
  t.is((await node.run('test -x /usr/local/sbin/podpaced')).code, 0);
};

/** Without sch_fq that is the one thing that is wrong. */
const explains: Case = async (t, node, command) => {
  const { code, stdout } = await node.run(command);
  t.is(code, node.hasFq ? 0 : 1, stdout);
  t.regex(
    stdout,
    /^default\/web-0 \(eth0, 4f2a9d\)\n +host-interface +ok +pod1 \((veth|pair)\), network pods$/m,
  );
  const errors = [...stdout.matchAll(/^ +error ([a-z-]+):/gm)].map(([, found]) => found);
  t.deepEqual(errors, node.hasFq ? [] : ['fq-missing']);
};

/** Writes a file where it is called, in the project's directory here. */
const reports: Case = async (t, node, command) => {
  const { code, stdout, stderr } = await node.run(command);
  t.is(code, 0, stderr);
  const [, name = ''] = /^Wrote (podpaced-report-\S+\.json) /.exec(stdout) ?? [];
  const file = path.join(ROOT, name);
  const text = fs.readFileSync(file, 'utf8');
  fs.rmSync(file);
  t.is(text.includes('"web-0"'), !command.includes('--redact'));
};

const RUN = 'podpaced run --mount-bpffs';

/** In the order in which they are run. */
const CASES: Readonly<Record<string, Case>> = {
  './scripts/build': installs('dist/podpaced', 'dist/podpaced'),
  'install -m 0755 dist/podpaced dist/podpace /usr/local/sbin/': async (...all) => {
    await installs('/usr/local/sbin/podpaced', 'dist/podpaced')(...all);
    await installs('/usr/local/sbin/podpace', 'dist/podpace')(...all);
  },
  'podpaced probe': probes,
  'install -m 0644 conf/podpaced.service /etc/systemd/system/': async (t, node, command) => {
    t.is((await node.run(command)).code, 0);
  },
  'systemctl enable --now podpaced': startsService,
  'podpaced run --kubernetes': async (t, node, command) => {
    const { code, stderr } = await node.run(command);
    t.is(code, 2);
    t.regex(stderr, /give --node-name or NODE_NAME/);
  },
  [RUN]: async (t, node, command) => {
    await node.serve(command);
    t.is(
      (await node.run('test -S /run/podpace/helper.sock && test -d /sys/fs/bpf/podpace')).code,
      0,
    );
  },
  'podpaced install --dry-run': showsDifference,
  'podpaced install': installsPlugin,
  'podpaced run': async (t, node, command) => {
    const second = await node.run(command);
    t.is(second.code, 1);
    t.regex(second.stderr, /^podpaced: .*(already|another|pid|process)/i);
  },
  'podpaced probe --json': probesInJson,
  'podpaced status': showsStatus,
  'podpaced list': prints(
    /^POD +CONTAINER .*\ndefault\/web-0 +4f2a9d .* egress +10 Mbit\/s .*\ndefault\/web-0 +4f2a9d .* ingress +10 Mbit\/s .*\nshop\/db-0 +b10c55 .* egress +10 Mbit\/s .*\n$/,
  ),
  'podpaced list default/web-0': prints(
    /^POD .*\ndefault\/web-0 +4f2a9d .* egress .*\ndefault\/web-0 +4f2a9d .* ingress .*\n$/,
  ),
  'podpaced list --wide': prints(
    /^POD .* NETWORK +HOST INTERFACE +WIRING .*\n.* pods +pod1 +- +egress /,
  ),
  'podpaced list --all': prints(
    /^POD .*\ndefault\/web-0 +4f2a9d .*\ndefault\/web-0 +4f2a9d .*\nshop\/db-0 +b10c55 .*\n$/,
  ),
  'podpaced list --all --json': async (t, node, command) => {
    const { stdout } = await node.run(command);
    const { attachments, ...others } = JSON.parse(stdout) as Record<string, object[]>;
    t.is(attachments?.length, 2);
    t.deepEqual(others, { uncapped: [], unknown: [] });
  },
  'podpaced counters': prints(
    /^POD .*\ndefault\/web-0 +4f2a9d +eth0 +egress +0 .*\ndefault\/web-0 +4f2a9d +eth0 +ingress .*\nshop\/db-0 +b10c55 /,
  ),
  'podpaced history default/web-0': prints(
    /^default\/web-0 \(eth0, 4f2a9d\) egress, cap 10 Mbit\/s\b[^]*\n\ndefault\/web-0 .* ingress, cap /,
  ),
  'podpaced explain default/web-0': explains,
  'podpaced completion bash|zsh|fish': async (t, node, command) => {
    const shells = [
      /^complete -F \w+ podpaced$/m,
      /^#compdef podpaced$/m,
      /^complete -c podpaced /m,
    ];
    for (const [index, one] of alternativesOf(command).entries()) {
      const { code, stdout } = await node.run(one);
      t.is(code, 0);
      t.regex(stdout, shells[index] ?? /never/);
    }
    const asked = await node.run("podpaced complete -- list 'shop/'");
    t.is(asked.stdout, 'shop/db-0 pod\n');
  },
  'podpaced set default/web-0 --egress --rate 20M': prints(
    /^default\/web-0 \(eth0, 4f2a9d\) egress +BEFORE +AFTER\nrate +10 Mbit\/s +20 Mbit\/s$/m,
  ),
  'podpaced set 4f2a --egress --rate 20M': prints(/^rate +20 Mbit\/s +20 Mbit\/s$/m),
  'podpaced set POD[/IFNAME] --egress|--ingress': sets,
  'podpaced report': reports,
  'podpaced report --redact': reports,
  './scripts/release': helps('takes minutes, in which the tier release does it', '--arch'),
  './scripts/image': helps('takes a minute, in which the tier cluster does it', '--name'),
  './scripts/cluster -- COMMAND': helps('builds Kubernetes on the first run', 'COMMAND'),
  './scripts/lab': helps('takes minutes', '--quick'),
  './scripts/test': helps('runs this test', '--tier', '--kernel'),
  './scripts/test --tier unit|bpf|netns|vm': helps('runs this test', 'unit|bpf|netns|vm'),
  './scripts/test --tier cluster': helps('runs containers', 'cluster'),
  './scripts/test --tier vm --crossings all': helps('takes an hour', '--crossings', 'all'),
  './scripts/bench all': helps('takes hours', '"all"', '--quick'),
  './scripts/bench wiring': helps('takes minutes', '"wiring"'),
  './scripts/bench control --here': helps('takes minutes', '"control"', '--baseline'),
  './scripts/bench accuracy --wiring netkit-routing': helps('takes minutes', '"accuracy"'),
  './scripts/vm -- COMMAND': helps('boots a VM, in which the tier vm runs', 'after --'),
  './scripts/vm --count-instructions': helps('boots a VM, as the tier vm does', 'instructions'),
  'npm run check': (t) => {
    const { scripts } = JSON.parse(fs.readFileSync(path.join(ROOT, 'package.json'), 'utf8')) as {
      scripts: Record<string, string>;
    };
    // What CI runs first.
    t.is(scripts['check'], 'scripts/node scripts/check.ts');
    t.true(fs.readFileSync(path.join(ROOT, '.ci/run'), 'utf8').includes('scripts/check.ts'));
  },
  'podpaced uninstall': async (t, node, command) => {
    const { code, stdout, stderr } = await node.run(command);
    t.is(code, 0, stderr);
    t.regex(stdout, /^Detached 2 pods; /);
    t.is((await node.served).code, 0);
    // To the byte, and nothing else of an install is left.
    t.is((await node.run(`cat ${NETWORK_LIST}`)).stdout, FLANNEL);
    t.is((await node.run('test -e /opt/cni/bin/podpace || test -e /var/lib/podpace')).code, 1);
    t.is(
      (await node.run('test -e /sys/fs/bpf/podpace || test -e /run/podpace/helper.sock')).code,
      1,
    );
  },
};

/** Of systemctl and of Node. */
const OTHERS_FLAGS = [...['--', '--now'], ...['--inspect', '--openssl-config', '--no-warnings']];

/** Commands that need what no machine of the tests has. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  'kubectl exec web-0 -- iperf3 -c SERVER': 'needs a cluster; the lab measures the same',
  'kubectl apply -k conf/kubernetes/chained': 'the tier cluster runs what it would make',
  'kubectl delete -k conf/kubernetes/chained': 'the same',
  'kubectl apply -k conf/kubernetes/uninstall': 'the same',
};

test('every command of README has a case, and every case a command', (t) => {
  t.deepEqual(
    [...commandsOfDocuments()].toSorted(),
    [...Object.keys(CASES), ...Object.keys(ELSEWHERE)].toSorted(),
  );
});

test.serial('the commands of README do what README says', async (t) => {
  t.timeout(300_000);
  const node = await makeNode(t);
  for (const [command, run] of Object.entries(CASES)) {
    t.log(command);
    await run(t, node, command);
  }
});

test.serial('every flag that README names is one of a command', async (t) => {
  const commands = [
    ...['run', 'set', 'list', 'install', 'uninstall', 'report'].map((name) => [
      'dist/podpaced',
      name,
    ]),
    ...['lab', 'test', 'bench', 'vm'].map((name) => [`scripts/${name}`]),
  ];
  const helps = await Promise.all(
    commands.map(([program = '', ...args]) =>
      runProgram(path.join(ROOT, program), [...args, '--help']),
    ),
  );
  const known = new Set([
    ...helps.flatMap(({ stdout }) => stdout.match(/--[a-z-]+/g) ?? []),
    ...OTHERS_FLAGS,
  ]);
  const named = codeSpans().flatMap((code) => code.match(/(?<![\w-])--[a-z-]*/g) ?? []);
  t.true(named.length > 15);
  t.deepEqual(
    named.filter((flag) => !known.has(flag)),
    [],
  );
});

test('every error code of the plugin is in README', (t) => {
  const [, table = ''] = TEXT.split(/^\| code .*\n.*\n/m);
  const rows = table.split('\n\n')[0]?.matchAll(/^\| ([\d, ]+) \|/gm) ?? [];
  const told = [...rows].flatMap(([, codes = '']) => codes.split(',').map(Number));
  t.deepEqual(
    told.toSorted((a, b) => a - b),
    Object.values(ErrorCode).toSorted((a, b) => a - b),
  );
});

test('the plugin entry and the annotations of README are what the shipped lists and Kubernetes have', (t) => {
  const entry = JSON.parse(blockIn('json')) as object;
  for (const name of ['20-bridge-podpace', '30-ptp-podpace', '40-flannel-podpace']) {
    t.true(TEXT.includes(`conf/${name}.conflist`));
    const text = fs.readFileSync(path.join(ROOT, `conf/${name}.conflist`), 'utf8');
    t.deepEqual((JSON.parse(text) as { plugins: object[] }).plugins.at(-1), entry);
  }
  // kubernetes/pkg/util/bandwidth/utils.go: the keys; the values are quantities.
  const annotations = [...blockIn('yaml').matchAll(/^ {4}(\S+): (\S+)$/gm)].map(
    ([, key, value]) => [key, value],
  );
  t.deepEqual(annotations, [
    ['kubernetes.io/egress-bandwidth', '10M'],
    ['kubernetes.io/ingress-bandwidth', '50M'],
  ]);
});
