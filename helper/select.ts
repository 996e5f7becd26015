// Which attachments an operator means. Pure.

import type { AttachmentKey, AttachmentStatus, PodNames } from './protocol/messages.ts';
import { nameOf, podOf } from './protocol/pod-names.ts';

/** What is known of an attachment when one is looked for. */
export type Candidate = AttachmentKey & PodNames & Pick<AttachmentStatus, 'addedAt'>;

/** Candidates that an error names. */
const MAX_NAMED = 5;

function named(attachments: readonly Candidate[]): string {
  const rest = attachments.length - MAX_NAMED;
  const names = attachments.slice(0, MAX_NAMED).map(nameOf).join(', ');
  return rest > 0 ? `${names} and ${rest} more` : names;
}

function isOfPod(selector: string, attachment: Candidate): boolean {
  const pod = podOf(attachment);
  return pod !== undefined && (selector === pod || selector === `${pod}/${attachment.ifname}`);
}

/**
 * Those that fit `CONTAINER[/IFNAME]`: of the whole id, if there are any, or else of ids that begin
 * so.
 */
function ofContainer<T extends Candidate>(selector: string, attachments: readonly T[]) {
  const [container = '', ifname, ...more] = selector.split('/');
  const fits = attachments.filter(
    (key) =>
      container !== '' &&
      more.length === 0 &&
      key.containerId.startsWith(container) &&
      (ifname === undefined || key.ifname === ifname),
  );
  const whole = fits.filter(({ containerId }) => containerId === container);
  return { fits: whole.length > 0 ? whole : fits, isWhole: whole.length > 0 };
}

/**
 * All attachments that `CONTAINER[/IFNAME]` names, where the container's id may be cut short, or
 * `NAMESPACE/NAME[/IFNAME]`. A whole id is nothing else. Throws an Error that says what there is
 * when there is none.
 */
export function matchingAttachments<T extends Candidate>(
  selector: string,
  attachments: readonly T[],
): T[] {
  const { fits, isWhole } = ofContainer(selector, attachments);
  if (isWhole) return fits;
  const found = attachments.filter((one) => fits.includes(one) || isOfPod(selector, one));
  if (found.length > 0) return found;
  const known =
    attachments.length === 0 ? 'no pod on this node has one' : `known are ${named(attachments)}`;
  throw new Error(`Cannot find a capped pod "${selector}": ${known}`);
}

/** The one that is meant. */
export interface Selected<T> {
  readonly attachment: T;
  /** Of older sandboxes of the same pod. */
  readonly older: readonly T[];
}

/** Attachments of the container that was added last, and the others. */
function byAge<T extends Candidate>(
  attachments: readonly T[],
): { newest: readonly T[]; older: readonly T[] } {
  const containers = [...Map.groupBy(attachments, ({ containerId }) => containerId).values()];
  const addedAt = (own: readonly T[]): string =>
    own.map((one) => one.addedAt ?? '').toSorted()[0] ?? '';
  const [newest = [], ...older] = containers.toSorted(
    (a, b) => Number(addedAt(a) < addedAt(b)) - Number(addedAt(a) > addedAt(b)),
  );
  return { newest, older: older.flat() };
}

/**
 * The attachment that a selector means: of two sandboxes of one pod that it names, as while the
 * older is still on its way out, that of the newer. Where several are left, those that
 * `isPreferred` go before others. Throws an Error that names the candidates when there is none or
 * more than one.
 */
export function selectAttachment<T extends Candidate>(
  selector: string,
  attachments: readonly T[],
  isPreferred: (attachment: T) => boolean = () => false,
): Selected<T> {
  const candidates = matchingAttachments(selector, attachments);
  const isByName = candidates.every((one) => isOfPod(selector, one));
  const { newest, older } = isByName ? byAge(candidates) : { newest: candidates, older: [] };
  const preferred = newest.filter(isPreferred);
  const [attachment, second] = preferred.length > 0 ? preferred : newest;
  if (attachment !== undefined && second === undefined) return { attachment, older };
  throw new Error(`Cannot tell which pod "${selector}" is: ${named(newest)}`);
}

/** What to tell of a selection besides the answer; undefined when only one was there. */
export function describeSelection({ attachment, older }: Selected<Candidate>): string | undefined {
  if (older.length === 0) return undefined;
  const pod = podOf(attachment) ?? attachment.containerId;
  const others = [...new Set(older.map(({ containerId }) => containerId))];
  const which = `this is of the newest, ${attachment.containerId}; the older: ${others.join(', ')}`;
  return `${pod} has ${others.length + 1} sandboxes: ${which}`;
}
