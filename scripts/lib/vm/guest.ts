import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { directory, executable, writeCpio } from '../cpio.ts';

/** What one run puts into the VM. */
export interface GuestSession {
  command: readonly string[];
  /** Working directory of the command, a path of the machine. */
  cwd: string;
  /** The command's whole environment. */
  environment: Readonly<Record<string, string>>;
  /** The folder of the machine that is the VM's root. */
  root: string;
  /** The tree whose files are written through to the machine. */
  treeDirectory: string;
  /** Folder of the machine with the guest kernel's modules. */
  modulesDirectory: string;
  /** Closes each output stream; must not occur in the output. */
  endMark: string;
}

/**
 * The part of the initramfs that is made for one run: init.sh, session.sh, the command and its
 * surroundings.
 */
export async function sessionInitramfs(session: GuestSession): Promise<Buffer> {
  const script = (name: string): Promise<Buffer> => readFile(join(import.meta.dirname, name));
  return writeCpio([
    executable('init', await script('init.sh')),
    directory('vm'),
    executable('vm/session.sh', await script('session.sh')),
    executable('vm/command.sh', commandScript(session)),
    executable('vm/settings', settingsScript(session)),
  ]);
}

/** Shell text that becomes the command, in its directory and with nothing but its environment. */
export function commandScript(
  session: Pick<GuestSession, 'command' | 'cwd' | 'environment'>,
): string {
  const environment = Object.entries(session.environment).map(
    ([name, value]) => `${name}=${value}`,
  );
  const words = ['env', '-i', ...environment, ...session.command].map(shellQuote).join(' ');
  return `cd ${shellQuote(session.cwd)} || exit 126\nexec ${words}\n`;
}

/** The text as one word of a POSIX shell. */
export function shellQuote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function settingsScript(session: GuestSession): string {
  const settings = {
    root: session.root === '/' ? '' : session.root,
    tree: session.treeDirectory,
    modules: session.modulesDirectory,
    end_mark: session.endMark,
  };
  return Object.entries(settings)
    .map(([name, value]) => `${name}=${shellQuote(value)}\n`)
    .join('');
}

/** Folders that the VM has of its own, as init.sh makes them; the machine's are not seen. */
export const ownFolders = ['/tmp', '/run', '/proc', '/sys', '/dev'] as const;

const PASSED_VARIABLES: ReadonlySet<string> = new Set(['PATH', 'HOME', 'TERM', 'LANG', 'CI']);
const ADMIN_FOLDERS = [
  '/usr/local/sbin',
  '/usr/sbin',
  '/sbin',
  '/usr/local/bin',
  '/usr/bin',
  '/bin',
];

/** The variables that a command in the VM gets: a few of the caller's and all named PODPACE_*. */
export function guestEnvironment(callers: NodeJS.ProcessEnv): Record<string, string> {
  const passed = Object.entries(callers).flatMap(([name, value]) =>
    value !== undefined && (PASSED_VARIABLES.has(name) || name.startsWith('PODPACE_'))
      ? [[name, value]]
      : [],
  );
  const environment: Record<string, string> = {
    HOME: '/root',
    PATH: '',
    ...Object.fromEntries(passed),
  };
  const folders = environment['PATH']?.split(':').filter(Boolean) ?? [];
  environment['PATH'] = [...new Set([...folders, ...ADMIN_FOLDERS])].join(':');
  return environment;
}
