// The helper's sign of life: a small file beside its socket, by which STATUS knows without asking
// whether pods with caps can be added, or may be again soon. What the helper writes and the plugin
// reads. Pure.

/** How often the helper renews it, seconds. */
export const HEARTBEAT_SECONDS = 10;

/** What the file says. */
export interface Heartbeat {
  /** Of the boot it was written in (/proc/sys/kernel/random/boot_id). */
  readonly bootId: string;
  /** When, in seconds since that boot, suspended time included (CLOCK_BOOTTIME). */
  readonly bootSeconds: number;
  /** Why this kernel can hold no cap; absent when it can. */
  readonly fault?: string;
}

/** The moment at which a file is judged, like the fields above. */
export interface Now {
  readonly bootId: string;
  readonly bootSeconds: number;
}

/**
 * What ADD of a pod with a cap can hope for. `hope`: it can be added, or may be again within the
 * time; `unable`: the kernel cannot hold its cap; `none`: nothing says that a helper has run in
 * that time.
 */
export type Outlook =
  { readonly state: 'hope' } | { readonly state: 'unable' | 'none'; readonly why: string };

/** The text of the file. */
export function formatHeartbeat(heartbeat: Heartbeat): string {
  return `${JSON.stringify(heartbeat)}\n`;
}

/** Undefined for what is none. */
function parseHeartbeat(text: string): Heartbeat | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { bootId, bootSeconds, fault } = value as Readonly<Record<string, unknown>>;
  if (typeof bootId !== 'string' || typeof bootSeconds !== 'number' || bootSeconds < 0)
    return undefined;
  if (fault !== undefined && typeof fault !== 'string') return undefined;
  return { bootId, bootSeconds, ...(fault !== undefined && { fault }) };
}

/** /proc/uptime is read a moment before or after the file, and tells hundredths. */
const MAX_AHEAD_SECONDS = 1;

/**
 * Judges a file by its text, undefined when there is none. `awaySeconds`: for how long a helper may
 * be away.
 */
export function outlookOf(text: string | undefined, now: Now, awaySeconds: number): Outlook {
  const neverRan = { state: 'none', why: 'it has not run since this node was started' } as const;
  if (text === undefined) return neverRan;
  const heartbeat = parseHeartbeat(text);
  if (heartbeat === undefined) return { state: 'none', why: 'its sign of life is damaged' };
  if (heartbeat.bootId !== now.bootId) return neverRan;
  const ageSeconds = now.bootSeconds - heartbeat.bootSeconds;
  if (ageSeconds < -MAX_AHEAD_SECONDS)
    return { state: 'none', why: 'its sign of life is of the future' };
  if (ageSeconds > awaySeconds)
    return { state: 'none', why: `it has been away for ${Math.floor(ageSeconds)} s` };
  return heartbeat.fault === undefined
    ? { state: 'hope' }
    : { state: 'unable', why: heartbeat.fault };
}
