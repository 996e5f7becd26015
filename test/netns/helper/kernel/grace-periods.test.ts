// Hurrying the kernel, with a file in the place of its switch: that one is the whole machine's.

import fs from 'node:fs';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { projectRoot } from '../../../../scripts/lib/paths.ts';
import { capture } from '../../../../scripts/lib/process.ts';
import { temporaryDirectory } from '../../../bed/temporary-directory.ts';

const SWITCH = '/sys/kernel/rcu_expedited';
const MODULE = path.join(projectRoot, 'helper/kernel/grace-periods.ts');

/** What a program sees: the switch, and whether the mark stands. */
const SEE = `
  import fs from 'node:fs';
  import * as hurry from ${JSON.stringify(MODULE)};
  const seen = [];
  const see = (what) => seen.push([
    what,
    fs.readFileSync('${SWITCH}', 'latin1').trim(),
    fs.existsSync('/run/podpace/rcu_expedited'),
  ]);
`;

interface Place {
  /** What the switch says before. */
  readonly is: string;
  /** Further commands of the shell that makes the place. */
  readonly also?: readonly string[];
}

/** Runs a program with a /run of its own, and a switch; returns what it and its end have seen. */
async function seenBy(t: ExecutionContext, { is, also = [] }: Place, program: string) {
  const folder = temporaryDirectory({ teardown: (undo) => t.teardown(undo) });
  const file = path.join(folder, 'switch');
  fs.writeFileSync(file, `${is}\n`);
  const script = path.join(folder, 'program.mts');
  fs.writeFileSync(script, `${SEE}${program}\nsee('end');\nconsole.log(JSON.stringify(seen));`);
  const commands = [
    'mount -t tmpfs tmpfs /run',
    `mount --bind ${file} ${SWITCH}`,
    ...also,
    `exec ${process.execPath} ${script}`,
  ];
  const args = ['--mount', '--propagation=private', 'sh', '-c', commands.join(' && ')];
  return JSON.parse(await capture('unshare', args)) as [string, string, boolean][];
}

const withFolder: Place = { is: '0', also: ['mkdir /run/podpace'] };

/** As the mark is left by a process that was killed. */
const left: Place = { is: '1', also: ['mkdir /run/podpace', 'touch /run/podpace/rcu_expedited'] };

test('the switch is on for as long as a request takes, and the mark stands beside it', async (t) => {
  const program = `hurry.hurrying(() => see('request'), () => see('unhurried'));
    await hurry.hurryingUntil(async () => { see('begun'); await null; see('request'); });`;
  t.deepEqual(await seenBy(t, withFolder, program), [
    ['request', '1', true],
    ['begun', '1', true],
    ['request', '1', true],
    ['end', '0', false],
  ]);
});

test('a request that fails leaves the switch as it was', async (t) => {
  const program = `
    const fail = () => { throw new Error('refused'); };
    try { hurry.hurrying(fail); } catch (error) { see(error.message); }
    await hurry.hurryingUntil(async () => fail()).catch((error) => see(error.message));`;
  t.deepEqual(await seenBy(t, withFolder, program), [
    ['refused', '0', false],
    ['refused', '0', false],
    ['end', '0', false],
  ]);
});

test('what somebody else has switched on stays on', async (t) => {
  const program = `hurry.endLeftHurry(); hurry.hurrying(() => see('request'), () => see('unhurried'));
    await hurry.hurryingUntil(async () => see('request'));`;
  t.deepEqual(await seenBy(t, { ...withFolder, is: '1' }, program), [
    ['unhurried', '1', false],
    ['request', '1', false],
    ['end', '1', false],
  ]);
});

test('what a killed process has left is switched off by the next one that hurries', async (t) => {
  const program = `hurry.hurrying(() => see('request'), () => see('unhurried'));`;
  t.deepEqual(await seenBy(t, left, program), [
    ['request', '1', true],
    ['end', '0', false],
  ]);
});

test('and by the next start of the helper', async (t) => {
  t.deepEqual(await seenBy(t, left, 'hurry.endLeftHurry();'), [['end', '0', false]]);
});

const PLACES_WITHOUT: readonly [what: string, also: readonly string[]][] = [
  ['the switch is read-only', ['mkdir /run/podpace', `mount -o remount,bind,ro ${SWITCH}`]],
  ['the mark has no place', []],
];

for (const [what, also] of PLACES_WITHOUT) {
  test(`where ${what} nothing is hurried`, async (t) => {
    const program = `hurry.hurrying(() => see('request'), () => see('unhurried'));`;
    t.deepEqual(await seenBy(t, { is: '0', also }, program), [
      ['unhurried', '0', false],
      ['end', '0', false],
    ]);
  });
}
