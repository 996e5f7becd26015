// Records with any fault, a few hundred of them, in the state directory of the built helper: it
// starts, looks after everybody else, names each file, and what the kernel holds of their pods
// stays as it was.

import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import test from 'ava';
import fc from 'fast-check';
import { keyOf } from '../../../helper/protocol/messages.ts';
import { parseRecord } from '../../../helper/shaping/record-schema.ts';
import type { AttachmentRecord } from '../../../helper/shaping/records.ts';
import { pictureDevice } from '../../kit/device-picture.ts';
import {
  addUplink,
  leaveRecord,
  makeHelperDirectories,
  paramsOf,
  startHelper,
  type TestHelper,
} from '../../kit/helper.ts';
import { makeNetns } from '../../kit/netns.ts';
import { damaged } from '../../kit/record-damage.ts';

const CAPS = { egress: { rateBitsPerSec: 10_000_000 }, ingress: { rateBitsPerSec: 20_000_000 } };
const FLAGS = ['--reconcile-seconds', '1'];
const DAMAGED_PODS = 100;
const GOOD_PODS = 4;
const ROUNDS = 3;

/** What a damaged file still says, if that is the whole of what it said before. */
function isWhole(name: string, text: string, former: AttachmentRecord): boolean {
  try {
    return isDeepStrictEqual(parseRecord('attachments', name, text), former);
  } catch {
    return false;
  }
}

async function namesListed(helper: TestHelper): Promise<string[]> {
  const names: string[] = [];
  let after: string | undefined;
  do {
    const page = await helper.ask('list', after === undefined ? {} : { after });
    names.push(...page.attachments.map(keyOf));
    after = page.next;
  } while (after !== undefined);
  return names;
}

test.serial(
  'of three hundred damaged records each is named, or whole, and none touches the kernel',
  async (t) => {
    t.timeout(600_000);
    const seed = Date.now() % 2 ** 31;
    t.log(`seed ${seed}`);
    const [node, sandbox, peer] = [makeNetns(t), makeNetns(t), makeNetns(t)];
    const directories = makeHelperDirectories(t);
    const place = { node, directories };
    addUplink(node, peer, 'up0', 1);
    const pods = Array.from({ length: DAMAGED_PODS + GOOD_PODS }, (_, at) => `d${at}`);
    const indexes = new Map(
      pods.map((name, at) => {
        node.ip(
          'link',
          'add',
          name,
          'type',
          'veth',
          'peer',
          'name',
          `eth${at}`,
          'netns',
          sandbox.name,
        );
        return [name, leaveRecord(node, directories, paramsOf(name, sandbox, CAPS))];
      }),
    );
    const fileOf = (name: string): string =>
      path.join(directories.run, 'state/attachments', `c-${name}:eth0.json`);
    await (await startHelper(t, node, directories)).end('SIGTERM');
    const texts = new Map(pods.map((name) => [name, fs.readFileSync(fileOf(name), 'utf8')]));

    for (let round = 0; round < ROUNDS; round += 1) {
      const bad = pods.slice(0, DAMAGED_PODS).filter((name, at) => {
        const text = texts.get(name) ?? '';
        const [bytes = Buffer.alloc(0)] = fc.sample(damaged(text), {
          seed: seed + round * pods.length + at,
          numRuns: 1,
        });
        fs.writeFileSync(fileOf(name), bytes);
        const key = `c-${name}:eth0`;
        return !isWhole(key, bytes.toString(), parseRecord('attachments', key, text));
      });
      const picture = () =>
        Promise.all(bad.map((name) => pictureDevice(place, indexes.get(name) ?? 0)));
      const before = await picture();
      const helper = await startHelper(t, node, directories, FLAGS);
      await sleep(1500);
      t.deepEqual(await picture(), before, `round ${round}`);
      for (const name of bad)
        t.true(helper.log().includes(`/c-${name}:eth0.json`), `round ${round}: ${name} is named`);
      const { state, problems } = await helper.ask('status', {});
      t.is(state, 'degraded');
      t.true(problems.some((problem) => problem.includes('Cannot read the record')));
      const good = pods.filter((name) => !bad.includes(name)).map((name) => `c-${name}:eth0`);
      t.deepEqual(await namesListed(helper), good.toSorted(), `round ${round}`);
      await helper.end('SIGTERM');
      for (const [name, text] of texts) fs.writeFileSync(fileOf(name), text);
    }
  },
);
