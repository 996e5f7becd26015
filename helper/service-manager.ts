// What the service manager that started podpaced is told: sd_notify(3), a datagram to the socket
// that NOTIFY_SOCKET names. There is nothing to reload, so of that it is told nothing.

import { sendDatagram } from './kernel/unix-datagram.ts';
import type { Health } from './health.ts';
import type { Log } from './log.ts';
import { printable } from './protocol/printable.ts';
import { cutText } from './protocol/cut.ts';
import type { Problem } from './shaping/judgement.ts';

/** So much of STATUS= is shown in one line of `systemctl status`. */
const MAX_STATUS_LENGTH = 400;

/** What is said of the state of caps in STATUS=. */
export function describeProblems(problems: readonly Problem[]): string {
  const [first] = problems;
  if (first === undefined) return 'All caps are enforced';
  const count = problems.length === 1 ? '1 problem' : `${problems.length} problems`;
  return cutText(printable(`${count}, see podpaced status: ${first.text}`), MAX_STATUS_LENGTH);
}

type Hears = (problems: readonly Problem[]) => void;

/** Told of the same as probes are; and of problems. */
export interface ServiceManager extends Health {
  /** What tells of problems here as well. */
  readonly hearingToo: (tell: Hears) => Hears;
}

type Environment = Readonly<Record<string, string | undefined>>;

const NOBODY: ServiceManager = {
  hasLooked: () => undefined,
  serves: () => undefined,
  close: () => undefined,
  hearingToo: (tell) => tell,
};

/**
 * A manager that waits for word from this process, as the environment has it; else nobody is told.
 * The watchdog hears of each look at the maps that has ended, as `/livez` does. A failure to tell is
 * logged once, until it is over.
 */
export function openServiceManager(
  environment: Environment,
  log: Log,
  send = sendDatagram,
): ServiceManager {
  const place = environment['NOTIFY_SOCKET'];
  if (place === undefined || !/^[/@]/.test(place)) return NOBODY;
  const watched = environment['WATCHDOG_PID'];
  const hasWatchdog =
    environment['WATCHDOG_USEC'] !== undefined &&
    [undefined, String(process.pid)].includes(watched);
  let [toldOfFailure, status] = [false, ''];
  const tell = (text: string): void => {
    try {
      send(place, text);
      toldOfFailure = false;
    } catch (error) {
      if (!toldOfFailure)
        log('warn', `Cannot tell the service manager ${text}: ${(error as Error).message}`);
      toldOfFailure = true;
    }
  };
  tell('STATUS=Brings the node to its records');
  return {
    hearingToo: (other) => (problems) => {
      const next = describeProblems(problems);
      if (next !== status) tell(`STATUS=${next}`);
      status = next;
      other(problems);
    },
    serves: () => tell('READY=1'),
    hasLooked() {
      if (hasWatchdog) tell('WATCHDOG=1');
    },
    close: () => tell('STOPPING=1\nSTATUS=Stopped; caps stay in force'),
  };
}

/** Two that are told the same. */
export function bothOf(first: Health, second: Health): Health {
  const both = (what: keyof Health) => (): void => {
    first[what]();
    second[what]();
  };
  return { hasLooked: both('hasLooked'), serves: both('serves'), close: both('close') };
}
