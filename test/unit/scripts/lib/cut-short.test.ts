import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { runAva } from '../../../../scripts/lib/ava.ts';
import { withBundles } from '../../../../scripts/lib/one-worker.ts';
import { buildDirectory, projectRoot } from '../../../../scripts/lib/paths.ts';

/** A test that makes one of each, says where, and does not end. */
const ENDLESS = `
import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import test from 'ava';
test('endless', async () => {
  const name = 'pp-' + process.pid + '-endless';
  execFileSync('ip', ['netns', 'add', name]);
  const directory = '/tmp/' + name;
  fs.mkdirSync(directory + '/mount', { recursive: true });
  execFileSync('mount', ['-t', 'tmpfs', 'none', directory + '/mount']);
  const pins = '/sys/fs/bpf/' + name;
  fs.mkdirSync(pins);
  // As one that hangs: it does not end when it is asked to.
  const { pid } = spawn('sh', ['-c', 'trap "" TERM; sleep 300'], { detached: true, stdio: 'ignore' });
  // A process that has ended, and whose parent has not asked, has no program any more.
  const made = ['/run/netns/' + name, directory, pins, '/proc/' + pid + '/exe'];
  fs.writeFileSync(process.env.MADE + '.new', JSON.stringify(made));
  fs.renameSync(process.env.MADE + '.new', process.env.MADE);
  await new Promise((resolve) => setTimeout(resolve, 300_000));
});
`;

function placeOf(t: ExecutionContext): string {
  const place = fs.mkdtempSync(path.join(buildDirectory, 'endless-'));
  t.teardown(() => fs.rmSync(place, { recursive: true }));
  return place;
}

test.serial('a run of tests that is interrupted leaves nothing that they made', async (t) => {
  const place = placeOf(t);
  const file = path.join(place, 'endless.test.ts');
  fs.writeFileSync(file, ENDLESS);
  const made = path.join(place, 'made');
  process.env['MADE'] = made;
  const controller = new AbortController();
  const run = withBundles('endless', [[path.relative(projectRoot, file)]], (bundles) =>
    runAva(bundles.files, {
      ...{ label: 'endless', concurrency: 1, allowSkips: false },
      ...{ directory: bundles.directory, signal: controller.signal },
    }),
  );
  const outcome = t.throwsAsync(run, { message: 'enough' });
  while (!fs.existsSync(made)) await sleep(50);
  const places = JSON.parse(fs.readFileSync(made, 'utf8')) as readonly string[];
  t.deepEqual(
    places.map((each) => fs.existsSync(each)),
    [true, true, true, true],
  );
  controller.abort(new Error('enough'));
  await outcome;
  t.deepEqual(
    places.filter((each) => fs.existsSync(each)),
    [],
  );
  t.notRegex(execFileSync('mount', { encoding: 'utf8' }), /-endless/);
});
