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
