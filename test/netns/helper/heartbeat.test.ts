// STATUS by the helper's sign of life: the built executables, on a node whose helper is killed,
// started again and uninstalled.

import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import type { JsonObject } from '../../../cni/types.ts';
import { PODPACED } from '../../bed/helper.ts';
import { makeHelperDirectories, startOwnHelper, type HelperDirectories } from '../../kit/helper.ts';
import { makeNetns } from '../../kit/netns.ts';

const PODPACE = path.join(path.dirname(PODPACED), 'podpace');

/** Longer than the pause between two signs of life, and not much. */
const AWAY_SECONDS = 15;
const BACK_WITHIN_MS = 5000;

const hasSchFq =
  spawnSync('unshare', ['--net', 'tc', 'qdisc', 'add', 'dev', 'lo', 'root', 'fq']).status === 0;
/** What STATUS says of a node with a helper. */
const SERVED = hasSchFq ? 'ok' : 'unable';

interface Ending {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function callStatus({ run }: HelperDirectories, more: JsonObject = {}): Ending {
  const config = {
    ...{
      cniVersion: '1.1.0',
      name: 'pods',
      type: 'podpace',
      socket: path.join(run, 'helper.sock'),
    },
    ...{ helperAwaySeconds: AWAY_SECONDS, ...more },
  };
  const env = { CNI_COMMAND: 'STATUS', CNI_PATH: '/nonesuch' };
  return spawnSync(PODPACE, [], { env, input: JSON.stringify(config), encoding: 'utf8' });
}

/** `ok`, `unable` (the kernel holds no cap), or `away` with the reason. */
function outlook(directories: HelperDirectories, more: JsonObject = {}): string {
  const { status, stdout } = callStatus(directories, more);
  if (status === 0) return 'ok';
  const { code, msg = '' } = JSON.parse(stdout) as { code?: number; msg?: string };
  if (code !== 50) return stdout;
  return msg.startsWith('Every cap would be refused: ') ? 'unable' : `away: ${msg}`;
}

function sign({ run }: HelperDirectories): string {
  return path.join(run, 'heartbeat.json');
}

function rewrite(directories: HelperDirectories, change: (text: string) => string): void {
  fs.writeFileSync(sign(directories), change(fs.readFileSync(sign(directories), 'utf8')));
}

async function untilAway(t: ExecutionContext, directories: HelperDirectories): Promise<string> {
  const startMs = performance.now();
  for (;;) {
    const found = outlook(directories);
    if (found !== SERVED) return found;
    t.true(
      performance.now() - startMs < AWAY_SECONDS * 1000 + 2000,
      'it takes a helper that is gone for there',
    );
    await sleep(200);
  }
}

test.serial('STATUS while the helper is killed and started again', async (t) => {
  t.timeout(180_000);
  const [node, directories] = [makeNetns(t), makeHelperDirectories(t)];
  t.regex(
    outlook(directories),
    /^away: Cannot reach the helper .*; it has not run since this node was started$/,
  );

  const helper = await startOwnHelper(t, node, directories);
  t.is(outlook(directories), SERVED);
  const first = fs.readFileSync(sign(directories), 'utf8');
  await sleep(11_000);
  t.not(fs.readFileSync(sign(directories), 'utf8'), first, 'it is renewed');

  await helper.end('SIGKILL');
  // The file may be ten seconds old.
  const killedMs = performance.now();
  while (performance.now() - killedMs < (AWAY_SECONDS - 11) * 1000) {
    t.is(outlook(directories), SERVED);
    await sleep(500);
  }
  t.regex(
    await untilAway(t, directories),
    /^away: Cannot reach the helper .*; it has been away for \d+ s$/,
  );
  t.is(outlook(directories, { helperAwaySeconds: 3600 }), SERVED);
  const allowed = callStatus(directories, { onUnenforceable: 'allow' });
  t.is(allowed.status, 0);
  t.regex(allowed.stderr, /WARNING: caps are not enforced now .*it has been away for \d+ s/);

  await startOwnHelper(t, node, directories);
  const servesMs = performance.now();
  while (outlook(directories) !== SERVED) {
    if (performance.now() - servesMs > BACK_WITHIN_MS)
      return t.fail('it does not see that the helper is back');
    await sleep(100);
  }
});

test.serial('STATUS with a file that is not of a helper that runs', async (t) => {
  t.timeout(120_000);
  const [node, directories] = [makeNetns(t), makeHelperDirectories(t)];
  const helper = await startOwnHelper(t, node, directories);
  await helper.end('SIGTERM');
  t.is(outlook(directories), SERVED, 'a helper that was stopped may be started again');
  const whole = fs.readFileSync(sign(directories), 'utf8');
  t.is(fs.statSync(sign(directories)).mode & 0o777, 0o600);

  rewrite(directories, (text) =>
    text.replace(/"bootId":"[^"]*"/, `"bootId":"${crypto.randomUUID()}"`),
  );
  t.regex(outlook(directories), /; it has not run since this node was started$/);
  rewrite(directories, () => whole.slice(0, 20));
  t.regex(outlook(directories), /; its sign of life is damaged$/);
  rewrite(directories, () => 'x'.repeat(1_000_000));
  t.regex(outlook(directories), /; its sign of life is damaged$/);
  fs.rmSync(sign(directories));
  fs.mkdirSync(sign(directories));
  t.regex(outlook(directories), /; its sign of life is damaged$/);
  fs.rmdirSync(sign(directories));
  t.regex(outlook(directories), /; it has not run since this node was started$/);
});

test.serial('STATUS asks a helper that is there when its file is not', async (t) => {
  t.timeout(120_000);
  const [node, directories] = [makeNetns(t), makeHelperDirectories(t)];
  await startOwnHelper(t, node, directories);
  fs.rmSync(sign(directories));
  t.is(outlook(directories), 'ok');
});

test.serial('uninstall takes the file away', async (t) => {
  t.timeout(120_000);
  const [node, directories] = [makeNetns(t), makeHelperDirectories(t)];
  const { socket, stateDir, pinDir } = await startOwnHelper(t, node, directories);
  t.true(fs.existsSync(sign(directories)));
  const places = ['--socket', socket, '--state-dir', stateDir, '--pin-dir', pinDir];
  execFileSync('nsenter', [`--net=/run/netns/${node.name}`, PODPACED, 'uninstall', ...places]);
  while (fs.existsSync(socket)) await sleep(50);
  await sleep(200);
  t.deepEqual(fs.readdirSync(directories.run), []);
});
