// The manual pages of a release have what --help has, and mandoc finds no fault with them.

import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import test from 'ava';
import { ErrorCode } from '../../../../../cni/types.ts';
import { buildProgram } from '../../../../../helper/cli.ts';
import { codesIn, helperPage, pluginPage } from '../../../../../scripts/lib/release/man-pages.ts';

const README = fs.readFileSync(
  path.resolve(import.meta.dirname, '../../../../../README.md'),
  'utf8',
);
const program = buildProgram({ stdout: () => true, stderr: () => undefined }, () => undefined);
const PAGES = { podpace: pluginPage(README, '1.2.3'), podpaced: helperPage(program, '1.2.3') };

const hasMandoc = spawnSync('mandoc', ['-Tlint'], { input: '' }).error === undefined;
// The tier installs it.
const withMandoc = hasMandoc ? test : test.skip;

function read(page: string, ...flags: string[]): string {
  const { stdout } = spawnSync('mandoc', flags, { input: page, encoding: 'utf8' });
  return stdout;
}

/** As a terminal shows it, in one line. */
function shown(page: string): string {
  const text = read(page, '-Tutf8', '-Owidth=500');
  // Bold is a character, a backspace and the character again.
  const characters = text.split('\b').map((part, index, all) => {
    return index < all.length - 1 ? part.slice(0, -1) : part;
  });
  return characters.join('').replaceAll(/\s+/g, ' ');
}

withMandoc('mandoc has nothing to say of the pages but that they have no date', (t) => {
  for (const page of Object.values(PAGES)) {
    const lines = read(page, '-Tlint', '-Wwarning').split('\n');
    const others = lines.filter((line) => line !== '' && !/missing date|date missing/.test(line));
    t.deepEqual(others, []);
  }
});

withMandoc('every command, argument and option is shown with its help', (t) => {
  const text = shown(PAGES.podpaced);
  const help = program.createHelp();
  let told = 0;
  for (const command of help.visibleCommands(program).filter((one) => one.name() !== 'help')) {
    t.true(text.includes(`podpaced ${command.name()} ${command.usage()}`), command.name());
    for (const option of help.visibleOptions(command)) {
      const entry = `${help.optionTerm(option)} ${help.optionDescription(option)}`;
      t.true(text.includes(entry), entry);
      told += 1;
    }
    for (const one of help.visibleArguments(command))
      t.true(text.includes(`${help.argumentTerm(one)} ${help.argumentDescription(one)}`));
  }
  t.true(told > 100);
});

withMandoc('both pages tell what each exit status means, podpace each code', (t) => {
  const [plugin, helper] = [shown(PAGES.podpace), shown(PAGES.podpaced)];
  t.regex(helper, /EXIT STATUS 0 .* 1 It failed.* 2 The arguments/);
  t.regex(plugin, /EXIT STATUS 0 .* 1 It failed/);
  for (const { codes, remedy } of codesIn(README)) {
    t.true(plugin.includes(` ${codes} `));
    t.true(plugin.includes(`What to do: ${remedy.replaceAll('`', '')}.`), codes);
  }
});

test('a code that README does not tell of makes no page', (t) => {
  const row = /^\| 50 .*\n/m;
  t.regex(README, row);
  t.throws(() => pluginPage(README.replace(row, ''), '1.2.3'), {
    message: new RegExp(`no row for ${ErrorCode.notAvailable} `),
  });
});

test('text that roff would obey is text', (t) => {
  const hostile = buildProgram({ stdout: () => true, stderr: () => undefined }, () => undefined);
  hostile.command('odd').description('.so /etc/passwd').option('--path <x>', "'quoted \\fB");
  const page = helperPage(hostile, '1.2.3');
  t.true(page.includes('\n\\&.so /etc/passwd.\n'));
  t.true(page.includes("\n\\&'quoted \\efB\n"));
});
