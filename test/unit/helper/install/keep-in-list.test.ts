// podpace stays in the list, whatever the other CNI does to its files.

import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { ListKeeper } from '../../../../helper/install/keep-in-list.ts';
import { namesPodpace, removePodpace } from '../../../../helper/network-list/edit.ts';
import { FLANNEL } from '../../../kit/install-scene.ts';
import { SINGLES } from '../../../kit/published-lists.ts';
import { temporaryDirectory } from '../../../bed/temporary-directory.ts';

/** Longer than any look takes on a machine that does much else. */
const PATIENCE_MS = 60_000;
const OVN = SINGLES['10-ovn-kubernetes.conf'] ?? '';

function makeScene(t: ExecutionContext, files: Readonly<Record<string, string>>) {
  const directory = path.join(temporaryDirectory(t), 'net.d');
  fs.mkdirSync(directory);
  const at = (name: string): string => path.join(directory, name);
  const write = (name: string, text: string): void => fs.writeFileSync(at(name), text);
  for (const [name, text] of Object.entries(files)) write(name, text);
  const lines: { readonly level: string; readonly message: string; readonly ms: number }[] = [];
  let putBacks = 0;
  const start = (): ListKeeper => {
    const keeper = new ListKeeper(
      { directory },
      {
        log: (level, message) => lines.push({ level, message, ms: performance.now() }),
        putBack: () => (putBacks += 1),
      },
    );
    t.teardown(() => keeper.close());
    return keeper;
  };
  const isIn = (name: string): boolean => {
    try {
      return namesPodpace(fs.readFileSync(at(name), 'latin1'));
    } catch {
      return false;
    }
  };
  return { directory, at, write, lines, start, isIn, putBacks: () => putBacks };
}

/** How long it took until something was so. */
async function until(t: ExecutionContext, what: string, isSo: () => boolean): Promise<number> {
  const startMs = performance.now();
  while (!isSo()) {
    if (performance.now() - startMs > PATIENCE_MS) return t.fail(`not ${what} in time`) ? 0 : NaN;
    await sleep(10);
  }
  return performance.now() - startMs;
}

test.serial(
  'the other CNI rewrites its file: podpace is back in within 2 s, its new keys kept',
  async (t) => {
    const { write, at, start, isIn, directory } = makeScene(t, { '10-flannel.conflist': FLANNEL });
    start();
    await until(t, 'in', () => isIn('10-flannel.conflist'));
    const tookMs: number[] = [];
    for (const key of ['a', 'b', 'c']) {
      // Rewrites are a second apart at least.
      await sleep(1500);
      const newer = FLANNEL.replace('"name"', `"${key}": {"b": [1]}, "name"`);
      write('10-flannel.conflist', newer);
      tookMs.push(await until(t, 'back in', () => isIn('10-flannel.conflist')));
      t.is(removePodpace(fs.readFileSync(at('10-flannel.conflist'), 'latin1')), newer);
      t.deepEqual(fs.readdirSync(directory), ['10-flannel.conflist']);
    }
    t.log(`back in after ${tookMs.map((ms) => ms.toFixed(0)).join(', ')} ms`);
    // Whatever else this machine does meanwhile.
    t.true(Math.min(...tookMs) < 2_000);
  },
);

test.serial('by a rename, under another name, and after the directory was made anew', async (t) => {
  const { write, at, start, isIn, directory } = makeScene(t, { '10-flannel.conflist': FLANNEL });
  start();
  await until(t, 'in', () => isIn('10-flannel.conflist'));
  write('tmp', FLANNEL);
  fs.renameSync(at('tmp'), at('10-flannel.conflist'));
  await until(t, 'back in', () => isIn('10-flannel.conflist'));
  fs.rmSync(at('10-flannel.conflist'));
  write('05-flannel.conflist', FLANNEL);
  await until(t, 'in the new one', () => isIn('05-flannel.conflist'));
  t.deepEqual(fs.readdirSync(directory), ['05-flannel.conflist']);
  fs.rmSync(directory, { recursive: true });
  fs.mkdirSync(directory);
  write('10-new.conflist', FLANNEL);
  await until(t, 'in the new directory', () => isIn('10-new.conflist'));
  t.deepEqual(fs.readdirSync(directory), ['10-new.conflist']);
});

test.serial(
  'a list that is made of a single configuration follows that, and goes with it',
  async (t) => {
    const { write, at, start, isIn, directory } = makeScene(t, { '10-x.conf': OVN });
    start();
    const made = '10-x-podpace.conflist';
    await until(t, 'made', () => isIn(made));
    write('10-x.conf', OVN.replace('"name":"ovn-kubernetes"', '"name":"other"'));
    await until(t, 'made anew', () =>
      fs.readFileSync(at(made), 'utf8').includes('"name": "other"'),
    );
    fs.rmSync(at('10-x.conf'));
    await until(t, 'gone', () => fs.readdirSync(directory).length === 0);
    t.pass();
  },
);

test.serial(
  'who takes podpace out five times has his way, until podpace is in again',
  async (t) => {
    const { write, start, isIn, lines, putBacks } = makeScene(t, {
      '10-flannel.conflist': FLANNEL,
    });
    const keeper = start();
    for (let fights = 0; fights < 5; fights += 1) {
      await until(t, 'in', () => isIn('10-flannel.conflist'));
      t.deepEqual(keeper.problems(), []);
      write('10-flannel.conflist', FLANNEL);
    }
    await until(t, 'given up', () => keeper.problems().length > 0);
    await sleep(2500);
    t.false(isIn('10-flannel.conflist'));
    t.is(putBacks(), 5);
    t.regex(
      keeper.problems()[0] ?? '',
      /10-flannel\.conflist: somebody takes it out .*cni\.exclusive=false/,
    );
    t.is(lines.filter(({ level }) => level === 'error').length, 1);
    const puts = lines
      .filter(({ message }) => message.startsWith('Network list:'))
      .map(({ ms }) => ms);
    t.is(puts.length, 5);
    for (const [index, ms] of puts.slice(1).entries()) t.true(ms - (puts[index] ?? 0) > 950);
    write('10-flannel.conflist', FLANNEL.replace('\n  ]', ',\n    {"type": "podpace"}\n  ]'));
    await until(t, 'solved', () => keeper.problems().length === 0);
    write('10-flannel.conflist', FLANNEL);
    await until(t, 'kept again', () => isIn('10-flannel.conflist'));
  },
);

test.serial(
  'half a file is waited for; one that stays wrong is told of once, and nothing is written',
  async (t) => {
    const { write, start, isIn, lines, at } = makeScene(t, { '10-flannel.conflist': FLANNEL });
    const keeper = start();
    await until(t, 'in', () => isIn('10-flannel.conflist'));
    const half = FLANNEL.slice(0, 100);
    write('10-flannel.conflist', half);
    await until(t, 'told', () => keeper.problems().length > 0);
    await sleep(2500);
    t.is(fs.readFileSync(at('10-flannel.conflist'), 'utf8'), half);
    t.regex(
      keeper.problems()[0] ?? '',
      /Cannot keep podpace in the list: 10-flannel\.conflist cannot be used: it is not JSON/,
    );
    t.is(lines.filter(({ level }) => level === 'error').length, 1);
    write('10-flannel.conflist', FLANNEL);
    await until(t, 'in', () => isIn('10-flannel.conflist'));
    await until(t, 'solved', () => keeper.problems().length === 0);
    t.true(lines.some(({ message }) => message.startsWith('Solved: ')));
  },
);

test.serial('before an uninstall it takes podpace out, and does not put it in again', async (t) => {
  const { at, start, isIn, directory } = makeScene(t, { '10-flannel.conflist': FLANNEL });
  const keeper = start();
  await until(t, 'in', () => isIn('10-flannel.conflist'));
  await keeper.leave();
  t.is(fs.readFileSync(at('10-flannel.conflist'), 'utf8'), FLANNEL);
  await sleep(2500);
  t.is(fs.readFileSync(at('10-flannel.conflist'), 'utf8'), FLANNEL);
  t.deepEqual(fs.readdirSync(directory), ['10-flannel.conflist']);
});

test.serial('once closed nothing is written any more', async (t) => {
  const { write, start, isIn } = makeScene(t, { '10-flannel.conflist': FLANNEL });
  const keeper = start();
  await until(t, 'in', () => isIn('10-flannel.conflist'));
  keeper.close();
  write('10-flannel.conflist', FLANNEL);
  await sleep(2500);
  t.false(isIn('10-flannel.conflist'));
});
