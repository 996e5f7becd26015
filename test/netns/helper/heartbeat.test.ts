// STATUS by the helper's sign of life: the built executables, on a node whose helper is killed,
// started again, hangs, is stopped and uninstalled.

import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import type { JsonObject } from '../../../cni/types.ts';
import { heartbeatFile } from '../../../helper/protocol/state-files.ts';
import { PODPACED } from '../../bed/helper.ts';
import {
  makeHelperDirectories,
  placeFlags,
  startOwnHelper,
  type HelperDirectories,
} from '../../kit/helper.ts';
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
  return heartbeatFile(path.join(run, 'helper.sock'));
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
    /^away: Cannot reach the helper .*; nothing shows that it has run since this node was started$/,
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
    /^away: Cannot reach the helper .*; it has given no sign of life for \d+ s$/,
  );
  t.is(outlook(directories, { helperAwaySeconds: 3600 }), SERVED);
  const allowed = callStatus(directories, { onUnenforceable: 'allow' });
  t.is(allowed.status, 0);
  t.regex(
    allowed.stderr,
    /WARNING: caps are not enforced now .*it has given no sign of life for \d+ s/,
  );

  await startOwnHelper(t, node, directories);
  const servesMs = performance.now();
  while (outlook(directories) !== SERVED) {
    if (performance.now() - servesMs > BACK_WITHIN_MS)
      return t.fail('it does not see that the helper is back');
    await sleep(100);
  }
});

test.serial('STATUS while the helper hangs', async (t) => {
  t.timeout(120_000);
  const [node, directories] = [makeNetns(t), makeHelperDirectories(t)];
  const { pid } = await startOwnHelper(t, node, directories);
  process.kill(pid, 'SIGSTOP');
  const long = { helperAwaySeconds: 3600 };
  t.is(outlook(directories, long), SERVED);
  await sleep(3000);
  t.is(outlook(directories, long), SERVED);
  t.regex(
    outlook(directories, { helperAwaySeconds: 1 }),
    /^away: .*no answer within 2000 ms; it has given no sign of life for \d+ s$/,
  );
  process.kill(pid, 'SIGCONT');
  // By its answer, or by the file that it has just renewed.
  t.true(['ok', SERVED].includes(outlook(directories, { helperAwaySeconds: 1 })));
});

test.serial('STATUS counts the absence of a helper that was stopped from its end', async (t) => {
  t.timeout(120_000);
  const [node, directories] = [makeNetns(t), makeHelperDirectories(t)];
  const helper = await startOwnHelper(t, node, directories);
  await sleep(4000);
  await helper.end('SIGTERM');
  t.is(outlook(directories, { helperAwaySeconds: 3 }), SERVED);
  const { mode, uid } = fs.statSync(sign(directories));
  t.deepEqual([mode & 0o777, uid], [0o600, 0]);
});

test.serial('STATUS with the file of another boot, and of another kernel', async (t) => {
  t.timeout(120_000);
  const [node, directories] = [makeNetns(t), makeHelperDirectories(t)];
  const helper = await startOwnHelper(t, node, directories);
  await helper.end('SIGKILL');
  const whole = fs.readFileSync(sign(directories), 'utf8');
  const { fault, ...sound } = JSON.parse(whole) as JsonObject;
  t.is(fault === undefined, hasSchFq);

  const unable = { ...sound, fault: 'Every cap would be refused: no sch_fq' };
  fs.writeFileSync(sign(directories), JSON.stringify(unable));
  t.is(outlook(directories), 'unable');
  t.is(outlook(directories, { onUnenforceable: 'allow' }), 'ok');
  fs.writeFileSync(sign(directories), JSON.stringify(sound));
  t.is(outlook(directories), 'ok');

  const formerBoot = { ...sound, bootId: crypto.randomUUID() };
  fs.writeFileSync(sign(directories), JSON.stringify(formerBoot));
  t.regex(outlook(directories), /; nothing shows that it has run since this node was started$/);
  t.is(outlook(directories, { onUnenforceable: 'allow' }), 'ok');
});

test.serial('uninstall takes the file away', async (t) => {
  t.timeout(120_000);
  const [node, directories] = [makeNetns(t), makeHelperDirectories(t)];
  const { socket } = await startOwnHelper(t, node, directories);
  t.true(fs.existsSync(sign(directories)));
  const places = placeFlags(directories);
  execFileSync('nsenter', [`--net=/run/netns/${node.name}`, PODPACED, 'uninstall', ...places]);
  while (fs.existsSync(socket)) await sleep(50);
  await sleep(200);
  t.deepEqual(fs.readdirSync(directories.run), []);
});
