// C programs compiled for this machine, for tests of what C computes.

import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';

/** A compiled program. */
export interface HostProgram {
  readonly executable: string;
  /**
   * Runs it and returns what it wrote to stdout. Throws when it ends with another status than 0.
   */
  run(args: readonly string[], input?: string): string;
  /** Starts it, to be asked one thing after the other: a process for each costs more than it. */
  converse(): Conversation;
  remove(): void;
}

/** With a program that answers each question in lines, and ends them with an empty one. */
export interface Conversation {
  /** Its lines without the empty one. Rejects when it ends before that. */
  ask(question: string): Promise<string[]>;
  end(): void;
}

function converseWith(executable: string): Conversation {
  const child = spawn(executable, { stdio: ['pipe', 'pipe', 'inherit'] });
  const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  // Told by the answer that does not come.
  child.stdin.on('error', () => undefined);
  return {
    ask: async (question) => {
      child.stdin.write(`${question}\n`);
      const lines: string[] = [];
      for (;;) {
        const { done, value: line } = await answers.next();
        if (done === true) throw new Error(`${executable} ended after: ${lines.join('; ')}`);
        if (line === '') return lines;
        lines.push(line);
      }
    },
    end: () => child.stdin.end(),
  };
}

/** Compiles one C source with clang, which also compiles the BPF programs. */
export function compileHostProgram(source: string): HostProgram {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), `pp-${process.pid}-`));
  const executable = path.join(directory, 'program');
  const remove = (): void => fs.rmSync(directory, { recursive: true });
  try {
    const flags = ['-O2', '-Wall', '-Wextra', '-Werror', '-pthread'];
    execFileSync('clang', [...flags, source, '-o', executable]);
  } catch (error) {
    remove();
    throw error;
  }
  return {
    executable,
    run: (args, input = '') =>
      execFileSync(executable, args, { input, encoding: 'utf8', maxBuffer: 1 << 26 }),
    converse: () => converseWith(executable),
    remove,
  };
}
