// An fq with an option of somebody's is not replaced, whichever option that is: all that the kernel
// shows are tried, also those that podpace does not know.

import test, { type ExecutionContext } from 'ava';
import { HelperError } from '../../../helper/protocol/client.ts';
import { readUntouchedFq } from '../../../helper/kernel/untouched-fq.ts';
import { findLink } from '../../../helper/kernel/links.ts';
import { deleteQdisc, listQdiscs, replaceQdisc, TC_H_ROOT } from '../../../helper/kernel/qdiscs.ts';
import { Attributes, encodeAttributes } from '../../../helper/wire/attributes.ts';
import {
  addUplink,
  makeHelperDirectories,
  paramsOf,
  startOwnHelper,
  wirePod,
  type TestHelper,
} from '../../kit/helper.ts';
import { makeNetns, type TestNetns } from '../../kit/netns.ts';

const CAPS = { egress: { rateBitsPerSec: 10_000_000, burstBits: 4294967295 } };
const HANDLE = 0x5_0000;
/** The largest attribute that is one number. */
const NUMBER_BYTES = 4;
/** TCA_FQ_OFFLOAD_HORIZON: only cards that hold packets themselves take another than 0. */
const OFFLOAD_HORIZON = 18;

interface Scene {
  readonly node: TestNetns;
  readonly sandbox: TestNetns;
  readonly helper: TestHelper;
  readonly ifindex: number;
}

/** A node whose uplink has a single queue. */
async function makeScene(t: ExecutionContext, flags: readonly string[] = []): Promise<Scene> {
  const [node, sandbox, peer] = [makeNetns(t), makeNetns(t), makeNetns(t)];
  wirePod(node, sandbox, 'pod0');
  addUplink(node, peer, 'uplink', 1);
  const helper = await startOwnHelper(t, node, makeHelperDirectories(t), [
    '--reconcile-seconds',
    '3600',
    ...flags,
  ]);
  const ifindex = (await findLink(node.rt, { name: 'uplink' }))?.index ?? 0;
  return { node, sandbox, helper, ifindex };
}

/**
 * Another value that the kernel takes: one bit of a number's lowest byte, or of the last one of a
 * list's.
 */
function changed(value: Buffer): Buffer {
  const other = Buffer.from(value);
  const place = value.length <= NUMBER_BYTES ? 0 : value.length - 1;
  other.writeUInt8(other.readUInt8(place) ^ 1, place);
  return other;
}

/** Every option of an fq as this kernel shows it, with another value that every device takes. */
async function otherOptions(): Promise<Map<number, Buffer>> {
  const untouched = Attributes.decode(await readUntouchedFq());
  const types = [...untouched.types()].filter((type) => type !== OFFLOAD_HORIZON);
  return new Map(types.map((type) => [type, changed(untouched.bytes(type) ?? Buffer.alloc(0))]));
}

async function putFq(
  { node, ifindex }: Scene,
  options: Iterable<readonly [number, Buffer]>,
): Promise<void> {
  const encoded = encodeAttributes((attributes) => {
    for (const [type, value] of options) attributes.bytes(type, value);
  });
  await replaceQdisc(node.rt, {
    ifindex,
    parent: TC_H_ROOT,
    handle: HANDLE,
    kind: 'fq',
    options: encoded,
  });
}

/** The root qdisc, with its options as the kernel shows them. */
async function rootOf({ node, ifindex }: Scene): Promise<string> {
  const root = (await listQdiscs(node.rt, ifindex)).find(({ parent }) => parent === TC_H_ROOT);
  return `${root?.kind} ${root?.handle.toString(16)} ${root?.options.toString('hex')}`;
}

test.serial('an fq with any one option of its own is respected, and the cap refused', async (t) => {
  const scene = await makeScene(t);
  const { node, sandbox, helper, ifindex } = scene;
  await putFq(scene, []);
  const untouched = await rootOf(scene);
  await deleteQdisc(node.rt, { ifindex, parent: TC_H_ROOT });
  for (const [type, value] of await otherOptions()) {
    await putFq(scene, [[type, value]]);
    const before = await rootOf(scene);
    t.not(before, untouched, `option ${type}`);
    const error = await t.throwsAsync(helper.ask('attach', paramsOf('pod0', sandbox, CAPS)), {
      instanceOf: HelperError,
    });
    t.regex(
      error?.message ?? '',
      /uplink has a fq root qdisc that somebody configured/,
      `option ${type}`,
    );
    t.is(await rootOf(scene), before, `option ${type}`);
    await deleteQdisc(node.rt, { ifindex, parent: TC_H_ROOT });
  }
});

test.serial(
  'an fq with every option changed is replaced when the operator says so, and comes back whole',
  async (t) => {
    const scene = await makeScene(t, ['--foreign-qdisc', 'replace']);
    const { sandbox, helper } = scene;
    await putFq(scene, await otherOptions());
    const before = await rootOf(scene);
    await helper.ask('attach', paramsOf('pod0', sandbox, CAPS));
    t.regex(await rootOf(scene), /^fq 70700000 /);
    await helper.ask('detach', { containerId: 'c-pod0', ifname: 'eth0' });
    t.is(await rootOf(scene), before);
  },
);

test.serial(
  'an fq of which nobody chose anything is replaced, also after its device got another MTU',
  async (t) => {
    const scene = await makeScene(t);
    const { node, sandbox, helper } = scene;
    await putFq(scene, []);
    node.ip('link', 'set', 'uplink', 'mtu', '9000');
    await helper.ask('attach', paramsOf('pod0', sandbox, CAPS));
    t.regex(await rootOf(scene), /^fq 70700000 /);
  },
);
