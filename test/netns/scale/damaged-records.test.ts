// Records with any fault, a few hundred of them, in the state directory of the built helper: it
// starts, looks after everybody else, names each file, and what the kernel holds of their pods, as
// of the whole node, stays as it was. PODPACE_RECORDS asks for more of them (100000 take half an
// hour), PODPACE_SEED for those of a former run.

import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { listLinks } from '../../../helper/kernel/links.ts';
import { keyOf } from '../../../helper/protocol/messages.ts';
import { parseRecord } from '../../../helper/shaping/record-schema.ts';
import { AGGREGATE_CONFIG, HOST_INTERFACE } from '../../../helper/wire/aggregate.ts';
import { pictureDevices, readWholeMap } from '../../kit/device-picture.ts';
import {
  addUplink,
  leaveRecords,
  makeHelperDirectories,
  paramsOf,
  startOwnHelper,
  type HelperDirectories,
  type TestHelper,
} from '../../kit/helper.ts';
import { makeNetns, runBatch, type TestNetns } from '../../kit/netns.ts';
import { damaged } from '../../kit/record-damage.ts';

const CAPS = { egress: { rateBitsPerSec: 10_000_000 }, ingress: { rateBitsPerSec: 20_000_000 } };
const FLAGS = ['--reconcile-seconds', '1'];
const RECORDS = Number(process.env['PODPACE_RECORDS'] ?? 300);
const SEED = Number(process.env['PODPACE_SEED'] ?? Date.now() % 2 ** 31);
/**
 * So many at a start, each the record of a pod of its own. The very first start attaches two
 * programs for each, which takes the kernel 40 ms, and has to end within a minute beside others.
 */
const DAMAGED_PODS = Math.min(500, Math.ceil(RECORDS / 3));
const GOOD_PODS = 4;
const ROUNDS = Math.ceil(RECORDS / DAMAGED_PODS);
/** Of both maps: an ifindex, and the index of an aggregate. */
const KEY_SIZE = 4;

interface Scene {
  readonly node: TestNetns;
  readonly directories: HelperDirectories;
  /** By the keys of the attachments, in their order: the ifindex of each, and its good record. */
  readonly ifindexes: ReadonlyMap<string, number>;
  readonly texts: ReadonlyMap<string, string>;
}

function fileOf({ directories }: Pick<Scene, 'directories'>, key: string): string {
  return path.join(directories.run, 'state/attachments', `${key}.json`);
}

/** A node with pods that a helper has served, and which it left with their records. */
async function makeScene(t: ExecutionContext): Promise<Scene> {
  const [node, sandbox, peer] = [makeNetns(t), makeNetns(t), makeNetns(t)];
  const directories = makeHelperDirectories(t);
  // As on a node: a disk takes longer to write thousands of files than the helper to judge them.
  execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', directories.run]);
  t.teardown(() => execFileSync('umount', ['--lazy', directories.run]));
  addUplink(node, peer, 'up0', 1);
  const pods = Array.from({ length: DAMAGED_PODS + GOOD_PODS }, (_, at) => `d${at}`);
  await runBatch(
    node,
    pods.map((name, at) => `link add ${name} type veth peer name eth${at} netns ${sandbox.name}`),
  );
  const attachments = pods.map((name) => paramsOf(name, sandbox, CAPS));
  const indexes = leaveRecords(node, directories, attachments);
  const keys = attachments.map(keyOf);
  const helper = await startOwnHelper(t, node, directories);
  t.deepEqual(await keysListed(helper), keys.toSorted());
  await helper.end('SIGTERM');
  return {
    ...{ node, directories, ifindexes: new Map(keys.map((key, at) => [key, indexes[at] ?? 0])) },
    texts: new Map(keys.map((key) => [key, fs.readFileSync(fileOf({ directories }, key), 'utf8')])),
  };
}

async function keysListed(helper: TestHelper): Promise<string[]> {
  const keys: string[] = [];
  let after: string | undefined;
  do {
    const page = await helper.ask('list', after === undefined ? {} : { after });
    keys.push(...page.attachments.map(keyOf));
    after = page.next;
  } while (after !== undefined);
  return keys;
}

/** What the kernel holds of podpace's for each device of the node, and all of its settings. */
async function pictureNode(place: Scene) {
  const links = await listLinks(place.node.rt);
  return {
    devices: await pictureDevices(
      place,
      links.map(({ index }) => index),
    ),
    links: new Map(links.map((link) => [link.index, link])),
    settings: new Set([
      ...readWholeMap(place, 'host_interfaces', KEY_SIZE, HOST_INTERFACE.size),
      ...readWholeMap(place, 'aggregate_config', KEY_SIZE, AGGREGATE_CONFIG.size),
    ]),
  };
}

type Picture = Awaited<ReturnType<typeof pictureNode>>;

/**
 * What is no more as it was: a diff of thousands of devices would take longer than all the rest. A
 * helper that starts puts programs of its own in the places of the former's wherever it looks after
 * a device; on the `untouched` ones the very same have to stay.
 */
function changesOf(before: Picture, now: Picture, untouched: ReadonlySet<number>): unknown[] {
  const deviceIn = ({ devices, links }: Picture, index: number) => {
    const { programs = [], ...rest } = devices.get(index) ?? {};
    const compared = untouched.has(index) ? programs : programs.map((ids) => ids.length);
    return { ...links.get(index), ...rest, programs: compared };
  };
  const indexes = new Set([...before.links.keys(), ...now.links.keys()]);
  const devices = [...indexes].map((index) => [deviceIn(before, index), deviceIn(now, index)]);
  return [
    ...devices.filter(([former, latter]) => !isDeepStrictEqual(former, latter)),
    ...[...before.settings].filter((setting) => !now.settings.has(setting)),
    ...[...now.settings].filter((setting) => !before.settings.has(setting)),
  ];
}

/** True when both caps of a pod are in the kernel. */
function isHeld({ devices }: Picture, ifindex: number): boolean {
  const { programs = [], entry, configs = [] } = devices.get(ifindex) ?? {};
  return (
    entry !== undefined &&
    programs.every((ids) => ids.length > 0) &&
    configs.every((config) => config !== undefined && /[^0]/.test(config))
  );
}

/** What a damaged file still says, if that is the whole of what it said before. */
function isWhole(key: string, text: string, former: string): boolean {
  const record = parseRecord('attachments', key, former);
  try {
    return isDeepStrictEqual(parseRecord('attachments', key, text), record);
  } catch {
    return false;
  }
}

/** Damaged files for each round, by the keys of their records; the last round may have fewer. */
function damagedFiles(texts: Scene['texts']): ReadonlyMap<string, Buffer>[] {
  const rounds = Array.from({ length: ROUNDS }, () => new Map<string, Buffer>());
  [...texts].slice(0, DAMAGED_PODS).forEach(([key, text], at) => {
    const files = fc.sample(damaged(text), { seed: SEED + at, numRuns: ROUNDS });
    for (const [round, bytes] of files.entries())
      if (round * DAMAGED_PODS + at < RECORDS) rounds[round]?.set(key, bytes);
  });
  return rounds;
}

/** Puts damaged files in place; gives the keys of those that are not whole any more. */
function damageRecords(scene: Scene, files: ReadonlyMap<string, Buffer>): ReadonlySet<string> {
  for (const [key, bytes] of files) fs.writeFileSync(fileOf(scene, key), bytes);
  const isBad = ([key, bytes]: [string, Buffer]): boolean =>
    !isWhole(key, bytes.toString(), scene.texts.get(key) ?? '');
  return new Set([...files].filter(isBad).map(([key]) => key));
}

/** The keys of the records that the helper has said it cannot read, as often as it said so. */
function keysNamed(helper: TestHelper): string[] {
  const named = helper.log().matchAll(/Cannot read the record [^ ]*\/([^/ ]+)\.json: /g);
  return [...named].map(([, key = '']) => key);
}

test.serial(
  'of three hundred damaged records each is named, or whole, and none touches the kernel',
  async (t) => {
    t.timeout(600_000 + RECORDS * 30);
    t.log(`seed ${SEED}`);
    const scene = await makeScene(t);
    const keys = [...scene.texts.keys()];
    let before = await pictureNode(scene);
    for (const [key, ifindex] of scene.ifindexes) t.true(isHeld(before, ifindex), key);

    const beginMs = performance.now();
    let refused = 0;
    for (const [round, files] of damagedFiles(scene.texts).entries()) {
      const bad = damageRecords(scene, files);
      const helper = await startOwnHelper(t, scene.node, scene.directories, FLAGS);
      await sleep(1500);
      const now = await pictureNode(scene);
      const untouched = new Set([...bad].map((key) => scene.ifindexes.get(key) ?? 0));
      t.deepEqual(changesOf(before, now, untouched), [], `round ${round}`);
      before = now;
      const named = keysNamed(helper);
      t.deepEqual([...new Set(named)].toSorted(), [...bad].toSorted(), `round ${round}`);
      // Where it was found, and as a problem of the node: not again at each look.
      t.true(named.length <= 2 * bad.size, `round ${round}: ${named.length} lines`);
      const [{ state, problems }, listed] = await Promise.all([
        helper.ask('status', {}),
        keysListed(helper),
      ]);
      t.is(state, 'degraded');
      t.true(problems.some((problem) => problem.includes('Cannot read the record')));
      const good = keys.filter((key) => !bad.has(key));
      t.deepEqual(listed, good.toSorted(), `round ${round}`);
      await helper.end('SIGTERM');
      for (const [key, text] of scene.texts) fs.writeFileSync(fileOf(scene, key), text);
      refused += bad.size;
    }
    const seconds = ((performance.now() - beginMs) / 1000).toFixed(0);
    t.log(
      `${RECORDS} records: ${refused} named, ${RECORDS - refused} whole and served, ` +
        `${ROUNDS} starts with ${keys.length} pods, ${seconds} s`,
    );
  },
);
