// A second podpaced finds out that it may not run before it changes anything.

import { spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
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
import { pictureOf, pictureTree } from '../../kit/machine-picture.ts';
import { makeNetns, waitForCarrier, type TestNetns } from '../../kit/netns.ts';
import { runProgram } from '../../kit/run-program.ts';

const CAPS = { egress: { rateBitsPerSec: 10_000_000 }, ingress: { rateBitsPerSec: 20_000_000 } };

function settingsOf({ run, pins }: HelperDirectories): Record<string, string> {
  return {
    '--socket': path.join(run, 'helper.sock'),
    '--state-dir': path.join(run, 'state'),
    '--pin-dir': pins,
  };
}

function podpaced(
  node: TestNetns,
  command: string,
  settings: Record<string, string>,
  more: string[] = [],
) {
  const flags = Object.entries(settings).flat();
  return runProgram('nsenter', [
    `--net=/run/netns/${node.name}`,
    PODPACED,
    command,
    ...flags,
    ...more,
  ]);
}

/** A node with an uplink and a pod, both of whose directions a running helper caps. */
async function makeServedNode(t: ExecutionContext) {
  const [node, sandbox, peer] = [makeNetns(t), makeNetns(t), makeNetns(t)];
  const directories = makeHelperDirectories(t);
  addUplink(node, peer, 'uplink', 2);
  wirePod(node, sandbox, 'pod0');
  leaveRecord(node, directories, paramsOf('pod0', sandbox, CAPS));
  await startOwnHelper(t, node, directories, ['--exempt', '203.0.113.0/24']);
  for (const device of ['uplink', 'pod0']) await waitForCarrier(node, device);
  return { node, directories };
}

interface Trial {
  readonly settings: Record<string, string>;
  readonly more?: string[];
}

/** What a second podpaced is told, where a first one serves. */
const TRIALS: Readonly<Record<string, (directories: HelperDirectories) => Trial>> = {
  'the same flags': (directories) => ({
    settings: settingsOf(directories),
    more: ['--exempt', '203.0.113.0/24'],
  }),
  'another exemption': (directories) => ({
    settings: settingsOf(directories),
    more: ['--exempt', '192.0.2.0/24'],
  }),
  'another uplink': (directories) => ({
    settings: settingsOf(directories),
    more: ['--uplink', 'lo'],
  }),
  'another socket': (directories) => ({
    settings: { ...settingsOf(directories), '--socket': path.join(directories.run, 'other.sock') },
  }),
  'other directories': ({ run, pins }) => {
    const elsewhere = path.join(run, 'elsewhere');
    const socket = path.join(elsewhere, 'helper.sock');
    return {
      settings: { '--socket': socket, '--state-dir': elsewhere, '--pin-dir': `${pins}-other` },
    };
  },
};

for (const [what, trialIn] of Object.entries(TRIALS)) {
  test.serial(
    `a second run with ${what} changes nothing, and says who holds the node`,
    async (t) => {
      const { node, directories } = await makeServedNode(t);
      const other = `${directories.pins}-other`;
      t.teardown(() => fs.rmSync(other, { recursive: true, force: true }));
      const before = pictureOf(node, directories);
      const { settings, more = [] } = trialIn(directories);
      const { code, stderr } = await podpaced(node, 'run', settings, ['--mount-bpffs', ...more]);
      t.deepEqual(pictureOf(node, directories), before);
      t.is(code, 1);
      t.regex(
        stderr,
        /^podpaced: Cannot start: another podpaced is serving this node \(process \d+\).*\n$/,
      );
      t.false(fs.existsSync(other));
    },
  );
}

test.serial('`uninstall` that does not find the helper at its socket may not act', async (t) => {
  const { node, directories } = await makeServedNode(t);
  const before = pictureOf(node, directories);
  const lost = { ...settingsOf(directories), '--socket': path.join(directories.run, 'other.sock') };
  const { code, stderr } = await podpaced(node, 'uninstall', lost);
  t.deepEqual(pictureOf(node, directories), before);
  t.is(code, 1);
  t.regex(stderr, /another podpaced is serving/);
});

test.serial(
  'a helper of another network namespace may not take the same directories',
  async (t) => {
    const { node, directories } = await makeServedNode(t);
    const other = makeNetns(t);
    const before = pictureOf(node, directories);
    const settings = settingsOf(directories);
    for (const place of ['--pin-dir', '--state-dir']) {
      const elsewhere = {
        '--socket': '/tmp/pp-none.sock',
        '--state-dir': path.join(directories.run, 'elsewhere'),
        '--pin-dir': `${directories.pins}-other`,
        [place]: settings[place] ?? '',
      };
      const { code, stderr } = await podpaced(other, 'run', elsewhere);
      t.is(code, 1, place);
      t.regex(stderr, /process \d+\): it holds the lock of \//, place);
      t.deepEqual(pictureOf(node, directories), before, place);
    }
  },
);

test.serial('a helper without locks is found by its socket, before anything is made', async (t) => {
  const [node, directories] = [makeNetns(t), makeHelperDirectories(t)];
  const settings = settingsOf(directories);
  const server = net.createServer((socket) => socket.destroy());
  await new Promise<void>((resolve) => {
    server.listen(settings['--socket'], resolve);
  });
  t.teardown(() => server.close());
  const before = pictureTree(directories.run);
  const { code, stderr } = await podpaced(node, 'run', settings);
  t.is(code, 1);
  t.regex(stderr, /another podpaced is serving this node.*it answers on .*helper\.sock/);
  t.deepEqual(pictureTree(directories.run), before);
  t.false(fs.existsSync(directories.pins));
});

test.serial('of two starts at the same moment exactly one serves', async (t) => {
  for (let round = 0; round < 3; round++) {
    const [node, directories] = [makeNetns(t), makeHelperDirectories(t)];
    const starts = await Promise.allSettled([
      startOwnHelper(t, node, directories),
      startOwnHelper(t, node, directories),
    ]);
    const refused = starts.filter((start) => start.status === 'rejected');
    t.is(refused.length, 1);
    t.regex(String(refused[0]?.reason), /another podpaced is serving/);
    for (const start of starts) {
      if (start.status !== 'fulfilled') continue;
      t.is((await start.value.ask('status', {})).attachments, 0);
      await start.value.end('SIGTERM');
    }
  }
});

test.serial(
  'what is locked by a process without rights over the network keeps no helper away',
  async (t) => {
    const [node, directories] = [makeNetns(t), makeHelperDirectories(t)];
    const lock = [
      'flock',
      '--no-fork',
      '/proc/self/ns/net',
      'sh',
      '-c',
      'echo locked; exec sleep 600',
    ];
    const powerless = [
      'setpriv',
      '--bounding-set=-all',
      '--reuid=65534',
      '--clear-groups',
      ...lock,
    ];
    const holder = spawn('nsenter', [`--net=/run/netns/${node.name}`, ...powerless]);
    const ended = new Promise((resolve) => holder.on('close', resolve));
    t.teardown(async () => {
      holder.kill();
      await ended;
    });
    await new Promise((resolve) => holder.stdout.once('data', resolve));
    const helper = await startOwnHelper(t, node, directories);
    t.regex(helper.log(), /warn Process \d+ has locked the network namespace/);
  },
);
