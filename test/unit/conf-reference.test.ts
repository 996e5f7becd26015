// conf/REFERENCE.md has a line for each setting, each code of explain and each exit status, which
// says what the code says; and no line for anything else.

import fs from 'node:fs';
import path from 'node:path';
import test from 'ava';
import { runCli } from '../../helper/cli.ts';
import { DEFAULT_CONFIG, FLAGS } from '../../helper/config.ts';
import { PROBLEM_CODES } from '../../helper/protocol/problem-codes.ts';

const FILE = path.resolve(import.meta.dirname, '../../conf/REFERENCE.md');
const TEXT = fs.readFileSync(FILE, 'utf8');

/** Entries of the list below a heading, each in one line. */
function entriesBelow(heading: string): string[] {
  const [, section = ''] = TEXT.split(`\n## ${heading}\n`);
  const [own = ''] = section.split('\n## ');
  const entries = own.match(/^- [^]*?(?=\n- |\n\n|\n*$(?![^]))/gm) ?? [];
  return entries.map((entry) => entry.slice(2).replaceAll(/\s+/g, ' ').trim());
}

test('every setting is there with its key, flag, help and default', (t) => {
  const told = Object.keys(DEFAULT_CONFIG).map((key, index) => {
    const { flag = '', help = '', isRepeatable } = FLAGS[index] ?? {};
    return `\`${key}\`, ${isRepeatable === true ? 'a list, ' : ''}\`${flag}\`: ${help}.`;
  });
  t.deepEqual(entriesBelow('Settings'), told);
});

test('every code of explain is there with stage, severity and remedy', (t) => {
  const told = Object.entries(PROBLEM_CODES).map(([code, { stage, severity, remedy }]) => {
    const what = remedy === undefined ? '' : `: ${remedy}`;
    return `\`${code}\` (${stage}, ${severity})${what}.`;
  });
  t.deepEqual(entriesBelow('Codes of explain'), told);
});

test('each kind of failure has the exit status that is told', async (t) => {
  const told = entriesBelow('Exit statuses').map((entry) => Number(entry.split(':')[0]));
  t.deepEqual(told, [0, 1, 2]);
  const edges = { stdout: () => true, stderr: () => undefined };
  const cases: [number, ...string[]][] = [
    [0, '--help'],
    [0, 'completion', 'bash'],
    [1, 'status', '--socket', '/nowhere'],
    [1, 'list', 'no-such-pod', '--socket', '/nowhere'],
    [2, 'no-such-command'],
    [2, 'list', '--no-such-option'],
    [2, 'history'],
    [2, 'history', 'pod', '--minutes', '0'],
    [2, 'status', '--watch', '0'],
    [2, 'completion', 'csh'],
    [2, 'run', '--config', '/nowhere'],
    [2, 'run', '--horizon-ms', '0'],
    [2, 'set', 'pod', '--egress', '--rate', 'fast'],
    [2, 'install', '--wait', 'long'],
  ];
  for (const [status, ...argv] of cases) t.is(await runCli(argv, edges), status, argv.join(' '));
});
