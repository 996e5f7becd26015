import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { getPriority, setPriority, tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { ensureBaseInitramfs } from '../initramfs.ts';
import type { Kernel } from '../kernels.ts';
import { buildDirectory, projectRoot } from '../paths.ts';
import type { Architecture } from '../target.ts';
import { Child } from './child.ts';
import { sessionInitramfs } from './guest.ts';
import { portNames, qemuCommand } from './qemu.ts';
import type { Accelerator } from './qemu.ts';
import { relayUntil } from './relay.ts';

/**
 * How the folder of a VM in the temporary folder is named: it stands in the command lines of what
 * serves the VM.
 */
export const SCRATCH_PREFIX = 'podpace-vm-';

/** One command to run in a VM of its own. */
export interface VmRequest {
  architecture: Architecture;
  /**
   * The directory of this machine that the VM has as its root, `/` or one with programs for its
   * processor. This machine's own tree is there, too, under its own path.
   */
  root: string;
  kernel: Kernel;
  accelerator: Accelerator;
  countsInstructions: boolean;
  skipsIdleTime: boolean;
  hasNetwork: boolean;
  cpus: number;
  memoryMib: number;
  command: readonly string[];
  /** Working directory of the command, a path of the machine. */
  cwd: string;
  /** The command's whole environment. */
  environment: Readonly<Record<string, string>>;
  stdout: Writable;
  stderr: Writable;
}

const VIRTIOFSD = '/usr/lib/qemu/virtiofsd';
const POLL_MS = 5;
const SOCKET_WAIT_MS = 10_000;
const BOOT_WAIT_MS = 120_000;
const CONSOLE_LINES = 20;

/**
 * Boots a VM over this machine's files, runs the command in it and returns its exit status.
 * Whatever happens, the VM is gone afterwards. Throws the signal's reason when aborted, and an
 * Error with the end of the guest's console, whose log is then kept, when the VM does not come up
 * or goes down before the command has ended.
 */
export async function runInVm(request: VmRequest, signal: AbortSignal): Promise<number> {
  signal.throwIfAborted();
  const scratch = await mkdtemp(join(tmpdir(), SCRATCH_PREFIX));
  const logDirectory = join(buildDirectory, 'vm');
  await mkdir(logDirectory, { recursive: true });
  const consoleLogPath = join(logDirectory, `console-${process.pid}.log`);
  const children: Child[] = [];
  const aborted = new Promise<never>((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
  let keepLog = false;
  try {
    const session = runSession({ ...request, scratch, consoleLogPath, children, signal });
    return await Promise.race([aborted, session]);
  } catch (error) {
    signal.throwIfAborted();
    keepLog = true;
    const reason = error instanceof Error ? error.message : String(error);
    const tail = await consoleTail(consoleLogPath);
    throw new Error(`Cannot run the command in a VM: ${reason}${tail}`, { cause: error });
  } finally {
    await Promise.all(children.map((child) => child.kill()));
    await rm(scratch, { recursive: true, force: true });
    if (!keepLog) await rm(consoleLogPath, { force: true });
  }
}

/** A request with what one run of it needs besides. */
interface Session extends VmRequest {
  /** Folder for the files that must be there while the VM boots. */
  scratch: string;
  consoleLogPath: string;
  /** Gets every process as it is started. */
  children: Child[];
  signal: AbortSignal;
}

async function runSession(session: Session): Promise<number> {
  const { kernel, root, scratch, children } = session;
  const fileSystemSocket = join(scratch, 'files.sock');
  const initramfsPath = join(scratch, 'initramfs.cpio');
  // A leading control character: ordinary output never looks like the beginning of the mark.
  const endMark = `\x1e${randomBytes(16).toString('hex')}`;

  // cache=always: else the guest would read every file anew at each opening. What the machine
  // changes meanwhile may stay unseen in the guest; what the guest writes is seen on the machine at
  // once.
  const sharing = 'source=/,sandbox=chroot,cache=always';
  const files = new Child([VIRTIOFSD, '-o', sharing, `--socket-path=${fileSystemSocket}`]);
  children.push(files);
  const { modulesDirectory } = kernel;
  const guest = await sessionInitramfs({
    ...session,
    endMark,
    treeDirectory: projectRoot,
    modulesDirectory,
  });
  await writeFile(initramfsPath, Buffer.concat([await ensureBaseInitramfs(kernel, root), guest]));
  await waitForSocket(fileSystemSocket, files);

  session.signal.throwIfAborted();
  const machine = new Child(
    qemuCommand({ ...session, initramfsPath, fileSystemSocket }),
    portNames.length,
  );
  children.push(machine);
  const [stdout, stderr, control] = machine.ports as [Readable, Readable, Readable];
  const onStarted = (): void => {
    // Nobody needs the folder any more, and nothing would remove it if this process were killed.
    rmSync(scratch, { recursive: true, force: true });
    passNiceness(machine.pid);
  };
  const done = Promise.all([
    readStatus(control, onStarted),
    relayUntil(endMark, stdout, session.stdout),
    relayUntil(endMark, stderr, session.stderr),
  ]);
  const died = Promise.race([machine.ended, files.ended]).then(failWith);
  const [status] = await Promise.race([done, died]);
  return status;
}

/**
 * Gives QEMU the niceness of this process: its threads begin at 0, whatever its own is, because its
 * first goes before all others (PROMPT_TIMERS). And where the kernel groups processes by session
 * (sched_autogroup), only that of the group counts.
 */
function passNiceness(pid: number | undefined): void {
  const niceness = getPriority();
  if (pid === undefined || niceness === 0) return;
  for (const thread of readdirSync(`/proc/${pid}/task`)) setPriority(Number(thread), niceness);
  const group = `/proc/${pid}/autogroup`;
  if (existsSync(group)) writeFileSync(group, String(niceness));
}

/**
 * Reads the control port: `started` when the root file system stands, `ended STATUS` when all is
 * over.
 */
async function readStatus(control: Readable, onStarted: () => void): Promise<number> {
  const tooLate = setTimeout(() => {
    control.destroy(new Error(`the guest did not start within ${BOOT_WAIT_MS / 1000} s`));
  }, BOOT_WAIT_MS);
  try {
    let text = '';
    for await (const chunk of control as AsyncIterable<Buffer>) {
      text += chunk.toString('latin1');
      if (text === 'started\n') {
        clearTimeout(tooLate);
        onStarted();
      }
      const status = /^ended (\d+)\n/m.exec(text)?.[1];
      if (status !== undefined) return Number(status);
    }
  } finally {
    clearTimeout(tooLate);
  }
  // QEMU is going down: how it ended says more than the end of this stream.
  return await new Promise<never>(() => {});
}

async function waitForSocket(path: string, server: Child): Promise<void> {
  const giveUp = AbortSignal.timeout(SOCKET_WAIT_MS);
  while (!existsSync(path)) {
    if (giveUp.aborted)
      throw new Error(`Cannot share this machine's files: ${VIRTIOFSD} opened no socket`);
    const ending = await Promise.race([delay(POLL_MS, undefined), server.ended]);
    if (ending !== undefined) throw new Error(ending);
  }
}

function failWith(message: string): never {
  throw new Error(message);
}

async function consoleTail(path: string): Promise<string> {
  if (!existsSync(path)) return '';
  const lines = (await readFile(path, 'utf8')).replaceAll('\r', '').trimEnd().split('\n');
  return `\nThe end of the guest's console, ${path}:\n${lines.slice(-CONSOLE_LINES).join('\n')}`;
}
