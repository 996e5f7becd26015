import fs from 'node:fs';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { ShapingError } from '../../../../helper/shaping/failure.ts';
import type { Wish } from '../../../../helper/shaping/records.ts';
import { WishFiles } from '../../../../helper/control/wish-files.ts';
import {
  describeWish,
  fulfil,
  Wishes,
  type Fulfilment,
} from '../../../../helper/control/wishes.ts';
import { temporaryDirectory } from '../../../bed/temporary-directory.ts';

function wishOf(at: number, more: Partial<Wish> = {}): Wish {
  return {
    ...{ containerId: `c${String(at).padStart(3, '0')}`, ifname: 'eth0', network: 'pods' },
    ...{ hostInterface: `veth${at}`, hostInterfaceIndex: 100 + at, kind: 'veth' },
    ...{ sandbox: `/run/netns/${at}`, caps: { egress: { rateBitsPerSec: 10_000_000 } } },
    reason: 'no helper listens there',
    ...more,
  };
}

interface Scene {
  readonly directory: string;
  readonly files: WishFiles;
  readonly wishes: Wishes;
  readonly tried: string[];
  readonly log: string[];
  readonly fulfilment: Fulfilment;
}

/** `attach` is what the node does to a wish. */
function makeScene(
  t: ExecutionContext,
  count: number,
  attach: (wish: Wish, wishes: Wishes) => void = () => undefined,
): Scene {
  const directory = temporaryDirectory(t);
  const files = new WishFiles(path.join(directory, 'helper.sock'));
  for (let at = 0; at < count; at += 1) files.write(wishOf(at));
  const [wishes, tried, log] = [new Wishes(files), [] as string[], [] as string[]];
  const fulfilment: Fulfilment = {
    isAlive: () => Promise.resolve(true),
    refusal: undefined,
    attach: async (wish) => {
      tried.push(wish.containerId);
      attach(wish, wishes);
    },
    log: (_level, message) => log.push(message),
  };
  return { directory, files, wishes, tried, log, fulfilment };
}

const refuse = (): never => {
  throw new ShapingError('unenforceable', 'Cannot enforce the cap: tbf is there', 'remove it');
};

const TEXTS: readonly [more: Partial<Wish>, text: string][] = [
  [{}, 'c007/eth0: egress 10 Mbit/s is not enforced: no helper listens there'],
  [
    { caps: { egress: { rateBitsPerSec: 10_000_000 }, ingress: { rateBitsPerSec: 2_500_000 } } },
    'c007/eth0: egress 10 Mbit/s and ingress 2.5 Mbit/s are not enforced: no helper listens there',
  ],
  [
    { caps: {}, hostRouting: { addresses: ['10.0.0.7'] } },
    'c007/eth0: host routing is not enforced: no helper listens there',
  ],
];

for (const [more, text] of TEXTS) {
  test(`a wish is told of as ${text}`, (t) => t.is(describeWish(wishOf(7, more)), text));
}

test('what can be put in force is, in one round', async (t) => {
  const { wishes, tried, log, fulfilment, directory } = makeScene(t, 40, (wish, all) =>
    all.remove(wish),
  );
  await fulfil(wishes, fulfilment);
  t.is(tried.length, 40);
  t.deepEqual(wishes.all, []);
  t.is(log[0], 'c000/eth0: egress 10 Mbit/s is in force now');
  t.deepEqual(fs.readdirSync(directory), [], 'no empty directory is left');
});

test('what is refused keeps the reason, and every wish has its turn', async (t) => {
  const { wishes, tried, fulfilment } = makeScene(t, 40, refuse);
  await fulfil(wishes, fulfilment);
  t.is(tried.length, 16, 'a round is bounded');
  t.is(wishes.all[0]?.reason, 'Cannot enforce the cap: tbf is there; remove it');
  await fulfil(wishes, fulfilment);
  await fulfil(wishes, fulfilment);
  t.is(new Set(tried).size, 40);
  t.is(wishes.all[39]?.reason, 'Cannot enforce the cap: tbf is there; remove it');
  t.is(wishes.problems().length, 40);
});

test('nothing is tried while it is known that every cap is refused', async (t) => {
  const { wishes, tried, fulfilment } = makeScene(t, 3);
  await fulfil(wishes, { ...fulfilment, refusal: 'no sch_fq' });
  t.deepEqual(tried, []);
  t.deepEqual(
    wishes.all.map(({ reason }) => reason),
    ['no sch_fq', 'no sch_fq', 'no sch_fq'],
  );
});

test('the wish of a pod that is gone is dropped, whatever is refused', async (t) => {
  const { wishes, files, log, fulfilment } = makeScene(t, 2);
  const isAlive = ({ containerId }: Wish): Promise<boolean> =>
    Promise.resolve(containerId === 'c001');
  await fulfil(wishes, { ...fulfilment, isAlive, refusal: 'no sch_fq' });
  t.deepEqual([...files.read().records.keys()], ['c001:eth0']);
  t.deepEqual(log, ['The pod of veth0 is gone: forgetting c000/eth0, which had no cap yet']);
});

test('what stands beside wishes and is none is named, and stops nothing', async (t) => {
  const { wishes, tried, directory, fulfilment } = makeScene(t, 1);
  const place = path.join(directory, 'wishes');
  fs.symlinkSync('c000:eth0.json', path.join(place, 'c001:eth0.json'));
  fs.copyFileSync(path.join(place, 'c000:eth0.json'), path.join(place, 'c002:eth0.json'));
  fs.mkdirSync(path.join(place, 'c003:eth0.json'));
  await fulfil(wishes, fulfilment);
  t.deepEqual(tried, ['c000']);
  const texts = wishes.problems().map(({ text }) => text);
  for (const [name, reason] of [
    ['c001', 'it is no regular file but a symbolic link'],
    ['c002', 'it is the record of c000:eth0, which has a file of its own name'],
    ['c003', 'it is no regular file'],
  ] as const) {
    t.true(
      texts.some((text) => text.includes(`/wishes/${name}:eth0.json: ${reason}`)),
      texts.join('\n'),
    );
  }
});

test('a directory that is a link is neither written to nor removed from', (t) => {
  const { files, directory } = makeScene(t, 0);
  const elsewhere = path.join(directory, 'elsewhere');
  fs.mkdirSync(elsewhere);
  fs.writeFileSync(path.join(elsewhere, 'c000:eth0.json'), '');
  fs.symlinkSync(elsewhere, path.join(directory, 'wishes'));
  t.throws(() => files.write(wishOf(0)), { message: /wishes: it is no directory/ });
  files.remove(wishOf(0));
  files.clear({ forget: true });
  t.deepEqual(fs.readdirSync(elsewhere), ['c000:eth0.json']);
});
