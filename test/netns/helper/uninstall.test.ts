// What `podpaced uninstall` takes away, what it keeps, and what it must not touch.

import fs from 'node:fs';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { createMap, MAP_TYPE, pinObject } from '../../../helper/kernel/bpf.ts';
import { PODPACED } from '../../bed/helper.ts';
import {
  addUplink,
  leaveRecord,
  makeHelperDirectories,
  paramsOf,
  placeFlags,
  startOwnHelper,
  type HelperDirectories,
} from '../../kit/helper.ts';
import { makeNetns, type TestNetns } from '../../kit/netns.ts';
import { runProgram, type Ended } from '../../kit/run-program.ts';

const PODPACE = path.join(path.dirname(PODPACED), 'podpace');
const CAPS = { egress: { rateBitsPerSec: 10_000_000 }, ingress: { rateBitsPerSec: 20_000_000 } };

function uninstall(
  node: TestNetns,
  directories: HelperDirectories,
  ...flags: string[]
): Promise<Ended> {
  const command = [PODPACED, 'uninstall', ...placeFlags(directories), ...flags];
  return runProgram('nsenter', [`--net=/run/netns/${node.name}`, ...command]);
}

/** A node with an uplink and pods, whose caps a helper will hold that is started there. */
function makeNode(t: ExecutionContext, pods: readonly string[]) {
  const [node, sandbox, peer] = [makeNetns(t), makeNetns(t), makeNetns(t)];
  const directories = makeHelperDirectories(t);
  addUplink(node, peer, 'uplink', 2);
  const records: string[] = [];
  for (const name of pods) {
    node.ip('link', 'add', name, 'type', 'veth', 'peer', 'name', `${name}p`, 'netns', sandbox.name);
    node.ip('link', 'set', name, 'up');
    leaveRecord(node, directories, paramsOf(name, sandbox, CAPS));
    records.push(`c-${name}:eth0.json`);
  }
  return { node, sandbox, directories, records, state: path.join(directories.run, 'state') };
}

function picture(node: TestNetns): string {
  const programs = ['uplink', 'pod0'].map((name) =>
    node.tc('filter', 'show', 'dev', name, 'egress'),
  );
  return [node.tc('qdisc', 'show'), ...programs].join('\n');
}

test.serial(
  'uninstall keeps what pods were to have, and the next helper caps those that still run',
  async (t) => {
    const { node, directories, records, state } = makeNode(t, ['pod0', 'pod1']);
    const before = picture(node);
    const helper = await startOwnHelper(t, node, directories);
    t.not(picture(node), before);
    const { code, stdout } = await uninstall(node, directories);
    t.is(code, 0);
    await helper.end('SIGTERM');
    t.is(picture(node), before);
    t.false(fs.existsSync(directories.pins));
    t.deepEqual(fs.readdirSync(path.join(state, 'attachments')).toSorted(), records);
    t.false(fs.existsSync(path.join(state, 'exits')));
    node.ip('link', 'delete', 'pod1');
    const next = await startOwnHelper(t, node, directories);
    t.regex(next.log(), /Holds the caps of 1 pods again .*: c-pod0\/eth0\n/);
    t.regex(next.log(), /pod1 is gone/);
    t.not(picture(node), before);
    t.deepEqual(
      (await next.ask('list', {})).attachments.map(({ hostInterface }) => hostInterface),
      ['pod0'],
    );
    t.regex(stdout, /^Detached 2 pods; restored .*\. 2 pods have lost their cap; .*--forget/);
    await next.end('SIGTERM');
  },
);

for (const isRunning of [true, false]) {
  const by = isRunning ? 'by the helper' : 'without a helper';
  test.serial(
    `uninstall ${by} keeps records that cannot be read, and says so; --forget drops them`,
    async (t) => {
      const { node, directories, records, state } = makeNode(t, ['pod0', 'newer0', 'aside0']);
      const before = picture(node);
      const attachments = path.join(state, 'attachments');
      const [, newer = '', aside = ''] = records.map((name) => path.join(attachments, name));
      const first = await startOwnHelper(t, node, directories);
      await first.end('SIGTERM');
      const whole = fs.readFileSync(newer, 'utf8');
      fs.writeFileSync(newer, whole.replace('"recordVersion":1', '"recordVersion":3'));
      // As former releases put away what they could not read.
      fs.writeFileSync(`${aside}.unreadable`, fs.readFileSync(aside).subarray(0, 40));
      fs.rmSync(aside);
      const kept = fs.readdirSync(attachments).toSorted();
      const running = isRunning ? await startOwnHelper(t, node, directories) : undefined;

      const { code, stdout } = await uninstall(node, directories);
      t.is(code, 0);
      // It takes away what it left once it has answered.
      await running?.end('SIGTERM');
      t.regex(
        stdout,
        new RegExp(
          `^Detached ${isRunning ? 3 : 1} pods; .* 1 pods have lost their cap; .*--forget`,
        ),
      );
      for (const file of [newer, `${aside}.unreadable`])
        t.regex(stdout, new RegExp(`cannot be read .*${file}`));
      t.is(picture(node), before);
      t.false(fs.existsSync(directories.pins));
      t.deepEqual(fs.readdirSync(attachments).toSorted(), kept);

      // The next helper names them, and holds the cap of the one that can be read again.
      fs.writeFileSync(newer, whole);
      const next = await startOwnHelper(t, node, directories);
      const { state: health, problems } = await next.ask('status', {});
      t.is(health, 'degraded');
      t.true(problems.some((problem) => problem.includes(`${aside}.unreadable`)));
      t.deepEqual(
        (await next.ask('list', {})).attachments
          .map(({ hostInterface }) => hostInterface)
          .toSorted(),
        ['newer0', 'pod0'],
      );
      if (!isRunning) await next.end('SIGTERM');
      const forgotten = await uninstall(node, directories, '--forget');
      t.is(forgotten.stdout, 'Detached 2 pods; restored newer0, pod0, uplink\n');
      t.is(picture(node), before);
      await next.end('SIGTERM');
      t.deepEqual(fs.readdirSync(directories.run), []);
    },
  );
}

test.serial('uninstall --forget leaves nothing, also of a helper that crashed', async (t) => {
  const { node, directories, records, state } = makeNode(t, ['pod0']);
  const before = picture(node);
  const helper = await startOwnHelper(t, node, directories);
  await helper.end('SIGKILL');
  // What a crash between two steps, and former releases, leave beside the records.
  for (const name of [`${records[0]}.new`, 'gone:eth0.json.unreadable'])
    fs.writeFileSync(path.join(state, 'attachments', name), '{');
  fs.writeFileSync(path.join(state, 'exits', '99.json.new'), '{');
  t.true(fs.existsSync(helper.socket));
  const { code, stdout } = await uninstall(node, directories, '--forget', '--json');
  t.is(code, 0);
  t.is(picture(node), before);
  t.false(fs.existsSync(directories.pins));
  t.deepEqual(fs.readdirSync(directories.run, { recursive: true }), []);
  t.like(JSON.parse(stdout), { detached: 1, kept: 0 });
});

test.serial('where no pod had a cap uninstall leaves nothing, running or not', async (t) => {
  const { node, directories } = makeNode(t, []);
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    const helper = await startOwnHelper(t, node, directories);
    if (signal === 'SIGKILL') await helper.end(signal);
    const { code, stdout } = await uninstall(node, directories);
    t.is(code, 0);
    t.is(stdout, 'Detached 0 pods; restored nothing\n');
    await helper.end(signal);
    t.deepEqual(fs.readdirSync(directories.run), []);
    t.false(fs.existsSync(directories.pins));
  }
  t.is((await uninstall(node, directories)).code, 0);
  t.deepEqual(fs.readdirSync(directories.run), []);
});

/** A directory of somebody's with a file in it, of which podpace has a map of that name. */
function makeKeep({ run }: HelperDirectories): { keep: string; file: string } {
  const keep = path.join(run, 'keep');
  fs.mkdirSync(keep);
  const file = path.join(keep, 'aggregate_config');
  fs.writeFileSync(file, 'mine');
  return { keep, file };
}

test.serial('an uninstall that is refused speaks of uninstalling', async (t) => {
  const { node, directories } = makeNode(t, []);
  await startOwnHelper(t, node, directories);
  const elsewhere = ['--socket', path.join(directories.run, 'other.sock')];
  const { code, stderr } = await uninstall(node, directories, ...elsewhere);
  t.is(code, 1);
  t.regex(
    stderr,
    /^podpaced: Cannot uninstall: another podpaced is serving this node \(process \d+\).*\n$/,
  );
});

test.serial('no files go from a directory that uninstall is told has pins', async (t) => {
  const { node, directories } = makeNode(t, []);
  const { run } = directories;
  const { keep } = makeKeep(directories);
  const elsewhere = await uninstall(node, { run, pins: keep });
  t.deepEqual(fs.readdirSync(keep), ['aggregate_config']);
  t.is(elsewhere.code, 1);
  t.regex(elsewhere.stderr, /keep.*not on bpffs/);
});

test.serial('a file that is no socket stays where run is to make its socket', async (t) => {
  const { node, directories } = makeNode(t, []);
  const { file } = makeKeep(directories);
  const flags = [PODPACED, 'run', ...placeFlags(directories), '--socket', file];
  const started = await runProgram('nsenter', [`--net=/run/netns/${node.name}`, ...flags]);
  t.true(fs.statSync(file).isFile());
  t.is(fs.readFileSync(file, 'utf8'), 'mine');
  t.is(started.code, 1);
  t.regex(started.stderr, /aggregate_config: there is a file that is no socket/);
});

test.serial('pins and files of somebody else in podpace’s directories stay', async (t) => {
  const { node, directories, state } = makeNode(t, []);
  const { pins } = directories;
  const shape = {
    type: MAP_TYPE.ARRAY,
    keySize: 4,
    valueSize: 4,
    maxEntries: 1,
    flags: 0,
    name: 'other',
  };
  const fd = createMap(shape);
  t.teardown(() => fs.closeSync(fd));
  fs.mkdirSync(pins);
  pinObject(fd, path.join(pins, 'somebody_else'));
  fs.mkdirSync(path.join(state, 'attachments'), { recursive: true });
  fs.writeFileSync(path.join(state, 'attachments', 'notes.txt'), 'mine');
  t.is((await uninstall(node, directories, '--forget')).code, 0);
  t.deepEqual(fs.readdirSync(pins), ['somebody_else']);
  t.deepEqual(fs.readdirSync(path.join(state, 'attachments')), ['notes.txt']);
});

test.serial('on a read-only root uninstall does its work, with a note on what stays', async (t) => {
  const { node, directories, state } = makeNode(t, ['pod0']);
  const { run } = directories;
  const [copy, flags] = [path.join(run, 'copy'), placeFlags(directories).join(' ')];
  fs.renameSync(state, copy);
  fs.mkdirSync(state);
  const steps = [
    `mount --bind ${run} ${run}`,
    `mount -t tmpfs tmpfs ${state}`,
    `cp -a ${copy}/. ${state}`,
    `mount -o remount,bind,ro ${run}`,
    `${PODPACED} uninstall --forget ${flags}`,
    `find ${state} -mindepth 1`,
  ];
  const inside = ['unshare', '--mount', '--propagation=slave', 'sh', '-c', steps.join(' && ')];
  const { code, stdout, stderr } = await runProgram('nsenter', [
    `--net=/run/netns/${node.name}`,
    ...inside,
  ]);
  t.is(code, 0, stderr);
  t.is(stdout, 'Detached 1 pods; restored nothing\n');
  t.regex(stderr, /Not everything could be removed: EROFS.*state'\n$/);
});

test.serial('a DEL after uninstall leaves nothing', async (t) => {
  const node = makeNetns(t);
  const config = {
    cniVersion: '1.0.0',
    name: 'pods',
    type: 'podpace',
    ipam: { type: 'host-local', subnet: '10.9.0.0/24' },
  };
  const steps = [
    'mount -t tmpfs tmpfs /run',
    'mount -t tmpfs tmpfs /var/lib',
    `echo '${JSON.stringify(config)}' | ${PODPACE}`,
    'find /run /var/lib -mindepth 1',
  ];
  const env = ['CNI_COMMAND=DEL', 'CNI_CONTAINERID=c1', 'CNI_IFNAME=eth0', 'CNI_PATH=/usr/lib/cni'];
  const inside = [
    'unshare',
    '--mount',
    '--propagation=private',
    'env',
    ...env,
    'sh',
    '-c',
    steps.join(' && '),
  ];
  const { code, stdout } = await runProgram('nsenter', [
    `--net=/run/netns/${node.name}`,
    ...inside,
  ]);
  t.is(code, 0, stdout);
  t.notRegex(stdout, /podpace/);
});
