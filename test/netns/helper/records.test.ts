// What the helper makes of records that are damaged, lost, of another time or of a newer podpaced:
// what the kernel holds of their pods stays as it is, everybody else is served, and it says so.

import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { HelperError } from '../../../helper/protocol/client.ts';
import { listLinks } from '../../../helper/kernel/links.ts';
import { INTERFACE_KEY, HOST_INTERFACE } from '../../../helper/wire/aggregate.ts';
import { pictureDevice, programsAt, readMap } from '../../kit/device-picture.ts';
import {
  addUplink,
  leaveRecord,
  leaveRecords,
  makeHelperDirectories,
  paramsOf,
  startOwnHelper,
  type HelperDirectories,
} from '../../kit/helper.ts';
import { makeNetns, runBatch, type TestNetns } from '../../kit/netns.ts';

const CAPS = { egress: { rateBitsPerSec: 10_000_000 }, ingress: { rateBitsPerSec: 20_000_000 } };
const EVERY_SECOND = ['--reconcile-seconds', '1'];

interface Scene {
  readonly node: TestNetns;
  readonly sandbox: TestNetns;
  readonly directories: HelperDirectories;
  /** By name of the host interface. */
  readonly ifindexes: Readonly<Record<string, number>>;
}

/** A node with an uplink, and pods whose records a former helper has left. */
async function makeScene(t: ExecutionContext, pods: readonly string[]): Promise<Scene> {
  const [node, sandbox, peer, directories] = [
    ...[makeNetns(t), makeNetns(t), makeNetns(t)],
    makeHelperDirectories(t),
  ] as const;
  addUplink(node, peer, 'up0', 1);
  const pairs = pods.map(
    (name, at) => `${name} up type veth peer name eth${at} netns ${sandbox.name}`,
  );
  await runBatch(
    node,
    pairs.map((pair) => `link add ${pair}`),
  );
  leaveRecords(
    node,
    directories,
    pods.map((name) => paramsOf(name, sandbox, CAPS)),
  );
  const links = await listLinks(node.rt);
  return {
    node,
    sandbox,
    directories,
    ifindexes: Object.fromEntries(links.map(({ name, index }) => [name, index])),
  };
}

function recordFile({ directories }: Scene, pod: string): string {
  return path.join(directories.run, 'state/attachments', `c-${pod}:eth0.json`);
}

async function until(
  t: ExecutionContext,
  what: string,
  isSo: () => boolean | Promise<boolean>,
): Promise<void> {
  const deadlineMs = performance.now() + 30_000;
  while (!(await isSo())) {
    if (performance.now() > deadlineMs) return t.fail(`not within 30 s: ${what}`);
    await sleep(100);
  }
}

test.serial(
  'what the kernel holds for a torn, lost, newer or strange record stays, everybody else is served',
  async (t) => {
    const damaged = ['torn0', 'lost0', 'newer0', 'shape0', 'dir0', 'link0', 'aside0'];
    const scene = await makeScene(t, [...damaged, 'good0']);
    const { node, directories, ifindexes } = scene;
    const first = await startOwnHelper(t, node, directories, EVERY_SECOND);
    await first.end('SIGTERM');
    const textOf = (pod: string): string => fs.readFileSync(recordFile(scene, pod), 'utf8');
    fs.writeFileSync(recordFile(scene, 'torn0'), textOf('torn0').slice(0, 60));
    fs.rmSync(recordFile(scene, 'lost0'));
    fs.writeFileSync(
      recordFile(scene, 'newer0'),
      textOf('newer0').replace('"recordVersion":1', '"recordVersion":3'),
    );
    fs.writeFileSync(recordFile(scene, 'shape0'), '{"recordVersion":1}');
    fs.rmSync(recordFile(scene, 'dir0'));
    fs.mkdirSync(recordFile(scene, 'dir0'));
    fs.rmSync(recordFile(scene, 'link0'));
    fs.symlinkSync('/etc/hostname', recordFile(scene, 'link0'));
    fs.renameSync(recordFile(scene, 'aside0'), `${recordFile(scene, 'aside0')}.unreadable`);
    fs.writeFileSync(`${recordFile(scene, 'aside0')}.unreadable`, 'x');
    const pictures = () =>
      Promise.all(damaged.map((pod) => pictureDevice(scene, ifindexes[pod] ?? 0)));
    const before = await pictures();
    t.true(before.every(({ programs }) => programs.every((ids) => ids.length > 0)));

    const helper = await startOwnHelper(t, node, directories, EVERY_SECOND);
    await sleep(2500);
    t.deepEqual(await pictures(), before);
    const { state, problems } = await helper.ask('status', {});
    t.is(state, 'degraded');
    for (const pod of damaged.filter((name) => name !== 'lost0'))
      t.true(
        problems.some((problem) => problem.includes(`c-${pod}:eth0.json`)),
        pod,
      );
    t.true(problems.some((problem) => /at lost0 .*stays in force.*10 Mbit\/s/.test(problem)));
    const { attachments } = await helper.ask('list', {});
    t.deepEqual(
      attachments.map(({ hostInterface }) => hostInterface),
      ['good0'],
    );
    const set = await helper.ask('set', {
      ...{ containerId: 'c-good0', ifname: 'eth0', direction: 'egress' },
      changes: { rateBitsPerSec: 5_000_000 },
    });
    t.is(set.after?.rateBitsPerSec, 5_000_000);

    // The last known cap goes; what leaves the node is still held for those that nothing is known
    // of.
    const uplink = ifindexes['up0'] ?? 0;
    const uplinkBefore = await pictureDevice(scene, uplink);
    await helper.ask('detach', { containerId: 'c-good0', ifname: 'eth0' });
    await sleep(1500);
    t.deepEqual(await pictures(), before);
    t.deepEqual(await pictureDevice(scene, uplink), uplinkBefore);

    // DEL of a record that cannot be read: the file goes, and with the device all the rest.
    await helper.ask('detach', { containerId: 'c-torn0', ifname: 'eth0' });
    t.false(fs.existsSync(recordFile(scene, 'torn0')));
    node.ip('link', 'delete', 'torn0');
    const entry = (): string | undefined =>
      readMap(
        scene,
        'host_interfaces',
        INTERFACE_KEY.encode(ifindexes['torn0'] ?? 0),
        HOST_INTERFACE.size,
      );
    await until(t, 'the entry of torn0 is gone', () => entry() === undefined);
    const after = await helper.ask('status', {});
    t.false(after.problems.some((problem) => problem.includes('torn0')));
    // A record that can be read again counts again.
    const aside = recordFile(scene, 'newer0');
    fs.writeFileSync(
      aside,
      fs.readFileSync(aside, 'utf8').replace('"recordVersion":3', '"recordVersion":1'),
    );
    await until(t, 'newer0 is listed', async () =>
      (await helper.ask('list', {})).attachments.some(
        ({ hostInterface }) => hostInterface === 'newer0',
      ),
    );
  },
);

/** What becomes of a record's text; nothing when it is lost. */
const DAMAGES: Readonly<Record<string, (text: string) => string | undefined>> = {
  torn: (text) => text.slice(0, 60),
  lost: () => undefined,
  newer: (text) => text.replace('"recordVersion":1', '"recordVersion":3'),
};

for (const [kind, damage] of Object.entries(DAMAGES)) {
  test.serial(`a pod whose record alone is ${kind} keeps its cap, and is named`, async (t) => {
    const scene = await makeScene(t, ['pod0', 'good0']);
    const { node, directories, ifindexes } = scene;
    await (await startOwnHelper(t, node, directories, EVERY_SECOND)).end('SIGTERM');
    const file = recordFile(scene, 'pod0');
    const text = damage(fs.readFileSync(file, 'utf8'));
    if (text === undefined) fs.rmSync(file);
    else fs.writeFileSync(file, text);
    const before = await pictureDevice(scene, ifindexes['pod0'] ?? 0);
    t.true(before.programs.every((ids) => ids.length > 0));
    const helper = await startOwnHelper(t, node, directories, EVERY_SECOND);
    await sleep(2500);
    t.deepEqual(await pictureDevice(scene, ifindexes['pod0'] ?? 0), before);
    const { state, problems } = await helper.ask('status', {});
    t.is(state, 'degraded');
    const name = text === undefined ? 'pod0' : file;
    t.true(
      problems.some((problem) => problem.includes(name)),
      problems.join('\n'),
    );
  });
}

test.serial('a record that cannot be read is told of once at a start', async (t) => {
  const scene = await makeScene(t, ['pod0']);
  const { node, directories } = scene;
  fs.writeFileSync(recordFile(scene, 'pod0'), 'torn');
  const helper = await startOwnHelper(t, node, directories, EVERY_SECOND);
  await sleep(2500);
  t.is(helper.log().match(/Cannot read the record .*c-pod0:eth0\.json/g)?.length, 1);
});

test.serial(
  'a removal that a crash cut short is finished, and not taken for a lost record',
  async (t) => {
    const scene = await makeScene(t, ['pod0', 'pod1']);
    const { node, directories, ifindexes } = scene;
    await (await startOwnHelper(t, node, directories)).end('SIGKILL');
    fs.renameSync(recordFile(scene, 'pod0'), `${recordFile(scene, 'pod0')}.removing`);
    fs.writeFileSync(`${recordFile(scene, 'pod1')}.new`, '{"recordVersion');
    const helper = await startOwnHelper(t, node, directories);
    const { programs, entry } = await pictureDevice(scene, ifindexes['pod0'] ?? 0);
    t.deepEqual(programs[0], []);
    t.is(entry, undefined);
    t.deepEqual(fs.readdirSync(path.dirname(recordFile(scene, 'pod0'))), ['c-pod1:eth0.json']);
    const { problems } = await helper.ask('status', {});
    t.deepEqual(
      problems.filter((problem) => /record/.test(problem)),
      [],
    );
  },
);

test.serial('a record of another network namespace is put on no device of this one', async (t) => {
  const scene = await makeScene(t, ['pod0']);
  const { node, sandbox, directories, ifindexes } = scene;
  await (await startOwnHelper(t, node, directories)).end('SIGKILL');
  const other = makeNetns(t);
  other.ip(
    'link',
    'add',
    'pod0',
    'index',
    String(ifindexes['pod0']),
    'type',
    'veth',
    'peer',
    'name',
    'x0',
  );
  other.ip('link', 'set', 'pod0', 'up');
  const helper = await startOwnHelper(t, other, directories);
  t.deepEqual((await helper.ask('list', {})).attachments, []);
  t.regex(helper.log(), /Forgetting c-pod0\/eth0/);
  t.notRegex(other.tc('qdisc', 'show', 'dev', 'pod0'), /7070:|clsact/);
  t.deepEqual(await programsAt(other, ifindexes['pod0'] ?? 0, 'ingress'), []);
  await helper.end('SIGTERM');

  // A record of 23c71bb, which does not say where it is of: its name has to be that of the device.
  node.ip('link', 'add', 'veth7', 'type', 'veth', 'peer', 'name', 'peer7');
  const record = leaveRecord(node, directories, paramsOf('veth7', sandbox, CAPS));
  node.ip('link', 'set', 'veth7', 'down', 'name', 'other7');
  const third = await startOwnHelper(t, node, directories);
  t.deepEqual((await third.ask('list', {})).attachments, []);
  t.regex(
    third.log(),
    new RegExp(`Forgetting c-veth7/eth0: its record is of veth7, interface ${record}`),
  );
});

test.serial(
  'a state directory that is removed is made again with its records, and told of',
  async (t) => {
    const scene = await makeScene(t, ['pod0']);
    const { node, directories } = scene;
    const helper = await startOwnHelper(t, node, directories, EVERY_SECOND);
    fs.rmSync(helper.stateDir, { recursive: true });
    await until(t, 'the record is there again', () => fs.existsSync(recordFile(scene, 'pod0')));
    const mark = path.join(helper.stateDir, 'layout.json');
    await until(t, 'the mark of the layout is there again', () => fs.existsSync(mark));
    t.regex(fs.readFileSync(mark, 'utf8'), /^\{"layout":\d+,"release":"[^"]+"\}\n$/);
    t.regex(helper.log(), /attachments was gone: made it again/);
    t.is((await helper.ask('list', {})).attachments.length, 1);
    fs.rmSync(helper.stateDir, { recursive: true });
    const set = { containerId: 'c-pod0', ifname: 'eth0', direction: 'egress' } as const;
    await helper.ask('set', { ...set, changes: { rateBitsPerSec: 7_000_000 } });
    await until(t, 'the record is there again', () => fs.existsSync(recordFile(scene, 'pod0')));
  },
);

test.serial(
  'a pipe in the place of a mark or of what is about to be one makes nobody wait',
  async (t) => {
    const scene = await makeScene(t, ['pod0']);
    const { node, directories } = scene;
    const mark = path.join(directories.run, 'state/layout.json');
    const makePipes = (): void => {
      for (const file of [mark, `${mark}.new`, `${recordFile(scene, 'pod0')}.new`]) {
        fs.rmSync(file, { force: true });
        execFileSync('mkfifo', [file]);
      }
    };
    makePipes();
    const helper = await startOwnHelper(t, node, directories, EVERY_SECOND);
    t.true(fs.statSync(mark).isFile());
    makePipes();
    await until(t, 'the mark is a file again', () => fs.statSync(mark).isFile());
    const set = { containerId: 'c-pod0', ifname: 'eth0', direction: 'egress' } as const;
    await helper.ask('set', { ...set, changes: { rateBitsPerSec: 7_000_000 } });
    t.is((await helper.ask('list', {})).attachments.length, 1);
  },
);

test.serial(
  'a file in the place of a directory of records is named, until it has gone',
  async (t) => {
    const scene = await makeScene(t, ['pod0']);
    const { node, directories } = scene;
    const attachments = path.dirname(recordFile(scene, 'pod0'));
    const isNamed = async (): Promise<boolean> =>
      (await helper.ask('status', {})).problems.some((problem) =>
        problem.includes(`${attachments}: it is no directory; take it away`),
      );
    let helper = await startOwnHelper(t, node, directories, EVERY_SECOND);
    fs.rmSync(attachments, { recursive: true });
    fs.writeFileSync(attachments, '');
    await until(t, 'it is named', isNamed);
    await helper.end('SIGTERM');
    helper = await startOwnHelper(t, node, directories, EVERY_SECOND);
    t.true(await isNamed());
    fs.rmSync(attachments);
    await until(t, 'nothing is said of it', async () => !(await isNamed()));
  },
);

test.serial(
  'on a full state directory a change is refused by name, leaves nothing, and detaching works',
  async (t) => {
    const scene = await makeScene(t, ['pod0', 'pod1']);
    const { node, directories } = scene;
    const state = path.join(directories.run, 'state');
    const records = ['pod0', 'pod1'].map(
      (pod) => [recordFile(scene, pod), fs.readFileSync(recordFile(scene, pod))] as const,
    );
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=128k', 'podpace-test', state]);
    t.teardown(() => execFileSync('umount', ['--lazy', state]));
    for (const [file, content] of records) {
      fs.mkdirSync(path.dirname(file), { recursive: true });
      fs.writeFileSync(file, content);
    }
    const helper = await startOwnHelper(t, node, directories);
    const filler = path.join(state, 'filler');
    t.throws(() => fs.writeFileSync(filler, Buffer.alloc(262_144)), { code: 'ENOSPC' });
    const key = { containerId: 'c-pod0', ifname: 'eth0' };
    const change = helper.ask('set', {
      ...key,
      direction: 'egress',
      changes: { rateBitsPerSec: 7_000_000 },
    });
    const error = await t.throwsAsync(change, { instanceOf: HelperError });
    t.deepEqual(fs.readdirSync(path.dirname(recordFile(scene, 'pod0'))).toSorted(), [
      'c-pod0:eth0.json',
      'c-pod1:eth0.json',
    ]);
    t.regex(error?.message ?? '', /Cannot write the record .*c-pod0:eth0\.json: ENOSPC/);
    t.regex(error?.remedy ?? '', /make room/);
    t.is((await helper.ask('list', {})).attachments.length, 2);
    await helper.ask('detach', key);
    t.deepEqual(
      (await helper.ask('list', {})).attachments.map(({ hostInterface }) => hostInterface),
      ['pod1'],
    );
    await helper.end('SIGTERM');
  },
);
