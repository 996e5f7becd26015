// podpace in the place of the bandwidth plugin in the lists that projects publish: its type is
// replaced, and nothing else. All of them at once on one node, each with a pod of its own.

import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import test from 'ava';
import type { JsonObject } from '../../../cni/types.ts';
import { INTERFACE_KEY, HOST_INTERFACE } from '../../../helper/wire/aggregate.ts';
import type { AttachmentStatus, AttachParams } from '../../../helper/protocol/messages.ts';
import {
  addNetwork,
  checkNetwork,
  collectPodpace,
  delNetwork,
  makeProcessNode,
  type Attachment,
  type NetworkList,
  type ProcessNode,
} from '../../kit/chain.ts';
import { UndoStack } from '../../bed/undo.ts';
import { ip, makeNetnsFor } from '../../kit/cni-node.ts';
import { readMap } from '../../kit/device-picture.ts';
import { healthy, startFakeHelper } from '../../kit/fake-helper.ts';
import { leaveRecord, makeHelperDirectories, startOwnHelper } from '../../kit/helper.ts';
import { inVersion, SHAPES } from '../../kit/prev-results.ts';
import {
  PUBLISHED,
  publishedFiles,
  readPublished,
  type PublishedList,
} from '../../kit/bandwidth-lists.ts';
import type { Answer } from '../../kit/plugin.ts';
import { wholeFile } from '../../kit/whole-file.ts';

/** Prints the result that it finds for its pod; one that has a name for it also makes the pair. */
const STAND_IN = `#!/bin/sh
type=$(basename "$0")
own="$(dirname "$0")/../stand-ins/$CNI_CONTAINERID"
host=$(cat "$own/$type.host" 2>/dev/null)
case $CNI_COMMAND in
ADD)
  if [ -n "$host" ]; then
    ip link add "$host" type veth peer name "$CNI_IFNAME" netns "$(basename "$CNI_NETNS")" || exit 1
    ip link set "$host" up
  fi
  sed "s|@SANDBOX@|$CNI_NETNS|g" "$own/$type.json" ;;
DEL)
  [ -z "$host" ] || ip link delete "$host" 2>/dev/null
  exit 0 ;;
esac
`;

function standIn(node: ProcessNode, { published, number, list, attachment }: Case): void {
  const directory = path.join(node.root, 'stand-ins', attachment.containerId);
  fs.mkdirSync(directory, { recursive: true });
  for (const [index, [type, id]] of Object.entries(published.standIns).entries()) {
    const shape = SHAPES.find((one) => one.id === id);
    if (shape === undefined) throw new Error(`No result has the id ${id}`);
    // All are on one node, where each needs a name of its own.
    const host = `${shape.host.slice(0, 12)}x${number}`;
    const result = inVersion(
      shape.result({ sandbox: '@SANDBOX@', mac: '02:00:00:00:00:09' }),
      list.cniVersion,
    );
    const text = JSON.stringify(result).replaceAll(`"${shape.host}"`, `"${host}"`);
    fs.writeFileSync(path.join(directory, `${type}.json`), text);
    if (index === 0) fs.writeFileSync(path.join(directory, `${type}.host`), host);
    fs.writeFileSync(path.join(node.root, 'bin', type), STAND_IN, { mode: 0o755 });
  }
}

/** As containerd sends it, with a rate by which pods can be told apart. */
function capabilityArgs(number: number): JsonObject {
  const burst = 4294967295;
  const rates = { IngressRate: 20_000_000 + number, EgressRate: 10_000_000 + number };
  return { bandwidth: { ...rates, IngressBurst: burst, EgressBurst: burst }, portMappings: [] };
}

interface Case {
  readonly published: PublishedList;
  readonly number: number;
  /** With podpace. */
  readonly list: NetworkList;
  readonly attachment: Attachment & { readonly containerId: string; readonly ifname: string };
}

/** What came of a list; what is absent was not reached. */
interface Outcome {
  error?: Error;
  result?: Answer;
  attach?: AttachParams;
  isChecked?: boolean;
  listed?: AttachmentStatus;
  /** Its value in the map of host interfaces. */
  entry?: string | undefined;
  isKeptByGc?: boolean;
  isLeft?: boolean;
}

const undo = wholeFile(test, () => {
  outcomes = undefined;
});
let outcomes: Promise<ReadonlyMap<string, Outcome>> | undefined;

/** The list with podpace's type for the bandwidth plugin's. */
function withPodpace({ plugins, ...rest }: NetworkList): NetworkList {
  const changed = plugins.map((plugin) =>
    plugin['type'] === 'bandwidth' ? { ...plugin, type: 'podpace' } : plugin,
  );
  return { ...rest, plugins: changed };
}

/** Runs what is due of the cases, those of one pod one after the other, and notes what fails. */
async function each(
  cases: readonly Case[],
  of: ReadonlyMap<Case, Outcome>,
  run: (one: Case, outcome: Outcome) => Promise<void>,
): Promise<void> {
  const pods = Map.groupBy(cases, ({ attachment }) => attachment.netns).values();
  const next = async (): Promise<void> => {
    for (const pod of pods)
      for (const one of pod) {
        const outcome = of.get(one)!;
        if (outcome.error !== undefined) continue;
        await run(one, outcome).catch((error: unknown) => {
          outcome.error = error as Error;
        });
      }
  };
  await Promise.all([next(), next(), next(), next()]);
}

function canCheck({ cniVersion, disableCheck }: NetworkList & { disableCheck?: boolean }): boolean {
  return cniVersion >= '0.4.0' && disableCheck !== true;
}

/** Adds and checks all, with a helper that takes down what it is asked for. */
async function add(node: ProcessNode, cases: readonly Case[], of: ReadonlyMap<Case, Outcome>) {
  const helperUndo = new UndoStack();
  const helper = await startFakeHelper(helperUndo, healthy, node.socketPath);
  await each(cases, of, async ({ list, attachment }, outcome) => {
    const from = { ...attachment, ifname: attachment.ifname };
    outcome.result = await addNetwork(node, list, from);
    if (!canCheck(list)) return;
    await checkNetwork(node, list, from, outcome.result);
    outcome.isChecked = true;
  });
  await helperUndo.run();
  for (const { method, params } of helper.requests) {
    const { containerId, ifname } = params as AttachParams;
    const found = cases.find(
      ({ attachment }) => attachment.containerId === containerId && attachment.ifname === ifname,
    );
    if (method === 'attach' && found !== undefined) of.get(found)!.attach = params as AttachParams;
  }
}

/** What podpaced has in force of them: on a kernel without sch_fq too, since records were left. */
async function look(node: ProcessNode, cases: readonly Case[], of: ReadonlyMap<Case, Outcome>) {
  const directories = {
    ...makeHelperDirectories(undo),
    run: path.dirname(node.socketPath),
  };
  const name = path.basename(node.netns);
  const witness = {
    ipJson: (...args: string[]) =>
      JSON.parse(ip(node.netns, '-j', ...args)) as Record<string, unknown>[],
  };
  for (const { attach } of of.values())
    if (attach !== undefined) leaveRecord(witness, directories, attach);
  const helper = await startOwnHelper(undo, { name }, directories);
  const list = async () => (await helper.ask('list', {})).attachments;
  const inList = (attachments: readonly AttachmentStatus[], { attachment }: Case) =>
    attachments.find(
      ({ containerId, ifname }) =>
        containerId === attachment.containerId && ifname === attachment.ifname,
    );
  const listed = await list();
  for (const [one, outcome] of of) {
    const status = inList(listed, one);
    if (status === undefined) continue;
    outcome.listed = status;
    const key = INTERFACE_KEY.encode(status.hostInterfaceIndex);
    outcome.entry = readMap({ directories }, 'host_interfaces', key, HOST_INTERFACE.size);
  }
  await each(cases, of, ({ list: network }) => {
    const own = cases.filter((other) => other.list.name === network.name);
    return collectPodpace(
      node,
      network,
      own.map(({ attachment }) => attachment),
    );
  });
  const kept = await list();
  for (const [one, outcome] of of) outcome.isKeptByGc = inList(kept, one) !== undefined;
  // Half of them go by DEL, the others by GC and DEL.
  const [byDel, byGc] = [0, 1].map((rest) => cases.filter(({ number }) => number % 2 === rest));
  const del = (some: readonly Case[]) =>
    each(some, of, async (one, { result }) => {
      await delNetwork(node, one.list, one.attachment, result);
      await delNetwork(node, one.list, one.attachment);
    });
  await del(byDel!);
  await each(byGc!, of, (one) => collectPodpace(node, one.list, []));
  const left = await list();
  for (const [one, outcome] of of) outcome.isLeft = inList(left, one) !== undefined;
  await del(byGc!);
}

async function play(): Promise<ReadonlyMap<string, Outcome>> {
  const node = await makeProcessNode(undo);
  // Nomad makes it before it calls plugins: client/allocrunner/networking_bridge_linux.go.
  execFileSync('nsenter', [`--net=${node.netns}`, 'iptables', '-N', 'NOMAD-ADMIN']);
  const sandboxes = new Map(PUBLISHED.map((one) => [podOf(one), makeNetnsFor(undo, 'pod')]));
  const cases = PUBLISHED.map((published, number): Case => {
    const containerId = podOf(published);
    const attachment = {
      ...{
        netns: sandboxes.get(containerId) ?? '',
        containerId,
        ifname: published.ifname ?? 'eth0',
      },
      capabilityArgs: capabilityArgs(number),
    };
    return { published, number, list: withPodpace(readPublished(published.file)), attachment };
  });
  const of = new Map(cases.map((one): [Case, Outcome] => [one, {}]));
  for (const one of cases) standIn(node, one);
  await add(node, cases, of);
  await look(node, cases, of);
  return new Map([...of].map(([{ published }, outcome]) => [published.file, outcome]));
}

function podOf({ file, pod = file }: PublishedList): string {
  return pod;
}

test('every list has a source, and the bandwidth plugin once', (t) => {
  t.deepEqual(publishedFiles().toSorted(), PUBLISHED.map(({ file }) => file).toSorted());
  for (const { file } of PUBLISHED) {
    const { plugins } = readPublished(file);
    const at = plugins.findIndex(({ type }) => type === 'bandwidth');
    t.is(at, plugins.length - 1, file);
    t.deepEqual(plugins[at], { type: 'bandwidth', capabilities: { bandwidth: true } }, file);
  }
});

for (const [number, published] of PUBLISHED.entries()) {
  test.serial(`podpace for bandwidth in the list of ${published.file}`, async (t) => {
    t.timeout(300_000);
    outcomes ??= play();
    const outcome = (await outcomes).get(published.file) ?? {};
    t.is(outcome.error?.message, undefined, published.source);
    const list = readPublished(published.file);
    t.is(outcome.result?.cniVersion, list.cniVersion);
    t.is(outcome.isChecked ?? false, canCheck(list));
    const caps = {
      egress: { rateBitsPerSec: 10_000_000 + number, burstBits: 4294967295 },
      ingress: { rateBitsPerSec: 20_000_000 + number, burstBits: 4294967295 },
    };
    const ifname = published.ifname ?? 'eth0';
    t.like(outcome.attach, { network: list.name, ifname, caps });
    const { listed } = outcome;
    t.like(listed, { caps, hostInterface: outcome.attach?.hostInterface });
    const { egressAggregateId: egressId = 0, ingressAggregateId: ingressId = 0 } = listed ?? {};
    t.true(egressId > 0 && ingressId > 0);
    t.is(outcome.entry, HOST_INTERFACE.encode({ egressId, ingressId }).toString('hex'));
    const untrue = listed?.problems.filter((text) => /classifier|configuration/.test(text));
    t.deepEqual(untrue, [], 'what is missing is sch_fq, if anything');
    t.true(outcome.isKeptByGc);
    t.false(outcome.isLeft);
  });
}
