// Compiles BPF programs with clang, when their sources are newer than the object.

import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { buildDirectory, projectRoot } from './paths.ts';

const SOURCE_DIRECTORY = path.join(projectRoot, 'bpf');
const OBJECT_DIRECTORY = path.join(buildDirectory, 'bpf');

/** Where Debian keeps asm/types.h, which linux/types.h includes. */
const ASM_INCLUDE: Readonly<Record<string, string>> = {
  x64: '/usr/include/x86_64-linux-gnu',
  arm64: '/usr/include/aarch64-linux-gnu',
};

/**
 * -mcpu=v3 has the atomics that return a value (Linux 5.12); -g writes the BTF that describes the
 * maps.
 */
const CLANG_FLAGS = ['-O2', '-g', '-target', 'bpf', '-mcpu=v3', '-Wall', '-Wextra', '-Werror'];

/** The object names its sources, as this tree has them: the same in whichever directory that is. */
const SAME_ANYWHERE = [`-ffile-prefix-map=${projectRoot}/=`, '-fdebug-compilation-dir=.'];

function modifiedAtMs(file: string): number {
  return fs.statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

/** The source and every header that it may include. */
function sourcesOf(source: string): string[] {
  const directories = new Set([SOURCE_DIRECTORY, path.dirname(source)]);
  const headers = [...directories].flatMap((directory) =>
    fs.globSync('*.h', { cwd: directory }).map((name) => path.join(directory, name)),
  );
  return [source, ...headers];
}

function compile(source: string, object: string): void {
  const asmInclude = ASM_INCLUDE[process.arch];
  const includes = [SOURCE_DIRECTORY, ...(asmInclude === undefined ? [] : [asmInclude])];
  const staged = `${object}.${process.pid}`;
  const flags = [
    ...CLANG_FLAGS,
    ...SAME_ANYWHERE,
    ...includes.map((directory) => `-I${directory}`),
  ];
  const clang = spawnSync('clang', [...flags, '-c', source, '-o', staged], {
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  if (clang.error !== undefined)
    throw new Error(`Cannot run clang: ${clang.error.message}: install the package clang`);
  if (clang.status !== 0) {
    fs.rmSync(staged, { force: true });
    throw new Error(
      `Cannot compile ${source}: clang ended with status ${clang.status}: see the lines above`,
    );
  }
  // A rename, so that two builds at once leave a whole file.
  fs.renameSync(staged, object);
}

/**
 * Compiles one BPF source, `NAME.bpf.c`, to build/bpf/NAME.bpf.o unless that is newer than the
 * source and the headers. Returns the object's path. clang's messages go to this process's stderr.
 * Throws Error when it fails.
 */
export function buildBpfObject(source: string): string {
  const object = path.join(OBJECT_DIRECTORY, path.basename(source).replace(/\.c$/, '.o'));
  const newest = Math.max(...sourcesOf(source).map(modifiedAtMs));
  if (modifiedAtMs(object) > newest) return object;
  fs.mkdirSync(OBJECT_DIRECTORY, { recursive: true });
  compile(source, object);
  return object;
}

/** Compiles bpf/podpace.bpf.c, as buildBpfObject does. */
export function buildBpf(): string {
  return buildBpfObject(path.join(SOURCE_DIRECTORY, 'podpace.bpf.c'));
}
