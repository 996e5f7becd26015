// What stood on an exit before is back after the last cap: defaults of every kind, also when nobody knows any more what it was.

import fs from 'node:fs';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { addPod, makeHelperDirectories, paramsOf, startHelper, type TestHelper } from '../../kit/helper.ts';
import { makeNetns, type TestNetns } from '../../kit/netns.ts';

const CAPS = { egress: { rateBitsPerSec: 10_000_000 }, ingress: { rateBitsPerSec: 20_000_000 } };
const DEFAULT_QDISC = '/proc/sys/net/core/default_qdisc';
/** Defaults that hold a queue management of their own; which of them there are depends on the kernel. */
const KINDS = ['cake', 'fq_pie', 'codel', 'pie', 'hhf'];

interface Scene {
  readonly node: TestNetns;
  readonly sandbox: TestNetns;
  readonly directories: ReturnType<typeof makeHelperDirectories>;
  readonly helper: TestHelper;
}

async function makeScene(t: ExecutionContext): Promise<Scene> {
  const [node, sandbox, directories] = [makeNetns(t), makeNetns(t), makeHelperDirectories(t)];
  addPod(node, sandbox, 'pod0');
  const helper = await startHelper(t, node, directories);
  return { node, sandbox, directories, helper };
}

/** A device with a default qdisc, which a veth has not. */
function addUplink({ ip }: TestNetns, queues: number): void {
  ip('tuntap', 'add', 'dev', 'uplink', 'mode', 'tap', ...(queues > 1 ? ['multi_queue'] : []));
  ip('address', 'add', '198.51.100.1/24', 'dev', 'uplink');
  ip('link', 'set', 'uplink', 'up');
  ip('route', 'add', 'default', 'via', '198.51.100.2');
}

function useDefault(t: ExecutionContext, kind: string): boolean {
  const former = fs.readFileSync(DEFAULT_QDISC, 'utf8');
  try {
    fs.writeFileSync(DEFAULT_QDISC, kind);
  } catch {
    return false;
  }
  t.teardown(() => fs.writeFileSync(DEFAULT_QDISC, former));
  return true;
}

function look({ node, sandbox }: Scene): string[] {
  return [node, sandbox].flatMap(({ ip, tc }) => [ip('-d', '-j', 'link', 'show'), tc('qdisc', 'show')]);
}

test.serial('a default of any kind is replaced by a cap, and back after the last one', async (t) => {
  t.timeout(300_000);
  const kinds = KINDS.filter((kind) => useDefault(t, kind));
  t.true(kinds.length > 0);
  const scene = await makeScene(t);
  for (const kind of kinds) {
    for (const queues of [1, 4]) {
      useDefault(t, kind);
      addUplink(scene.node, queues);
      t.regex(scene.node.tc('qdisc', 'show', 'dev', 'uplink'), new RegExp(`qdisc ${kind} 0: `));
      const before = look(scene);
      const params = paramsOf('pod0', scene.sandbox, CAPS);
      await scene.helper.ask('attach', params);
      t.regex(scene.node.tc('qdisc', 'show', 'dev', 'uplink'), /qdisc (mq|fq) 7070: root/);
      await t.notThrowsAsync(scene.helper.ask('check', params));
      await scene.helper.ask('detach', params);
      t.deepEqual(look(scene), before, `${kind}, ${queues} queues`);
      scene.node.ip('link', 'delete', 'uplink');
    }
  }
  t.log(kinds.join(' '));
});

test.serial('an exit whose record is lost is put back too, and said', async (t) => {
  t.timeout(300_000);
  const scene = await makeScene(t);
  addUplink(scene.node, 4);
  const before = look(scene);
  const lose = (): void => {
    const exits = path.join(scene.helper.stateDir, 'exits');
    for (const file of fs.readdirSync(exits)) fs.rmSync(path.join(exits, file));
  };
  const params = paramsOf('pod0', scene.sandbox, CAPS);
  await scene.helper.ask('attach', params);
  lose();
  await scene.helper.ask('detach', params);
  t.deepEqual(look(scene), before);
  await scene.helper.ask('attach', params);
  lose();
  const { restoredExits } = await scene.helper.ask('uninstall', {});
  t.deepEqual(restoredExits.toSorted(), [
    'pod0 (its record was lost: the default)',
    'uplink (its record was lost: the default)',
  ]);
  t.deepEqual(look(scene), before);
});
