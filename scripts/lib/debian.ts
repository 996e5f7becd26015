import { existsSync } from 'node:fs';
import { delimiter, isAbsolute, join } from 'node:path';
import { packageContents } from './needs.ts';
import { capture, CommandError, succeeds } from './process.ts';
import type { RunOptions } from './process.ts';
import { say, step } from './progress.ts';

/** Commands of a Debian system that provisioning is built on. */
const DEBIAN_COMMANDS = ['apt-get', 'apt-cache', 'dpkg-query', 'dpkg-deb'];

/** Nothing may ask: not debconf, not dpkg about configuration files, not needrestart. */
const QUIET_ENVIRONMENT = {
  DEBIAN_FRONTEND: 'noninteractive',
  DEBCONF_NONINTERACTIVE_SEEN: 'true',
  NEEDRESTART_MODE: 'l',
  LC_ALL: 'C.UTF-8',
} as const;

const APT_OPTIONS = [
  '-o=DPkg::Lock::Timeout=300',
  '-o=Acquire::Retries=3',
  '-o=Dpkg::Options::=--force-confdef',
  '-o=Dpkg::Options::=--force-confold',
  // apt's own download user cannot write into a folder of root's.
  '-o=APT::Sandbox::User=root',
  '-o=Dpkg::Use-Pty=0',
];

/** Runs apt-get so that it never asks and waits for another apt to finish. Throws CommandError. */
export function aptGet(args: readonly string[], options: RunOptions = {}): Promise<string> {
  return capture('apt-get', [...APT_OPTIONS, ...args], {
    ...options,
    env: { ...QUIET_ENVIRONMENT, ...options.env },
  });
}

/** Reads the newest package lists of the machine's configured sources. */
export async function updatePackageLists(): Promise<void> {
  await step('Reading Debian package lists', (report) => aptGet(['update'], { onLine: report }));
}

/**
 * Runs an apt job; when it fails because the machine's package lists are missing or name files
 * which the mirror has replaced since, reads the lists anew and runs it once more.
 */
export async function withFreshLists<T>(job: () => Promise<T>): Promise<T> {
  try {
    return await job();
  } catch (error) {
    // No status: a signal ended it, and whoever sent that wants no second try.
    if (!(error instanceof CommandError) || error.status === undefined) throw error;
    await updatePackageLists();
    return await job();
  }
}

/**
 * Installs those of the named Debian packages that are missing, without recommended ones and
 * without asking. On another distribution installs nothing, and throws an Error that names each
 * command or file that is missing. Throws an Error too when something is to be installed and this
 * process is not root.
 */
export async function ensurePackages(packages: readonly string[]): Promise<void> {
  if (!isDebian()) {
    const absent = packages.filter((name) => !isPresent(packageContents[name] ?? name));
    if (absent.length === 0) return;
    const wanted = absent.map(
      (name) => `${packageContents[name] ?? name} (in Debian's package ${name})`,
    );
    throw new Error(
      `Cannot install what is missing without Debian's apt-get; install ${wanted.join(', ')}`,
    );
  }
  const missing = await missingPackages(packages);
  if (missing.length === 0) return;
  requireRoot(`install ${missing.join(' ')}`);
  if (!(await succeeds('apt-get', ['install', '--simulate', ...missing])))
    await updatePackageLists();
  say(`Debian packages missing here: ${missing.join(' ')}`);
  await withFreshLists(() =>
    step(`Installing ${missing.length} Debian packages`, (report) =>
      aptGet(['install', '--yes', '--no-install-recommends', ...missing], { onLine: report }),
    ),
  );
}

/** Those of the packages that dpkg does not know as installed, in the order given. */
async function missingPackages(packages: readonly string[]): Promise<string[]> {
  const known = await capture('dpkg-query', [
    '--show',
    '--showformat=${Package} ${db:Status-Status}\\n',
  ]);
  const lines = new Set(known.split('\n'));
  return packages.filter((name) => !lines.has(`${name} installed`));
}

/**
 * Throws an Error naming the action where packages cannot be fetched, on another distribution than
 * Debian.
 */
export function requireDebian(action: string): void {
  if (!isDebian())
    throw new Error(
      `Cannot ${action}: this system has no ${DEBIAN_COMMANDS.join(', ')}; use Debian 12`,
    );
}

/** Throws an Error naming the action unless this process is root. */
export function requireRoot(action: string): void {
  if (process.getuid?.() !== 0)
    throw new Error(`Cannot ${action}: not root; run this again with sudo`);
}

function isDebian(): boolean {
  return DEBIAN_COMMANDS.every(isPresent);
}

/**
 * Whether an absolute path is there, or a command is, on PATH or where administrators' commands are
 * kept.
 */
function isPresent(pathOrCommand: string): boolean {
  if (isAbsolute(pathOrCommand)) return existsSync(pathOrCommand);
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return folders.some((folder) => existsSync(join(folder, pathOrCommand)));
}
