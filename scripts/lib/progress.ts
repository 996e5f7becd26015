const HEARTBEAT_MS = 10_000;
const MAX_DETAIL_CHARACTERS = 80;

/** Writes one line `podpace: MESSAGE` to stderr. */
export function say(message: string): void {
  process.stderr.write(`podpace: ${message}\n`);
}

/**
 * Runs a step that may take long, saying when it begins, that it still runs (every 10 s, with the
 * last detail it reported) and how many seconds it took. A failure is left to the caller, who knows
 * what to say about it.
 */
export async function step<T>(
  title: string,
  work: (report: (detail: string) => void) => Promise<T>,
): Promise<T> {
  const startMs = performance.now();
  const elapsed = (): string => `${((performance.now() - startMs) / 1000).toFixed(0)} s`;
  let lastDetail = '';
  say(`${title} ...`);
  const heartbeat = setInterval(() => {
    say(`${title}: ${elapsed()}${lastDetail === '' ? '' : `, ${lastDetail}`}`);
  }, HEARTBEAT_MS);
  heartbeat.unref();
  try {
    const result = await work((detail) => {
      lastDetail = detail.trim().slice(0, MAX_DETAIL_CHARACTERS);
    });
    say(`${title}: done in ${elapsed()}`);
    return result;
  } finally {
    clearInterval(heartbeat);
  }
}
