// The manual pages of a release: what --help says of each command, and what the plugin's codes
// mean, in the macros of man(7). Pure.

import type { Command } from 'commander';
import { ErrorCode, SUPPORTED_VERSIONS } from '../../../cni/types.ts';

/** Text as roff prints it: nothing in it is a request or an escape. */
function plain(text: string): string {
  const escaped = text.replaceAll('\\', '\\e').replaceAll('-', '\\-');
  return escaped.replaceAll(/^(?=[.'])/gm, '\\&');
}

/** A bold tag and what it means. */
function tagged(tag: string, meaning: string): string[] {
  return ['.TP', `\\fB${plain(tag)}\\fR`, plain(meaning)];
}

function header(name: string, version: string): string {
  return `.TH ${name.toUpperCase()} 8 "" "podpace ${version}" "System Administration"`;
}

function sectionOf(command: Command, parent: Command): string[] {
  const help = command.createHelp();
  const options = help
    .visibleOptions(command)
    .flatMap((option) => tagged(help.optionTerm(option), help.optionDescription(option)));
  const described = help
    .visibleArguments(command)
    .flatMap((one) => tagged(help.argumentTerm(one), help.argumentDescription(one)));
  const usage = `${parent.name()} ${command.name()} ${command.usage()}`;
  const about = help.commandDescription(command);
  const first = about.charAt(0).toUpperCase() + about.slice(1);
  return [`.SS "${plain(usage)}"`, plain(`${first}.`), ...described, ...options];
}

const EXIT_STATUS = [
  '.SH EXIT STATUS',
  ...tagged('0', 'It is done, and nothing that was asked about is missing or degraded.'),
  ...tagged('1', 'It failed, or something is missing or degraded.'),
  ...tagged('2', 'The arguments, the configuration or a value in them cannot be used.'),
];

/** podpaced(8), of the tree of its commands. */
export function helperPage(program: Command, version: string): string {
  const commands = program
    .createHelp()
    .visibleCommands(program)
    .filter((command) => command.name() !== 'help');
  const lines = [
    ...[header('podpaced', version), '.SH NAME'],
    plain(`podpaced - ${program.description().replace(/^\w/, (first) => first.toLowerCase())}`),
    ...['.SH SYNOPSIS', '\\fBpodpaced\\fR \\fIcommand\\fR [\\fIoptions\\fR]', '.SH COMMANDS'],
    ...commands.flatMap((command) => sectionOf(command, program)),
    ...[...EXIT_STATUS, '.SH SEE ALSO', '\\fBpodpace\\fR(8), \\fBtc\\-fq\\fR(8)'],
  ];
  return `${lines.join('\n')}\n`;
}

/** A row of README's table of codes. */
interface CodeRow {
  readonly codes: string;
  readonly failed: string;
  readonly remedy: string;
}

/** README's table of codes. Throws an Error where one of the plugin's is not in it. */
export function codesIn(readme: string): CodeRow[] {
  const [, table = ''] = readme.split(/^\| code .*\n.*\n/m);
  const rows = (table.split('\n\n')[0] ?? '').split('\n').map((line) => {
    const [, codes = '', failed = '', remedy = ''] = line.split('|').map((cell) => cell.trim());
    return { codes, failed, remedy };
  });
  const told = new Set(rows.flatMap(({ codes }) => codes.split(',').map(Number)));
  const untold = Object.values(ErrorCode).filter((code) => !told.has(code));
  if (untold.length === 0) return rows;
  throw new Error(`README has no row for ${untold.join(', ')} in its table of codes`);
}

/** podpace(8), with README's table of codes. */
export function pluginPage(readme: string, version: string): string {
  const lines = [
    ...[header('podpace', version), '.SH NAME'],
    plain('podpace - CNI plugin that gives pods their bandwidth caps'),
    ...['.SH SYNOPSIS', '\\fBCNI_COMMAND\\fR=\\fIcommand\\fR \\fBpodpace\\fR < \\fInetwork\\fR'],
    '.SH DESCRIPTION',
    plain(
      `A container runtime starts it as the CNI specification says (${SUPPORTED_VERSIONS.join(', ')}). ` +
        'It asks podpaced, which has to run, to hold the caps of a pod. Without CNI_COMMAND it prints its version.',
    ),
    '.SH EXIT STATUS',
    ...tagged('0', 'It is done; what the specification asks for is on standard output.'),
    ...tagged('1', 'It failed; standard output has an error object with one of these codes.'),
    '.SH ERRORS',
    plain("A delegated plugin's error is passed on as it is."),
    ...codesIn(readme).flatMap(({ codes, failed, remedy }) =>
      tagged(codes, `${failed}. What to do: ${remedy}.`.replaceAll('`', '')),
    ),
    ...['.SH SEE ALSO', '\\fBpodpaced\\fR(8)'],
  ];
  return `${lines.join('\n')}\n`;
}
