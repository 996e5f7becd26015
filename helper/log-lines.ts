// Lines of the log: how they are written, and how often the same may come. Pure.

import type { AttachmentKey, PodNames } from './protocol/messages.ts';
import { podNamesOf } from './protocol/pod-names.ts';
import { printable } from './protocol/printable.ts';

/** From the gravest on. */
export const LOG_LEVELS = ['error', 'warn', 'info'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export const LOG_FORMATS = ['text', 'json'] as const;
export type LogFormat = (typeof LOG_FORMATS)[number];

/** Priorities of syslog(3): journald takes one in front of a line, see sd-daemon(3). */
const PRIORITIES: Readonly<Record<LogLevel, number>> = { error: 3, warn: 4, info: 6 };

export interface LogStyle {
  readonly format: LogFormat;
  /** Whether journald reads the lines: it notes the time by itself. */
  readonly isForJournal: boolean;
}

/** Whom a line is about: its message says so too, these are fields of JSON. */
export type LogSubject = AttachmentKey & PodNames;

function fieldsOf(subject: LogSubject | undefined): object {
  if (subject === undefined) return {};
  const { containerId, ifname } = subject;
  return { containerId: printable(containerId), ifname: printable(ifname), ...podNamesOf(subject) };
}

/** One line for each event, whatever the message holds; without the line's end. */
export function formatLine(
  { format, isForJournal }: LogStyle,
  time: Date,
  level: LogLevel,
  message: string,
  subject?: LogSubject,
): string {
  const text = printable(message);
  const priority = isForJournal ? `<${PRIORITIES[level]}>` : '';
  if (format === 'json')
    return (
      priority +
      JSON.stringify({ time: time.toISOString(), level, message: text, ...fieldsOf(subject) })
    );
  return isForJournal ? priority + text : `${time.toISOString()} ${level} ${text}`;
}

/** Whether a line of a level is wanted by who wants those of another, and graver ones. */
export function isWanted(level: LogLevel, least: LogLevel): boolean {
  return LOG_LEVELS.indexOf(level) <= LOG_LEVELS.indexOf(least);
}

/**
 * Whether a file is the one that JOURNAL_STREAM names: by device and inode, as systemd.exec(5) has
 * it, since who redirects the output passes the variable on.
 */
export function isJournal(
  variable: string | undefined,
  { dev, ino }: { readonly dev: number; readonly ino: number },
): boolean {
  return variable === `${dev}:${ino}`;
}

const PERIOD_MS = 60_000;
/** Of one text in a period; more only counts. */
const MAX_REPEATS = 5;
/** Texts that are known at a time: beyond, each goes out. */
const MAX_TEXTS = 10_000;

/** A text that came too often, and how often it was left out. */
export interface LeftOut {
  readonly level: LogLevel;
  readonly text: string;
  readonly times: number;
}

/** Holds back what is said over and over; `ended` has to be asked from time to time. */
export class RepeatLimit {
  readonly #known = new Map<string, { level: LogLevel; sinceMs: number; times: number }>();

  /** Whether a line goes out now. */
  admits(level: LogLevel, text: string, nowMs: number): boolean {
    const known = this.#known.get(text);
    if (known !== undefined) {
      known.times++;
      return known.times <= MAX_REPEATS;
    }
    if (this.#known.size < MAX_TEXTS) this.#known.set(text, { level, sinceMs: nowMs, times: 1 });
    return true;
  }

  /** What was left out in periods that are over; `atEnd` in those that are not, too. */
  ended(nowMs: number, atEnd = false): LeftOut[] {
    const over = [...this.#known].filter(
      ([, { sinceMs }]) => atEnd || nowMs - sinceMs >= PERIOD_MS,
    );
    for (const [text] of over) this.#known.delete(text);
    return over
      .map(([text, { level, times }]) => ({ level, text, times: times - MAX_REPEATS }))
      .filter(({ times }) => times > 0);
  }
}
