// Renews the helper's sign of life while it serves. Nothing takes the file away but an uninstall:
// that of a helper which was stopped says by its age for how long.

import fs from 'node:fs';
import path from 'node:path';
import { bootId, bootSeconds } from './kernel/boot-clock.ts';
import { HEARTBEAT } from './protocol/state-files.ts';
import { formatHeartbeat, HEARTBEAT_SECONDS } from './wire/heartbeat.ts';

/** Where the file is. */
function fileOf(socket: string): string {
  return path.join(path.dirname(socket), HEARTBEAT);
}

interface HeartbeatOptions {
  readonly socket: string;
  /** Why this kernel can hold no cap, as it is known now; undefined when it can. */
  readonly fault: () => string | undefined;
  readonly log: (level: 'warn', message: string) => void;
}

/** Writes the file at once and every ten seconds. Returns what ends that. */
export function startHeartbeat({ socket, fault, log }: HeartbeatOptions): () => void {
  const file = fileOf(socket);
  let told: string | undefined;
  const beat = (): void => {
    try {
      const why = fault();
      const text = formatHeartbeat({
        ...{ bootId: bootId(), bootSeconds: bootSeconds() },
        ...(why !== undefined && { fault: why }),
      });
      fs.writeFileSync(`${file}.new`, text, { mode: 0o600 });
      fs.renameSync(`${file}.new`, file);
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
  return () => clearInterval(timer);
}

/** Takes the file away (uninstall). */
export function removeHeartbeat(socket: string): void {
  for (const suffix of ['', '.new']) fs.rmSync(fileOf(socket) + suffix, { force: true });
}
