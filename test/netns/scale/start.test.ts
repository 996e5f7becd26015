// What podpaced looks at before it serves: the bpffs under its pins, and what it is allowed to do.

import fs from 'node:fs';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { inNetns } from '../../../helper/kernel/netns.ts';
import { writeSysctl } from '../../../helper/kernel/sysctl.ts';
import type { ProbeResult } from '../../../helper/protocol/messages.ts';
import { PODPACED } from '../../bed/helper.ts';
import {
  addUplink,
  leaveRecord,
  makeHelperDirectories,
  paramsOf,
  startOwnHelper,
  wirePod,
  type HelperDirectories,
} from '../../kit/helper.ts';
import { makeNetns, type TestNetns } from '../../kit/netns.ts';
import { runProgram, type Ended } from '../../kit/run-program.ts';

interface Place {
  readonly node: TestNetns;
  readonly directories: HelperDirectories;
  /** Executable that stands for podpaced. */
  readonly podpaced: string;
}

/**
 * A place for podpaced, which is run by other programs: `before` ends in what the command is put
 * behind.
 */
function makePlace(t: ExecutionContext, before: string): Place {
  const [node, directories] = [makeNetns(t), makeHelperDirectories(t)];
  const podpaced = path.join(directories.run, 'podpaced.sh');
  fs.writeFileSync(podpaced, `#!/bin/sh\nexec ${before} ${PODPACED} "$@"\n`, { mode: 0o755 });
  return { node, directories, podpaced };
}

function call(
  { node, directories, podpaced }: Place,
  command: string,
  ...flags: string[]
): Promise<Ended> {
  const { run, pins } = directories;
  const settings = [
    '--socket',
    `${run}/helper.sock`,
    '--state-dir',
    `${run}/state`,
    '--pin-dir',
    pins,
  ];
  return runProgram('nsenter', [
    `--net=/run/netns/${node.name}`,
    podpaced,
    command,
    ...settings,
    ...flags,
  ]);
}

const OWN_MOUNTS = 'unshare --mount --propagation';
const NO_BPFFS = 'umount /sys/fs/bpf';
const PRIVATE_BPFFS = `${NO_BPFFS} && mount -t bpf bpf /sys/fs/bpf`;

/** Runs a command after another one; `name` is $0 of the latter. */
function after(setup: string, name = 'sh'): string {
  return `sh -c '${setup} || exit 9; exec "$@"' ${name}`;
}

/**
 * The same in a process namespace whose first process is not podpaced but the shell, as it is on a
 * node.
 */
function onOwnNode(setup: string): string {
  return `${OWN_MOUNTS} private --pid --fork --kill-child --mount-proc sh -c '${setup} || exit 9; "$@"' sh`;
}

/** What `status` and `probe` say of the bpffs. */
async function bpffsProblems(
  t: ExecutionContext,
  place: Place,
  ...flags: string[]
): Promise<string[]> {
  const helper = await startOwnHelper(t, place.node, place.directories, flags, place.podpaced);
  const { state, problems } = await helper.ask('status', {});
  const own = problems.filter((problem) => problem.includes('bpffs'));
  if (own.length > 0) t.is(state, 'degraded');
  return own;
}

const refused: readonly [what: string, before: string, flags: string[], expected: RegExp][] = [
  [
    'a host without bpffs',
    onOwnNode(NO_BPFFS),
    [],
    /there is no bpffs on \/sys\/fs\/bpf: .*mount -t bpf bpf \/sys\/fs\/bpf.*--mount-bpffs/,
  ],
  [
    'a container with none',
    `${OWN_MOUNTS} private ${after(NO_BPFFS)}`,
    [],
    /there is no bpffs on \/sys\/fs\/bpf: .*hostPath \/sys\/fs\/bpf with mountPropagation/,
  ],
  [
    'a container with none, that is to mount one',
    `${OWN_MOUNTS} private ${after(NO_BPFFS)}`,
    ['--mount-bpffs'],
    /the bpffs on \/sys\/fs\/bpf is not the node's: .*hostPath/,
  ],
  [
    'a container with a private one',
    `${OWN_MOUNTS} private ${after(PRIVATE_BPFFS)}`,
    [],
    /the bpffs on \/sys\/fs\/bpf is not the node's: .*hostPath \/sys\/fs\/bpf.*--private-bpffs/,
  ],
  [
    'a container of a nested node, with a private one',
    `${onOwnNode(PRIVATE_BPFFS)} ${OWN_MOUNTS} private ${after(PRIVATE_BPFFS)}`,
    [],
    /the bpffs on \/sys\/fs\/bpf is not the node's/,
  ],
];
for (const [what, before, flags, expected] of refused) {
  test.serial(`bpffs: ${what} is refused, and nothing is made`, async (t) => {
    const place = makePlace(t, before);
    const { code, stderr } = await call(place, 'run', ...flags);
    t.is(code, 1);
    t.regex(stderr, expected);
    t.is(stderr.trimEnd().split('\n').length, 1);
    t.deepEqual(fs.readdirSync(place.directories.run), ['podpaced.sh']);
    const { stdout } = await call(place, 'probe', '--json', ...flags);
    const found = (JSON.parse(stdout) as ProbeResult).items.find(({ name }) => name === 'bpffs');
    if (flags.length === 0) t.like(found, { ok: false });
  });
}

/** The bpffs of the node in a container, as a bind mount. */
function bound(propagation: string): string {
  const steps = [
    'mkdir "$0"',
    'mount --bind /sys/fs/bpf "$0"',
    NO_BPFFS,
    'mount --bind "$0" /sys/fs/bpf',
    'umount "$0"',
    'rmdir "$0"',
  ];
  return `${OWN_MOUNTS} ${propagation} ${after(steps.join(' && '), `/tmp/pp-${process.pid}-bound`)}`;
}

const taken: readonly [what: string, before: string, flags: string[]][] = [
  ['a host without bpffs mounts it when it is told to', onOwnNode(NO_BPFFS), ['--mount-bpffs']],
  ["the node's, bound into a container with propagation", bound('slave'), []],
  ["the node's, bound into a container without propagation", bound('private'), []],
  ['a nested node has its own', onOwnNode(PRIVATE_BPFFS), []],
];
for (const [what, before, flags] of taken) {
  test.serial(`bpffs: ${what}`, async (t) => {
    const place = makePlace(t, before);
    t.deepEqual(await bpffsProblems(t, place, ...flags), []);
  });
}

test.serial(
  'bpffs: a private one is DEGRADED with --private-bpffs, as long as podpaced runs',
  async (t) => {
    const place = makePlace(t, `${OWN_MOUNTS} private ${after(PRIVATE_BPFFS)}`);
    const problems = await bpffsProblems(t, place, '--private-bpffs');
    t.is(problems.length, 1);
    t.regex(problems[0] ?? '', /not the node's: all caps end when .*mountPropagation/);
  },
);

test.serial('bpffs is never mounted over what is there', async (t) => {
  const place = makePlace(t, '');
  for (const [pins, expected] of [
    [`${place.directories.run}/podpace`, /not empty/],
    ['/proc/podpace', /proc is mounted there/],
    ['/nonexistent/podpace', /ENOENT.*mount -t bpf bpf \/nonexistent/],
  ] as const) {
    const { code, stderr } = await call(place, 'run', '--mount-bpffs', '--pin-dir', pins);
    t.is(code, 1);
    t.regex(stderr, expected);
  }
});

/** The capabilities that podpaced needs, each taken away by itself. */
for (const capability of ['net_admin', 'sys_admin'] as const) {
  test.serial(
    `without CAP_${capability.toUpperCase()} run says so in one line, and probe too`,
    async (t) => {
      const name = `CAP_${capability.toUpperCase()}`;
      const place = makePlace(t, `setpriv --bounding-set=-${capability}`);
      const { code, stderr } = await call(place, 'run');
      t.is(code, 1);
      t.regex(
        stderr,
        new RegExp(`^podpaced: Cannot start: podpaced lacks ${name} \\(.*needed.*\\).*\\n$`),
      );
      const probe = await call(place, 'probe', '--json');
      t.is(probe.code, 1);
      const { items } = JSON.parse(probe.stdout) as ProbeResult;
      const lacking = items.filter((item) => !item.ok && item.name.startsWith('CAP_'));
      t.deepEqual(
        lacking.map((item) => item.name),
        [name],
      );
      t.like(
        items.find((item) => item.name === 'privileges'),
        { ok: false },
      );
      t.regex(items.find((item) => item.name === 'sch_fq')?.found ?? '', /not tried/);
    },
  );
}

test.serial('without any capability probe names every one that is needed', async (t) => {
  const { stdout } = await call(makePlace(t, 'setpriv --bounding-set=-all'), 'probe');
  for (const name of ['CAP_NET_ADMIN', 'CAP_SYS_ADMIN', 'CAP_BPF', 'CAP_PERFMON']) {
    t.regex(stdout, new RegExp(`^MISSING +${name} +not held, needed to .+; add ${name}`, 'm'));
  }
  t.regex(stdout, /^absent +CAP_SYS_PTRACE +not held, useful to/m);
});

test.serial('capabilities of a user namespace are not those of the node', async (t) => {
  const place = makePlace(t, 'unshare --user --map-root-user');
  const { code, stderr } = await call(place, 'run');
  t.is(code, 1);
  t.regex(stderr, /^podpaced: Cannot start: podpaced runs in a user namespace of its own.*\n$/);
});

const UNIT = path.resolve(import.meta.dirname, '../../../conf/podpaced.service');

test.serial(
  'the systemd unit holds caps with its command and its capabilities, and again after a restart',
  async (t) => {
    const unit = fs.readFileSync(UNIT, 'utf8');
    const setting = (name: string): string =>
      new RegExp(`^${name}=(.*)$`, 'm').exec(unit)?.[1] ?? '';
    const [file, command, ...flags] = setting('ExecStart').split(' ');
    t.is(file, '/usr/local/sbin/podpaced');
    t.is(command, 'run');
    const capabilities = setting('CapabilityBoundingSet').split(' ');
    const kept = capabilities.map((name) => `+${name.replace('CAP_', '').toLowerCase()}`);
    const place = makePlace(t, `setpriv --no-new-privs --bounding-set=-all,${kept.join(',')}`);
    const { node, directories, podpaced } = place;
    const [sandbox, peer] = [makeNetns(t), makeNetns(t)];
    addUplink(node, peer, 'uplink', 2);
    // Or the pod's own kernel looks for routers, which counts as all it sends does.
    inNetns(sandbox.netns, () => writeSysctl('net/ipv6/conf/default/disable_ipv6', '1'));
    wirePod(node, sandbox, 'pod0');
    const caps = {
      egress: { rateBitsPerSec: 10_000_000 },
      ingress: { rateBitsPerSec: 20_000_000 },
    };
    leaveRecord(node, directories, paramsOf('pod0', sandbox, caps));
    for (let start = 0; start < 2; start++) {
      const helper = await startOwnHelper(t, node, directories, flags, podpaced);
      t.is((await helper.ask('counters', {})).attachments[0]?.egress?.total.packets, 0);
      const { containerId, ifname } = paramsOf('pod0', sandbox, caps);
      const changes = { rateBitsPerSec: 12_000_000 + start };
      const set = await helper.ask('set', { containerId, ifname, direction: 'egress', changes });
      t.is(set.after?.rateBitsPerSec, 12_000_000 + start);
      t.notRegex(helper.log(), /EPERM|EACCES/);
      await helper.end('SIGTERM');
    }
  },
);
