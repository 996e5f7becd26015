// From one layout of maps and records to the next, and back, on any kernel: no packet has to be
// held for this.

import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { lookupElement, mapInfo, openPinned } from '../../../helper/kernel/bpf.ts';
import type { HelperError } from '../../../helper/protocol/client.ts';
import { pinLayout, readPinnedLayout } from '../../../helper/kernel/layout-pin.ts';
import { inNetns } from '../../../helper/kernel/netns.ts';
import { writeSysctl } from '../../../helper/kernel/sysctl.ts';
import {
  encodeExemptionKey,
  EXEMPTION_SIZE,
  parseExemption,
} from '../../../helper/wire/exemption.ts';
import type { PodOfRecord } from '../../../helper/protocol/record-text.ts';
import { LAYOUT } from '../../../helper/wire/layout.ts';
import {
  buildRevision,
  FIRST_LAYOUT_REVISION,
  NAMELESS_REVISION,
} from '../../../scripts/lib/revisions.ts';
import { PODPACED } from '../../bed/helper.ts';
import {
  leaveRecord,
  makeHelperDirectories,
  paramsOf,
  placeFlags,
  startOwnHelper,
  wirePod,
  type HelperDirectories,
} from '../../kit/helper.ts';
import { makeNetns, type TestNetns } from '../../kit/netns.ts';

const NO_REPAIR = ['--reconcile-seconds', '3600'];
const KEY = { containerId: 'c-pod0', ifname: 'eth0' };
const CAPS = { egress: { rateBitsPerSec: 10_000_000 }, ingress: { rateBitsPerSec: 100_000_000 } };

/** Executable of the release before layouts had numbers. */
let former = '';
test.before(async (t) => {
  t.timeout(300_000);
  former = (await buildRevision(FIRST_LAYOUT_REVISION)).podpaced;
});

interface Scene {
  readonly node: TestNetns;
  readonly sandbox: TestNetns;
  readonly directories: HelperDirectories;
  readonly ifindex: number;
}

/** A pod with both caps and exempt addresses, whose record was left by somebody. */
function makeScene(t: ExecutionContext, pod: PodOfRecord = {}): Scene {
  const [node, sandbox, directories] = [makeNetns(t), makeNetns(t), makeHelperDirectories(t)];
  // The kernel's own router solicitations and group reports would be counted among the packets of a
  // test.
  for (const { netns } of [node, sandbox])
    inNetns(netns, () => writeSysctl('net/ipv6/conf/default/disable_ipv6', '1'));
  wirePod(node, sandbox, 'pod0');
  node.ip('address', 'add', '192.0.2.1/24', 'dev', 'pod0');
  const mac = String(sandbox.ipJson('link', 'show', 'dev', 'eth0')[0]?.['address']);
  node.ip('neighbour', 'replace', '192.0.2.2', 'lladdr', mac, 'dev', 'pod0');
  const params = { ...paramsOf('pod0', sandbox, CAPS), exempt: ['198.51.100.0/24'], ...pod };
  return { node, sandbox, directories, ifindex: leaveRecord(node, directories, params) };
}

function withPin<T>(pin: string, use: (fd: number) => T): T {
  const fd = openPinned(pin);
  try {
    return use(fd);
  } finally {
    fs.closeSync(fd);
  }
}

/** Ids of the pinned maps that these directories hold, by name. */
function mapIds({ pins }: HelperDirectories): Map<string, number> {
  const names = fs.readdirSync(pins).filter((name) => !/^(podpace_|links$|former$)/.test(name));
  return new Map(
    names.map((name) => [name, withPin(path.join(pins, name), (fd) => mapInfo(fd).id)]),
  );
}

function send({ node }: Scene, count: number): void {
  const script = `for packet in $(seq ${count}); do echo > /dev/udp/192.0.2.2/9; done`;
  spawnSync('ip', ['netns', 'exec', node.name, 'bash', '--norc', '-c', script]);
}

/**
 * All files under a directory with what they hold and when they were changed; pins by the ids of
 * what they pin.
 */
function traceOf(directory: string): string[] {
  return fs
    .readdirSync(directory, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => {
      const file = path.join(entry.parentPath, entry.name);
      const { ino, mtimeMs } = fs.statSync(file);
      return `${file} ${ino} ${mtimeMs}`;
    })
    .toSorted();
}

test.serial(
  'a node of the first layout is taken over: settings, counters, clocks and exemptions stay',
  async (t) => {
    const scene = makeScene(t);
    const { node, directories, ifindex } = scene;
    const before = await startOwnHelper(t, node, directories, NO_REPAIR, former);
    await before.ask('set', {
      ...KEY,
      direction: 'ingress',
      changes: { rateBitsPerSec: 5_000_000 },
    });
    send(scene, 20);
    const counted = (await before.ask('counters', { perCpu: false })).attachments[0];
    t.true((counted?.ingress?.total.packets ?? 0) > 0);
    await before.end('SIGTERM');
    const idsBefore = mapIds(directories);

    const after = await startOwnHelper(t, node, directories, NO_REPAIR);
    t.regex(after.log(), new RegExp(`Upgraded to layout ${LAYOUT}: replaced [1-9]`));
    t.is(readPinnedLayout(directories.pins)?.layout, LAYOUT);
    t.false(fs.existsSync(path.join(directories.pins, 'former')));
    const [attachment] = (await after.ask('list', {})).attachments;
    t.like(attachment?.effective.ingress, {
      rateBitsPerSec: 5_000_000,
      changed: ['rateBitsPerSec'],
    });
    const now = (await after.ask('counters', { perCpu: false })).attachments[0];
    t.is(now?.ingress?.total.packets, counted?.ingress?.total.packets);
    send(scene, 3);
    const later = (await after.ask('counters', { perCpu: false })).attachments[0];
    t.is(later?.ingress?.total.packets, (counted?.ingress?.total.packets ?? 0) + 3);
    const key = encodeExemptionKey(5001 + 2 * ifindex, parseExemption('198.51.100.0/24'));
    const exemption = withPin(path.join(directories.pins, 'exemptions'), (fd) =>
      lookupElement(fd, key, EXEMPTION_SIZE),
    );
    t.not(exemption, undefined);
    // What both layouts mean alike is not even copied.
    const idsAfter = mapIds(directories);
    for (const name of [
      'aggregate_config',
      'aggregate_state',
      'aggregate_counters',
      'aggregate_gates',
    ])
      t.is(idsAfter.get(name), idsBefore.get(name), name);
    for (const name of ['host_interfaces', 'exemptions', 'continuations'])
      t.not(idsAfter.get(name), idsBefore.get(name), name);
  },
);

test.serial(
  'the release before names reads records that have them, and leaves the names alone',
  async (t) => {
    t.timeout(300_000);
    const nameless = (await buildRevision(NAMELESS_REVISION)).podpaced;
    const pod = {
      podNamespace: 'default',
      podName: 'web-0',
      podUid: 'u-1',
      addedAt: '2026-01-01T00:00:00.000Z',
    };
    const { node, sandbox, directories } = makeScene(t, pod);
    const helper = await startOwnHelper(t, node, directories, NO_REPAIR);
    t.like((await helper.ask('list', {})).attachments, [{ ...KEY, ...pod }]);
    await helper.end('SIGTERM');
    const records = traceOf(helper.stateDir);

    const before = await startOwnHelper(t, node, directories, NO_REPAIR, nameless);
    const [known] = (await before.ask('list', {})).attachments;
    t.like(known, { ...KEY, caps: CAPS });
    t.false('podName' in (known ?? {}));
    t.notRegex(before.log(), /Cannot read/);
    // Nor does it mind them in a request of the plugin; without sch_fq it finds that the cap is not
    // held.
    const asked = before.ask('check', { ...paramsOf('pod0', sandbox, CAPS), ...pod });
    const outcome = await asked.then(
      () => 'ok',
      (error: unknown) => (error as HelperError).failure,
    );
    t.true(['ok', 'check-failed'].includes(outcome), outcome);
    t.deepEqual(traceOf(helper.stateDir), records);
    await before.end('SIGTERM');

    const after = await startOwnHelper(t, node, directories, NO_REPAIR);
    t.like((await after.ask('list', {})).attachments, [{ ...KEY, ...pod }]);
    await after.end('SIGTERM');
    // What it writes anew has the cap and no names, which is read as well.
    const writer = await startOwnHelper(t, node, directories, NO_REPAIR, nameless);
    await writer.ask('set', {
      ...KEY,
      direction: 'ingress',
      changes: { rateBitsPerSec: 5_000_000 },
    });
    await writer.end('SIGTERM');
    const last = await startOwnHelper(t, node, directories, NO_REPAIR);
    const [left] = (await last.ask('list', {})).attachments;
    t.is(left?.effective.ingress?.rateBitsPerSec, 5_000_000);
    t.false('podName' in (left ?? {}));
  },
);

test.serial(
  'the release before layouts refuses a node of this one, and leaves it as it is',
  async (t) => {
    const { node, directories } = makeScene(t);
    const helper = await startOwnHelper(t, node, directories, NO_REPAIR);
    await helper.end('SIGTERM');
    const [pins, state] = [traceOf(directories.pins), traceOf(helper.stateDir)];
    const error = await t.throwsAsync(startOwnHelper(t, node, directories, NO_REPAIR, former));
    t.regex(error?.message ?? '', /Cannot use the map pinned at .*: its flags is \d+, not 1/);
    t.deepEqual(traceOf(directories.pins), pins);
    t.deepEqual(traceOf(helper.stateDir), state);
  },
);

for (const where of ['pins', 'records'] as const) {
  test.serial(
    `${where} of a newer layout are refused with what they need, and nothing is touched`,
    async (t) => {
      const { node, directories } = makeScene(t);
      const helper = await startOwnHelper(t, node, directories, NO_REPAIR);
      await helper.end('SIGTERM');
      const mark = { layout: LAYOUT + 1, release: '9.8.7' };
      if (where === 'pins') pinLayout(directories.pins, mark);
      else fs.writeFileSync(path.join(helper.stateDir, 'layout.json'), JSON.stringify(mark));
      const traces = [traceOf(directories.pins), traceOf(directories.run)];
      const expected = new RegExp(
        `layout ${LAYOUT + 1}, made by podpaced 9\\.8\\.7.*knows layouts up to ${LAYOUT}.*install podpaced 9\\.8\\.7`,
      );
      const error = await t.throwsAsync(startOwnHelper(t, node, directories, NO_REPAIR));
      t.regex(error?.message ?? '', expected);
      const places = placeFlags(directories);
      const uninstall = (...more: string[]): ReturnType<typeof spawnSync> =>
        spawnSync(
          'nsenter',
          [`--net=/run/netns/${node.name}`, PODPACED, 'uninstall', ...places, ...more],
          {
            encoding: 'utf8',
          },
        );
      const refused = uninstall();
      t.is(refused.status, 1);
      t.regex(String(refused.stderr), expected);
      t.deepEqual([traceOf(directories.pins), traceOf(directories.run)], traces);
      // It has to be possible for whoever has no newer release at hand.
      const forced = uninstall('--force');
      t.is(forced.status, 0, String(forced.stderr));
      t.false(fs.existsSync(directories.pins));
      t.false(fs.existsSync(path.join(helper.stateDir, 'layout.json')));
    },
  );
}

test.serial('a mark that cannot be read is told of and made again', async (t) => {
  const { node, directories } = makeScene(t);
  const helper = await startOwnHelper(t, node, directories, NO_REPAIR);
  await helper.end('SIGTERM');
  const file = path.join(helper.stateDir, 'layout.json');
  fs.writeFileSync(file, '{"layout":');
  const next = await startOwnHelper(t, node, directories, NO_REPAIR);
  t.regex(next.log(), new RegExp(`Cannot read ${file}`));
  t.is((JSON.parse(fs.readFileSync(file, 'utf8')) as { layout: number }).layout, LAYOUT);
  t.is((await next.ask('list', {})).attachments.length, 1);
});
