// What the helper keeps of its records, and when it reads their files.

import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { Store } from '../../../../helper/control/store.ts';
import { keyOf } from '../../../../helper/protocol/messages.ts';
import { formatRecord } from '../../../../helper/shaping/record-schema.ts';
import type { AttachmentRecord } from '../../../../helper/shaping/records.ts';

/** Longer than the steps that a file's times go in. */
const SETTLED_MS = 150;

function recordOf(pod: number, rateBitsPerSec = 10_000_000): AttachmentRecord {
  return {
    ...{ containerId: `c${pod}`, ifname: 'eth0', network: 'pods', sandbox: '/run/netns/x' },
    ...{ caps: { egress: { rateBitsPerSec } }, egressAggregateId: 5000 + pod },
    ...{ hostInterface: `p${pod}`, hostInterfaceIndex: 10 + pod },
  };
}

interface Scene {
  readonly store: Store;
  readonly fileOf: (record: AttachmentRecord) => string;
}

async function threeRead(t: ExecutionContext): Promise<Scene> {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'podpace-store-'));
  t.teardown(() => fs.rmSync(directory, { recursive: true }));
  const store = new Store(directory, (message) => t.fail(message));
  for (const pod of [1, 2, 3]) store.writeAttachment(recordOf(pod));
  await sleep(SETTLED_MS);
  store.refresh();
  store.readAttachments();
  const fileOf = (record: AttachmentRecord): string =>
    path.join(directory, 'attachments', `${keyOf(record)}.json`);
  return { store, fileOf };
}

test('records whose files are as they were are the same ones after they were looked at again', async (t) => {
  const { store } = await threeRead(t);
  const before = store.readAttachments();
  store.refresh();
  t.is(store.readAttachments(), before);
  t.deepEqual(store.problems(), []);
});

const CHANGES: Readonly<Record<string, (file: string, text: string) => void>> = {
  'written in place': (file, text) => fs.writeFileSync(file, text),
  'replaced by a rename': (file, text) => {
    fs.writeFileSync(`${file}.new`, text);
    fs.renameSync(`${file}.new`, file);
  },
  'written in place, with its time put back': (file, text) => {
    const { atime, mtime } = fs.statSync(file);
    fs.writeFileSync(file, text);
    fs.utimesSync(file, atime, mtime);
  },
};

for (const [how, change] of Object.entries(CHANGES))
  test(`a record of the same length that was ${how} is read again, and the others are not`, async (t) => {
    const { store, fileOf } = await threeRead(t);
    const [first, , third] = store.readAttachments();
    const next = recordOf(2, 20_000_000);
    const text = formatRecord('attachments', next);
    t.is(text.length, fs.statSync(fileOf(next)).size);
    change(fileOf(next), text);
    store.refresh();
    const after = store.readAttachments();
    t.is(after[1]?.caps.egress?.rateBitsPerSec, 20_000_000);
    t.is(after[0], first);
    t.is(after[2], third);
  });

test('of two changes in a row, with nothing in between but a look, the second is seen', async (t) => {
  const { store, fileOf } = await threeRead(t);
  for (const rateBitsPerSec of [20_000_000, 30_000_000, 40_000_000]) {
    fs.writeFileSync(fileOf(recordOf(2)), formatRecord('attachments', recordOf(2, rateBitsPerSec)));
    store.refresh();
    t.is(store.readAttachments()[1]?.caps.egress?.rateBitsPerSec, rateBitsPerSec);
  }
});

test('a file that is damaged, or gone, is told of each time, and stays what the memory says', async (t) => {
  const { store, fileOf } = await threeRead(t);
  fs.writeFileSync(fileOf(recordOf(2)), 'nonsense');
  for (let look = 0; look < 2; look += 1) {
    await sleep(SETTLED_MS);
    store.refresh();
    t.deepEqual(
      store.readAttachments().map(({ containerId }) => containerId),
      ['c1', 'c2', 'c3'],
    );
    t.is(store.problems().length, 1);
  }
  fs.rmSync(fileOf(recordOf(2)));
  store.refresh();
  t.is(store.readAttachments().length, 3);
  t.true(fs.existsSync(fileOf(recordOf(2))), 'it is written again');
});
