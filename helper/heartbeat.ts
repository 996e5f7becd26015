// Renews the helper's sign of life while it serves. Nothing takes the file away but an uninstall:
// that of a helper which was stopped says by its age for how long.

import fs from 'node:fs';
import { writeWhole } from './control/regular-file.ts';
import { bootId, bootSeconds } from './kernel/boot-clock.ts';
import { heartbeatFile } from './protocol/state-files.ts';
import { VERSION } from './version.ts';
import { formatHeartbeat, HEARTBEAT_SECONDS } from './wire/heartbeat.ts';

const STAGED = '.new';

interface HeartbeatOptions {
  readonly socket: string;
  /** Why this kernel can hold no cap, as it is known now; undefined when it can. */
  readonly fault: () => string | undefined;
  readonly log: (level: 'warn', message: string) => void;
}

/**
 * Writes the file at once and every ten seconds. Returns what ends that with a last time, so that
 * the absence of a helper that was stopped counts from its end.
 */
export function startHeartbeat({ socket, fault, log }: HeartbeatOptions): () => void {
  const file = heartbeatFile(socket);
  let told: string | undefined;
  const beat = (): void => {
    try {
      const why = fault();
      const now = { bootId: bootId(), bootSeconds: bootSeconds() };
      const text = formatHeartbeat({
        ...{ release: VERSION, ...now },
        ...(why !== undefined && { fault: why }),
      });
      writeWhole(file, file + STAGED, text);
      told = undefined;
    } catch (error) {
      const { message } = error as Error;
      // STATUS asks at the socket then.
      if (message !== told) log('warn', `Cannot leave a sign of life for STATUS: ${message}`);
      told = message;
    }
  };
  beat();
  const timer = setInterval(beat, HEARTBEAT_SECONDS * 1000);
  return () => {
    clearInterval(timer);
    beat();
  };
}

/** Takes the file away (uninstall). */
export function removeHeartbeat(socket: string): void {
  for (const suffix of ['', STAGED]) fs.rmSync(heartbeatFile(socket) + suffix, { force: true });
}
