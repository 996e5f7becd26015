// `podpaced install`, as an operator sees it.

import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import { ConfigError } from '../config.ts';
import { install, type Installed, type InstallOptions } from '../install/install.ts';
import type { Removed } from '../install/remove.ts';
import { HelperError } from '../protocol/client.ts';
import { DEFAULT_SOCKET } from '../protocol/state-files.ts';
import { VERSION } from '../version.ts';

/** What the command needs of the program that it belongs to. */
export interface InstallContext {
  /** Asks the helper at a socket whether it serves. Throws HelperError. */
  readonly askHelper: (socket: string) => Promise<unknown>;
  readonly print: (isJson: boolean | undefined, result: object, text: () => string) => void;
}

interface InstallFlags {
  readonly root: string;
  readonly plugin?: string;
  readonly binDir?: string;
  readonly confDir?: string;
  /** Commander: false with --no-list. */
  readonly list: string | boolean;
  readonly ownList?: string;
  readonly socket: string;
  readonly wait: string;
  readonly withoutHelper?: true;
  readonly downgrade?: true;
  readonly dryRun?: true;
  readonly json?: true;
}

const PAUSE_MS = 200;

/** Waits for a helper that serves. Throws Error with the remedy. */
async function waitForHelper(
  socket: string,
  seconds: number,
  askHelper: InstallContext['askHelper'],
): Promise<void> {
  const endMs = performance.now() + seconds * 1000;
  for (;;) {
    try {
      await askHelper(socket);
      return;
    } catch (error) {
      if (!(error instanceof HelperError)) throw error;
      const isComing = error.isAbsent || error.failure === 'closed';
      if (!isComing || performance.now() >= endMs)
        throw new Error(
          `Cannot install: no helper serves, so pods with caps could not be added (${error.reason}); start podpaced ` +
            '(podpaced run), wait for longer (--wait), or pass --without-helper',
          { cause: error },
        );
    }
    await sleep(PAUSE_MS);
  }
}

function secondsOf(text: string): number {
  const seconds = Number(text);
  if (text.trim() !== '' && seconds >= 0 && seconds <= 3600) return seconds;
  throw new ConfigError(`"--wait" must be a number from 0 to 3600, got "${text}"`);
}

function requireAbsolute(flag: string, value: string | undefined): void {
  if (value === undefined || value.startsWith('/')) return;
  throw new ConfigError(`"${flag}" must be an absolute path, got "${value}"`);
}

function optionsOf({
  root,
  binDir,
  confDir,
  list,
  ownList,
  socket,
  ...flags
}: InstallFlags): InstallOptions {
  for (const [flag, value] of Object.entries({
    ...{ '--root': root, '--bin-dir': binDir, '--conf-dir': confDir, '--socket': socket },
  }))
    requireAbsolute(flag, value);
  if (ownList !== undefined && typeof list === 'string')
    throw new ConfigError('"--list" and "--own-list" cannot be used together');
  return {
    ...{ root, isPluginOnly: list === false },
    plugin: flags.plugin ?? process.execPath,
    mayDowngrade: flags.downgrade ?? false,
    isDryRun: flags.dryRun ?? false,
    ...(binDir !== undefined && { binDir }),
    ...(confDir !== undefined && { confDir }),
    ...(typeof list === 'string' && { list }),
    ...(ownList !== undefined && { ownList }),
    ...(socket !== DEFAULT_SOCKET && { socket }),
  };
}

function describePlugin({ isDryRun, plugin }: Installed): string {
  const { file, release, did, formerRelease } = plugin;
  const of = `podpace ${release}`;
  if (did === 'there already') return `${file}: ${of} is there already`;
  const former = did === 'copied' ? '' : `, instead of ${formerRelease ?? 'what does not run'}`;
  return `${file}: ${of}${former}${isDryRun ? ' would be put there' : ''}`;
}

/** What `install` did, or would do. */
function renderInstalled(result: Installed): string {
  const { isDryRun, libraries, list, isListChanged, why, difference } = result;
  const came = libraries.map(
    (file) => `${file}: a library of the plugin${isDryRun ? ' would be put there' : ''}`,
  );
  const lines = [...why, ...came, describePlugin(result)];
  if (list !== undefined)
    lines.push(
      isListChanged
        ? `${list}: ${isDryRun ? 'would be changed' : 'changed'}`
        : `${list}: nothing to change`,
    );
  return [...lines, ...(difference === '' ? [] : ['', difference.trimEnd()])].join('\n');
}

/** What `uninstall` took away of what was installed. */
export function renderRemoved({ changed }: Removed): string {
  return changed.length === 0
    ? 'Nothing of what was installed was there any more.'
    : `Took podpace out of ${changed.join(', ')}.`;
}

export function addInstall(program: Command, { askHelper, print }: InstallContext): void {
  program
    .command('install')
    .description(
      'put the plugin where the runtime looks for it, and podpace into its network list; uninstall undoes it',
    )
    .option(
      '--root <dir>',
      "where the node's root is mounted; other paths but --plugin and --own-list are the node's",
      '/',
    )
    .option('--plugin <file>', 'the plugin (default: this executable, which is both)')
    .option('--bin-dir <dir>', "where the runtime looks for plugins (default: its configuration's)")
    .option('--conf-dir <dir>', "where it has its network lists (default: its configuration's)")
    .option('--list <name>', 'the file to add podpace to (default: the one that the runtime takes)')
    .option('--no-list', 'only the plugin; podpaced run --cni-conf-dir puts it into a list')
    .option('--own-list <file>', 'write this list, instead of adding podpace to one that is there')
    .option('--socket <path>', 'unix socket of the helper', DEFAULT_SOCKET)
    .option('--wait <seconds>', 'how long to wait for the helper', '30')
    .option('--without-helper', 'although no helper serves')
    .option('--downgrade', 'although a newer plugin is there')
    .option('--dry-run', 'print what would be changed, and change nothing')
    .option('--json', 'print JSON')
    .action(async ({ json, wait, ...flags }: InstallFlags) => {
      const options = optionsOf({ ...flags, wait });
      const seconds = secondsOf(wait);
      const requireHelper = async (): Promise<void> => {
        if (flags.withoutHelper !== true) await waitForHelper(flags.socket, seconds, askHelper);
      };
      const result = await install(options, { release: VERSION, requireHelper });
      print(json, result, () => renderInstalled(result));
    });
}
