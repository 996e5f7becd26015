// Settings of podpaced on the command line: a file, and flags that win over it.

import fs from 'node:fs';
import { Option, type Command } from 'commander';
import {
  ConfigError,
  FLAGS,
  mergeConfig,
  parseConfigFile,
  readSettings,
  type HelperConfig,
} from '../config.ts';

export interface RunFlags {
  readonly config?: string;
  readonly [flag: string]: unknown;
}

/** Settings of `run`, `probe` and `uninstall`: defaults, then the file, then flags. */
export function loadConfig({ config, ...flags }: RunFlags): HelperConfig {
  let fromFile: Partial<HelperConfig> = {};
  if (config !== undefined) {
    let text: string;
    try {
      text = fs.readFileSync(config, 'utf8');
    } catch (error) {
      throw new ConfigError(`Cannot read the configuration: ${(error as Error).message}`);
    }
    try {
      fromFile = parseConfigFile(text);
    } catch (error) {
      throw new ConfigError(`Cannot use ${config}: ${(error as Error).message}`);
    }
  }
  return mergeConfig(fromFile, readSettings(flags));
}

function collect(value: string, previous: readonly string[] | undefined): string[] {
  return [...(previous ?? []), value];
}

export function addSettings(command: Command): Command {
  command.option('--config <file>', 'JSON file with these settings; flags win over it');
  for (const { flag, help, isRepeatable, choices } of FLAGS) {
    const option = new Option(flag, help);
    if (isRepeatable) option.argParser(collect);
    // Not choices(): what cannot be used is refused as in the file.
    if (choices !== undefined) option.argChoices = [...choices];
    command.addOption(option);
  }
  return command;
}
