// The helper's sign of life: a small file beside its socket, by which STATUS knows without asking
// whether pods with caps can be added, or may be again soon. What the helper writes and the plugin
// reads. Pure.

/** How often the helper renews it, seconds. */
export const HEARTBEAT_SECONDS = 10;

/** No file comes near; what is longer is none. */
export const MAX_HEARTBEAT_BYTES = 4096;

/**
 * Of the file. A plugin judges no file of another format, but asks the helper; so a field that
 * older plugins can do without needs no new one.
 */
const FORMAT = 1;

/** What the file says besides its format. */
export interface Heartbeat {
  /** The version of the podpaced that wrote it. */
  readonly release: string;
  /** Of the boot it was written in (helper/kernel/boot-clock.ts). */
  readonly bootId: string;
  /** When, in seconds since that boot, suspended time included (CLOCK_BOOTTIME). */
  readonly bootSeconds: number;
  /** Why this kernel can hold no cap; absent when it can. */
  readonly fault?: string;
}

/** The file as it was found: `bad` where there is something that no helper writes. */
export type FoundHeartbeat =
  | { readonly kind: 'none' }
  | { readonly kind: 'bad'; readonly why: string }
  | { readonly kind: 'text'; readonly text: string };

/** The moment at which a file is judged, like the fields above. */
export type Now = Pick<Heartbeat, 'bootId' | 'bootSeconds'>;

/**
 * What ADD of a pod with a cap can hope for. `hope`: it can be added, or may be again within the
 * time; `unable`: the kernel cannot hold its cap; `none`: nothing says that a helper has run in
 * that time.
 */
export type Outlook =
  { readonly state: 'hope' } | { readonly state: 'unable' | 'none'; readonly why: string };

/** The text of the file. */
export function formatHeartbeat(heartbeat: Heartbeat): string {
  return `${JSON.stringify({ format: FORMAT, ...heartbeat })}\n`;
}

/** What the text says, or why it cannot be judged. */
function parseHeartbeat(text: string): Heartbeat | string {
  const damaged = 'its sign of life is damaged';
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return damaged;
  }
  if (typeof value !== 'object' || value === null) return damaged;
  const { format, ...fields } = value as Readonly<Record<string, unknown>>;
  const { release, bootId, bootSeconds, fault } = fields;
  if (typeof format !== 'number' || typeof release !== 'string') return damaged;
  if (format !== FORMAT) return `its sign of life is podpaced ${release}'s, of format ${format}`;
  if (typeof bootId !== 'string' || typeof bootSeconds !== 'number') return damaged;
  if (fault !== undefined && typeof fault !== 'string') return damaged;
  if (!Number.isFinite(bootSeconds) || bootSeconds < 0) return damaged;
  return { release, bootId, bootSeconds, ...(fault !== undefined && { fault }) };
}

/**
 * Judges what was found. `now`: of after that, so that no file that a helper writes is ahead of it.
 * `awaySeconds`: for how long a helper may give no sign of life.
 */
export function outlookOf(found: FoundHeartbeat, now: Now, awaySeconds: number): Outlook {
  const none = (why: string): Outlook => ({ state: 'none', why });
  const neverRan = none('nothing shows that it has run since this node was started');
  if (found.kind === 'none') return neverRan;
  if (found.kind === 'bad') return none(`its sign of life cannot be used: ${found.why}`);
  const heartbeat = parseHeartbeat(found.text);
  if (typeof heartbeat === 'string') return none(heartbeat);
  if (heartbeat.bootId !== now.bootId) return neverRan;
  const ageSeconds = now.bootSeconds - heartbeat.bootSeconds;
  if (ageSeconds < 0) return none('its sign of life is of the future');
  if (ageSeconds > awaySeconds)
    return none(`it has given no sign of life for ${Math.floor(ageSeconds)} s`);
  return heartbeat.fault === undefined
    ? { state: 'hope' }
    : { state: 'unable', why: heartbeat.fault };
}
