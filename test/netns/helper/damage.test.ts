// Whatever of the datapath somebody damages, alters or takes away: it is reported, put back within
// seconds, and told of.

import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { UndoStack } from '../../bed/undo.ts';
import { DAMAGE_FLAGS, makeScene, ROWS, type Row, type Scene } from '../../kit/damaged-objects.ts';
import { startOwnHelper, type TestHelper } from '../../kit/helper.ts';

const REPAIR_MS = 3000;
/** An emulated processor that others use, too, seldom gets it all done between two looks. */
const DAMAGE_ATTEMPTS = 15;
/** One node and its helper for all tests: each leaves whole what it has damaged. */
const shared = new UndoStack();
let scene: Scene;
let helper: TestHelper;

test.before(async () => {
  scene = await makeScene(shared);
  helper = await startOwnHelper(shared, scene.node, scene.directories, DAMAGE_FLAGS);
});

test.after.always(() => shared.run());

function readAll(rows: readonly Row[]): Promise<unknown[]> {
  return Promise.all(rows.map(({ read }) => read(scene)));
}

/** Damages objects, and gives what `status` says of it before anything of it is repaired. */
async function damageAll(t: ExecutionContext, rows: readonly Row[]): Promise<string> {
  for (let attempt = 1; attempt <= DAMAGE_ATTEMPTS; attempt += 1) {
    const before = helper.log();
    for (const { damage } of rows) await damage(scene);
    const { problems } = await helper.ask('status', {});
    if (helper.log() === before) return problems.join('\n');
    // The look came in between: again, right after the next one.
    await sleep(REPAIR_MS);
  }
  t.fail('each time something was repaired before it was asked for');
  return '';
}

/** Damages objects while a helper runs: each is reported, put back within 3 s, and told of. */
async function arePutBack(t: ExecutionContext, rows: readonly Row[]): Promise<void> {
  const before = helper.log().length;
  const log = (): string => helper.log().slice(before);
  const whole = await readAll(rows);
  for (const [index, { object }] of rows.entries()) t.truthy(whole[index], object);
  const problems = await damageAll(t, rows);
  const startMs = performance.now();
  for (const { object, problem } of rows)
    if (problem !== undefined) t.regex(problems, problem, object);
  const open = async (): Promise<string[]> => {
    const found = await readAll(rows);
    return rows.flatMap(({ object, told }, index) => {
      const isWhole = JSON.stringify(found[index]) === JSON.stringify(whole[index]);
      return isWhole && told.test(log()) ? [] : [object];
    });
  };
  while ((await open()).length > 0 && performance.now() - startMs < REPAIR_MS) await sleep(50);
  t.log(`${(performance.now() - startMs).toFixed(0)} ms`);
  t.deepEqual(await open(), [], log());
}

test.serial(
  'every object that somebody damages is reported, put back within 3 s, and told of',
  (t) => arePutBack(t, ROWS),
);

test.serial('so is the program behind ingress caps where nothing else is damaged', (t) =>
  arePutBack(
    t,
    ROWS.filter(({ object }) => object === 'continuations'),
  ),
);

test.serial(
  'every object that was damaged while no helper ran is put back by the next one',
  async (t) => {
    const whole = await readAll(ROWS);
    await helper.end('SIGTERM');
    for (const { damage } of ROWS) await damage(scene);
    helper = await startOwnHelper(shared, scene.node, scene.directories, DAMAGE_FLAGS);
    const found = await readAll(ROWS);
    for (const [index, { object, read }] of ROWS.entries()) {
      // A new helper has new programs.
      if (object.startsWith('program') || object === 'continuations')
        t.truthy(found[index], `${object} ${read.length}`);
      else t.deepEqual(found[index], whole[index], object);
    }
  },
);
