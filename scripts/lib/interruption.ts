import { say } from './progress.ts';

/** As a shell reports a command that Ctrl-C has ended. */
export const INTERRUPTED = 130;

/**
 * A signal that is aborted when somebody wants this process to end; what has been made is then
 * undone as usual.
 */
export function interruption(): AbortSignal {
  const controller = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(name, () => {
      if (!controller.signal.aborted) say('interrupted: taking away what was made');
      controller.abort(new Error(`Interrupted by ${name}`));
    });
  }
  return controller.signal;
}

/**
 * Does the work of a command that may be interrupted; returns its exit status. What it throws is
 * said; `statusOf` tells the status then.
 */
export async function interruptible(
  work: (signal: AbortSignal) => Promise<number>,
  statusOf: (error: unknown) => number = () => 1,
): Promise<number> {
  const signal = interruption();
  try {
    const status = await work(signal);
    return signal.aborted ? INTERRUPTED : status;
  } catch (error) {
    if (signal.aborted) return INTERRUPTED;
    say(error instanceof Error ? error.message : String(error));
    return statusOf(error);
  }
}
