// Where `podpaced run` writes what happens: stderr, for a person, journald or a program that reads
// JSON.

import fs from 'node:fs';
import {
  formatLine,
  isJournal,
  isWanted,
  RepeatLimit,
  type LogFormat,
  type LogLevel,
  type LogSubject,
} from './log-lines.ts';

export type { LogLevel } from './log-lines.ts';
export type Log = (level: LogLevel, message: string, subject?: LogSubject) => void;

/** Pause between two times that repeated lines are told of. */
const REPEATS_MS = 10_000;

function isStderrJournal(): boolean {
  const variable = process.env['JOURNAL_STREAM'];
  return variable !== undefined && isJournal(variable, fs.fstatSync(process.stderr.fd));
}

/** A log on stderr; `end` tells of what was left out, and has to be called for the process to end. */
export function openLog(
  stderr: (text: string) => void,
  { logLevel, logFormat }: { readonly logLevel: LogLevel; readonly logFormat: LogFormat },
): { readonly log: Log; readonly end: () => void } {
  const style = { format: logFormat, isForJournal: isStderrJournal() };
  const repeats = new RepeatLimit();
  const write: Log = (level, message, subject) =>
    stderr(`${formatLine(style, new Date(), level, message, subject)}\n`);
  const tellLeftOut = (atEnd = false): void => {
    for (const { level, text, times } of repeats.ended(performance.now(), atEnd))
      write(level, `${times} more like this: ${text}`);
  };
  const timer = setInterval(tellLeftOut, REPEATS_MS);
  timer.unref();
  return {
    log(level, message, subject) {
      if (!isWanted(level, logLevel)) return;
      if (repeats.admits(level, message, performance.now())) write(level, message, subject);
    },
    end() {
      clearInterval(timer);
      tellLeftOut(true);
    },
  };
}
