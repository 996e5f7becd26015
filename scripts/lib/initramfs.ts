import { existsSync } from 'node:fs';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { gunzipSync } from 'node:zlib';
import { join } from 'node:path';
import { directory, executable, symlink, writeCpio } from './cpio.ts';
import type { CpioEntry } from './cpio.ts';
import type { Kernel } from './kernels.ts';
import { captureBytes } from './process.ts';

/**
 * What it takes to reach the shared file system and the ports; each kernel has some of them built
 * in.
 */
const BOOT_MODULES = ['virtio_pci', 'virtio_console', 'virtiofs', 'overlay'];
const BUSYBOX = '/bin/busybox';

/**
 * The part of the initramfs that depends on the kernel only: busybox, the modules needed before the
 * machine's own files can be read, and `modules`, their names in the order to load them. Kept
 * beside the kernel. `root` has a busybox for its processor.
 */
export async function ensureBaseInitramfs(kernel: Kernel, root: string): Promise<Buffer> {
  const path = join(kernel.directory, 'initramfs.cpio');
  if (existsSync(path)) return await readFile(path);
  const archive = writeCpio(await baseEntries(kernel, root));
  const scratch = `${path}.${process.pid}`;
  await writeFile(scratch, archive);
  await rename(scratch, path);
  return archive;
}

/**
 * Paths of the modules that must be loaded so that the wanted ones work, dependencies first, each
 * once. Names that modules.dep does not list are built into the kernel and left out.
 */
export function loadOrder(modulesDep: string, wanted: readonly string[]): string[] {
  const lines = modulesDep.split('\n').filter((line) => line.includes(':'));
  const dependencies = new Map(
    lines.map((line) => {
      const [path = '', rest = ''] = line.split(':');
      return [moduleName(path), { path, needs: rest.split(' ').filter(Boolean) }] as const;
    }),
  );
  const ordered = new Set<string>();
  for (const name of wanted) {
    const module = dependencies.get(name);
    if (module === undefined) continue;
    // modules.dep names a module's dependencies, indirect ones too, nearest first.
    for (const path of module.needs.toReversed()) ordered.add(path);
    ordered.add(module.path);
  }
  return [...ordered];
}

async function baseEntries(kernel: Kernel, root: string): Promise<CpioEntry[]> {
  const modulesDep = await readFile(join(kernel.modulesDirectory, 'modules.dep'), 'utf8');
  const paths = loadOrder(modulesDep, BOOT_MODULES);
  const modules = await Promise.all(
    paths.map(async (path) =>
      executable(`modules/${moduleName(path)}.ko`, await readModule(kernel, path)),
    ),
  );
  return [
    ...['bin', 'dev', 'proc', 'sys', 'modules', 'share', 'overlay', 'root'].map(directory),
    executable('bin/busybox', await readFile(join(root, BUSYBOX))),
    symlink('bin/sh', 'busybox'),
    ...modules,
    executable('modules/order', paths.map((path) => `${moduleName(path)}\n`).join('')),
  ];
}

async function readModule(kernel: Kernel, path: string): Promise<Uint8Array> {
  const file = join(kernel.modulesDirectory, path);
  if (path.endsWith('.xz')) return await captureBytes(BUSYBOX, ['xzcat', file]);
  const data = await readFile(file);
  return path.endsWith('.gz') ? gunzipSync(data) : data;
}

function moduleName(path: string): string {
  const file = path.slice(path.lastIndexOf('/') + 1);
  return file.slice(0, file.indexOf('.ko')).replaceAll('-', '_');
}
