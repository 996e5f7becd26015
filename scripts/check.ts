// npm run check: types, lint with the layer rule, format, unused code, what documents name. Every
// check runs; any failure fails.

import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { ensurePackages } from './lib/debian.ts';
import { documentFaults } from './lib/documents.ts';
import { projectRoot } from './lib/paths.ts';
import { say } from './lib/progress.ts';

interface Check {
  readonly title: string;
  readonly command: string;
  readonly args: readonly string[];
}

function bin(name: string): string {
  return path.join(projectRoot, 'node_modules', '.bin', name);
}

function cSources(): string[] {
  return fs.globSync(['bpf/*.{c,h}', 'test/**/*.{c,h}', 'scripts/**/*.{c,h}'], {
    cwd: projectRoot,
  });
}

/**
 * Node's tools are scripts: they run on the pinned Node, first in PATH, and not on whatever the
 * machine has.
 */
const environment = {
  ...process.env,
  PATH: `${path.dirname(process.execPath)}:${process.env['PATH'] ?? ''}`,
};

await ensurePackages(['clang-format']);
const checks: readonly Check[] = [
  { title: 'types', command: bin('tsc'), args: ['-p', '.'] },
  {
    title: 'lint',
    command: bin('oxlint'),
    args: ['-c', 'scripts/oxlint.json', '--type-aware', '--deny-warnings'],
  },
  { title: 'format', command: bin('prettier'), args: ['--check', '--log-level', 'warn', '.'] },
  { title: 'C format', command: 'clang-format', args: ['--dry-run', '-Werror', ...cSources()] },
  { title: 'unused code', command: bin('knip'), args: ['--no-progress'] },
];

/** Whether a check passes; what it says is shown when it has ended, in one piece. */
async function passes({ title, command, args }: Check): Promise<boolean> {
  const child = spawn(command, args, { cwd: projectRoot, env: environment });
  const output: Buffer[] = [];
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => void output.push(chunk));
  const status = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  process.stderr.write(Buffer.concat(output));
  say(`${title}: ${status === 0 ? 'ok' : 'FAILED'}`);
  return status === 0;
}

function documentsPass(): boolean {
  const faults = documentFaults(projectRoot);
  for (const fault of faults) process.stderr.write(`${fault}\n`);
  say(`documents: ${faults.length === 0 ? 'ok' : 'FAILED'}`);
  return faults.length === 0;
}

// Side by side: the longest runs in one thread.
const others = checks.map(passes);
const passed = [documentsPass(), ...(await Promise.all(others))];
process.exitCode = passed.every(Boolean) ? 0 : 1;
