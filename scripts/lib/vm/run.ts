import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { ensureBaseInitramfs } from '../initramfs.ts';
import type { Kernel } from '../kernels.ts';
import { buildDirectory, projectRoot } from '../paths.ts';
import { Child } from './child.ts';
import { sessionInitramfs } from './guest.ts';
import { qemuCommand } from './qemu.ts';
import type { Accelerator } from './qemu.ts';
import { relayUntil } from './relay.ts';

/** One command to run in a VM of its own. */
export interface VmRequest {
  kernel: Kernel;
  accelerator: Accelerator;
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
 * Boots a VM over this machine's files, runs the command in it and returns its exit status. Whatever happens, the
 * VM is gone afterwards. Throws the signal's reason when aborted, and an Error with the end of the guest's
 * console when the VM does not come up or goes down before the command has ended.
 */
export async function runInVm(request: VmRequest, signal: AbortSignal): Promise<number> {
  signal.throwIfAborted();
  const scratch = await mkdtemp(join(tmpdir(), 'podpace-vm-'));
  const children: Child[] = [];
  const aborted = new Promise<never>((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
  try {
    return await Promise.race([aborted, runSession(request, scratch, children)]);
  } finally {
    await Promise.all(children.map((child) => child.kill()));
    await rm(scratch, { recursive: true, force: true });
  }
}

async function runSession(request: VmRequest, scratch: string, children: Child[]): Promise<number> {
  const { kernel } = request;
  const fileSystemSocket = join(scratch, 'files.sock');
  const initramfsPath = join(scratch, 'initramfs.cpio');
  const logDirectory = join(buildDirectory, 'vm');
  const consoleLogPath = join(logDirectory, `console-${process.pid}.log`);
  // A leading control character: ordinary output never looks like the beginning of the mark.
  const endMark = `\x1e${randomBytes(16).toString('hex')}`;

  // cache=always: else the guest would read every file anew at each opening. What the machine changes meanwhile may
  // stay unseen in the guest; what the guest writes is seen on the machine at once.
  const files = new Child([
    VIRTIOFSD,
    '-o',
    'source=/,sandbox=chroot,cache=always',
    `--socket-path=${fileSystemSocket}`,
  ]);
  children.push(files);
  await mkdir(logDirectory, { recursive: true });
  const session = await sessionInitramfs({
    ...request,
    endMark,
    treeDirectory: projectRoot,
    modulesDirectory: kernel.modulesDirectory,
  });
  await writeFile(initramfsPath, Buffer.concat([await ensureBaseInitramfs(kernel), session]));
  await waitForSocket(fileSystemSocket, files);

  const machine = new Child(qemuCommand({ ...request, initramfsPath, fileSystemSocket, consoleLogPath }), 3);
  children.push(machine);
  const [stdout, stderr, control] = machine.ports as [Readable, Readable, Readable];
  const died = Promise.race([machine.ended, files.ended]);
  try {
    const outputs = [
      relayUntil(endMark, stdout, request.stdout),
      relayUntil(endMark, stderr, request.stderr),
    ];
    const [status] = await Promise.race([
      Promise.all([readStatus(control), ...outputs]),
      died.then(failWith),
    ]);
    await rm(consoleLogPath, { force: true });
    return status;
  } catch (error) {
    throw new Error(
      `Cannot run the command in a VM: ${error instanceof Error ? error.message : String(error)}${await consoleTail(consoleLogPath)}`,
      { cause: error },
    );
  }
}

/** Reads the control port: `started` when the root file system stands, `ended STATUS` when all is over. */
async function readStatus(control: Readable): Promise<number> {
  const tooLate = setTimeout(() => {
    control.destroy(new Error(`the guest did not start within ${BOOT_WAIT_MS / 1000} s`));
  }, BOOT_WAIT_MS);
  try {
    let text = '';
    for await (const chunk of control as AsyncIterable<Buffer>) {
      text += chunk.toString('latin1');
      if (text.startsWith('started\n')) clearTimeout(tooLate);
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
    if (giveUp.aborted) throw new Error(`Cannot share this machine's files: ${VIRTIOFSD} opened no socket`);
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
