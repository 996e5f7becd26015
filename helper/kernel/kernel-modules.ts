// Why a module of the kernel is not there: not installed, or installed and not loaded.

import fs from 'node:fs';
import os from 'node:os';

/** What can be seen of the kernel's modules. */
export interface ModuleFiles {
  /** Where those of the running kernel are. */
  readonly directory: string;
  /** Content of its `modules.dep`; undefined when there is none to be seen. */
  readonly list: string | undefined;
  /** Content of /proc/sys/kernel/modules_disabled, where the kernel has modules at all. */
  readonly disabled: string | undefined;
  /** The same of `modprobe` there: the program that loads them. */
  readonly modprobe: string | undefined;
}

/** Says in one clause what is known of a module that the kernel did not come by. Pure. */
export function judgeModule(
  name: string,
  { directory, list, disabled, modprobe }: ModuleFiles,
): string {
  if (disabled === undefined) return 'absent: it is not built in, and this kernel loads no modules';
  if (list === undefined)
    return `whether there is a module cannot be seen: no ${directory}/modules.dep`;
  const file = name.replaceAll(/[-_]/g, '[-_]');
  if (!new RegExp(`(^|/)${file}\\.ko(\\.\\w+)?:`, 'm').test(list))
    return `absent: no module ${name} in ${directory}`;
  if (disabled.trim() === '1')
    return 'not loadable: kernel.modules_disabled is 1 until the next boot';
  if (modprobe?.trim() === '') return 'not loadable by the kernel: kernel.modprobe is empty';
  return `not loadable: the kernel did not get module ${name}, which is in ${directory} (look for a blacklist in /etc/modprobe.d)`;
}

function readIfThere(path: string): string | undefined {
  try {
    return fs.readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

/** What is known of a module that the kernel did not come by, in one clause. */
export function describeModule(name: string): string {
  const directory = `/lib/modules/${os.release()}`;
  return judgeModule(name, {
    directory,
    list: readIfThere(`${directory}/modules.dep`),
    disabled: readIfThere('/proc/sys/kernel/modules_disabled'),
    modprobe: readIfThere('/proc/sys/kernel/modprobe'),
  });
}
