// What may stand at the cursor of a command line, by commander's own tree of commands. The scripts
// of the shells (helper/commands/completion.ts) only hand the words over, so they hold for every
// release. Pure.

import type { Argument, Command, Option } from 'commander';

/** A word, and what a shell may show beside it. */
export interface Candidate {
  readonly word: string;
  readonly help: string;
}

/** What a shell or the helper has to be asked for. */
export type Source = 'files' | 'directories' | 'pods' | 'all pods';

export interface Completion {
  readonly candidates: readonly Candidate[];
  readonly source?: Source;
  /** As the words before have it. */
  readonly socket?: string;
}

/** Commands of pods that need not have a cap. */
const OF_ALL_PODS: ReadonlySet<string> = new Set(['set']);

interface Position {
  readonly command: Command;
  /** Whose command it is. */
  readonly parent: Command;
  /** Arguments that stand before. */
  readonly given: number;
  /** The option whose value comes next. */
  readonly awaiting?: Option;
  /** Behind "--", where nothing is an option. */
  readonly isRest: boolean;
  readonly hasAll: boolean;
  readonly socket?: string;
}

function visibleCommands(command: Command): Command[] {
  return command.createHelp().visibleCommands(command);
}

function visibleOptions(command: Command): Option[] {
  return command.createHelp().visibleOptions(command);
}

/** One word further, as commander reads it. */
function step(at: Position, word: string): Position {
  const { awaiting, ...position } = at;
  if (word === '=' && awaiting !== undefined) return at;
  if (awaiting !== undefined && (awaiting.required || !word.startsWith('-')))
    return awaiting.long === '--socket' ? { ...position, socket: word } : position;
  if (position.isRest) return { ...position, given: position.given + 1 };
  if (word === '--') return { ...position, isRest: true };
  if (word.startsWith('-')) {
    const [name = '', value] = word.split('=', 2);
    const option = visibleOptions(position.command).find(
      ({ long, short }) => long === name || short === name,
    );
    const next = { ...position, hasAll: position.hasAll || name === '--all' };
    if (option?.long === '--socket' && value !== undefined) return { ...next, socket: value };
    const takesNext = option !== undefined && value === undefined && !option.isBoolean();
    return takesNext ? { ...next, awaiting: option } : next;
  }
  const command = visibleCommands(position.command).find((one) => one.name() === word);
  return command === undefined
    ? { ...position, given: position.given + 1 }
    : { ...position, parent: position.command, command, given: 0 };
}

function choicesOf({ argChoices, description }: Option | Argument): Candidate[] {
  return (argChoices ?? []).map((word) => ({ word, help: description }));
}

/** What stands for a value in the flags of an option: `<file>`. */
function sourceOfValue({ flags }: Option): Source | undefined {
  if (/[<[](file|path)[>\]]$/.test(flags)) return 'files';
  return /[<[]dir[>\]]$/.test(flags) ? 'directories' : undefined;
}

function completeOption(option: Option, prefix = ''): Omit<Completion, 'socket'> {
  const source = sourceOfValue(option);
  const candidates = choicesOf(option).map(({ word, help }) => ({ word: prefix + word, help }));
  return { candidates, ...(source !== undefined && prefix === '' && { source }) };
}

function completeArgument(position: Position): Omit<Completion, 'socket'> {
  const { command, parent, given, hasAll } = position;
  // Commander's own knows neither its parent nor what its argument may be.
  if (command.name() === 'help') return { candidates: given === 0 ? commandsOf(parent) : [] };
  const argument = command.registeredArguments[given];
  if (argument === undefined) return { candidates: given === 0 ? commandsOf(command) : [] };
  if (!argument.name().startsWith('pod')) return { candidates: choicesOf(argument) };
  const isOfAll = hasAll || OF_ALL_PODS.has(command.name());
  return { candidates: [], source: isOfAll ? 'all pods' : 'pods' };
}

function commandsOf(command: Command): Candidate[] {
  return visibleCommands(command).map((one) => ({ word: one.name(), help: one.description() }));
}

function optionsOf(command: Command): Candidate[] {
  return visibleOptions(command).map(({ long, short, description }) => ({
    word: long ?? short ?? '',
    help: description,
  }));
}

function completeAt(position: Position, current: string): Omit<Completion, 'socket'> {
  const { command, awaiting, isRest } = position;
  if (awaiting !== undefined && (awaiting.required || !current.startsWith('-')))
    return completeOption(awaiting);
  if (isRest || !current.startsWith('-')) {
    const found = completeArgument(position);
    const isNothing = found.candidates.length === 0 && found.source === undefined;
    return isNothing && !isRest ? { candidates: optionsOf(command) } : found;
  }
  const [, name] = /^(--[\w-]+)=/.exec(current) ?? [];
  if (name === undefined) return { candidates: optionsOf(command) };
  const option = visibleOptions(command).find(({ long, short }) => long === name || short === name);
  return option === undefined ? { candidates: [] } : completeOption(option, `${name}=`);
}

/**
 * What may stand at the cursor: the last of these words, those behind the program's name. Bash
 * makes three words of `--socket=PATH`.
 */
export function complete(program: Command, words: readonly string[]): Completion {
  const last = words.at(-1) ?? '';
  const current = last === '=' ? '' : last;
  const start = { command: program, parent: program, given: 0, isRest: false, hasAll: false };
  const position = words.slice(0, last === '=' ? words.length : -1).reduce<Position>(step, start);
  const { candidates, source } = completeAt(position, current);
  return {
    candidates: candidates.filter(({ word }) => word.startsWith(current)),
    ...(source !== undefined && { source }),
    ...(position.socket !== undefined && { socket: position.socket }),
  };
}
