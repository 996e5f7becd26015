// What the helper knows of wishes: attachments that have no cap and are to have one. They are kept
// apart from records: a record is in force, a wish is not by any part.

import { findLink, type Link } from '../kernel/links.ts';
import { netnsIdOf } from '../kernel/netns-id.ts';
import type { RtSocket } from '../kernel/rtnetlink.ts';
import { printable } from '../protocol/printable.ts';
import { keyOf, type AttachmentKey } from '../protocol/messages.ts';
import { nameOf } from '../protocol/pod-names.ts';
import { DIRECTIONS } from '../shaping/effective.ts';
import { ShapingError } from '../shaping/failure.ts';
import { nodeProblem, type Problem } from '../shaping/judgement.ts';
import { isSameDevice, type Wish } from '../shaping/records.ts';
import { formatRate } from '../shaping/units.ts';
import { isRemoved, tryOpenNetns } from './sandbox.ts';
import type { WishFiles } from './wish-files.ts';

/** What is asked for, in words: `egress 10 Mbit/s is`. */
function subjectOf({ caps, hostRouting }: Wish): string {
  const parts = [
    ...DIRECTIONS.flatMap((direction) => {
      const rate = caps[direction]?.rateBitsPerSec;
      return rate === undefined ? [] : [`${direction} ${formatRate(rate)}`];
    }),
    ...(hostRouting === undefined ? [] : ['host routing']),
  ];
  return `${parts.join(' and ')} ${parts.length > 1 ? 'are' : 'is'}`;
}

/** The sentence about a wish. */
export function describeWish(wish: Wish): string {
  return `${nameOf(wish)}: ${subjectOf(wish)} not enforced: ${wish.reason}`;
}

/**
 * The directions that a wish is about: those with a cap, or both for host routing, as with an
 * attachment.
 */
export function wishedDirections({ caps, hostRouting }: Pick<Wish, 'caps' | 'hostRouting'>) {
  return DIRECTIONS.filter(
    (direction) => hostRouting !== undefined || caps[direction] !== undefined,
  );
}

function problemOf(wish: Wish): Problem {
  return {
    code: 'cap-not-in-force',
    text: describeWish(wish),
    place: wish.hostInterface,
    scopes: wishedDirections(wish).map((direction) => ({ of: 'attachment', key: wish, direction })),
  };
}

/** What `set`, `counters` and CHECK say of an attachment that is only wished for. */
export function notInForce(wish: Wish, code: 'not-found' | 'check-failed'): ShapingError {
  const remedy =
    'podpaced puts it in force as soon as it can be; until then it has no counters and takes no changes';
  return new ShapingError(code, describeWish(wish), remedy);
}

export class Wishes {
  readonly #files: WishFiles;
  #all: readonly Wish[] = [];
  #bad: ReadonlyMap<string, string> = new Map();
  /** Why the last try failed, by key: newer than what the file says. */
  readonly #reasons = new Map<string, string>();
  /** Key of the last one that was tried in vain: the next round begins after it. */
  #triedUpTo = '';

  constructor(files: WishFiles) {
    this.#files = files;
  }

  /**
   * In the order of their keys, as they were at the last look; the same array until something
   * changes.
   */
  get all(): readonly Wish[] {
    return this.#all;
  }

  /**
   * Reads the files, which the plugin writes and removes. Costs one system call where there are
   * none.
   */
  look(): void {
    const { records, bad } = this.#files.read();
    this.#bad = bad;
    for (const key of this.#reasons.keys()) if (!records.has(key)) this.#reasons.delete(key);
    this.#all = [...records.values()]
      .map((wish) => ({ ...wish, reason: this.#reasons.get(keyOf(wish)) ?? wish.reason }))
      .toSorted((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
  }

  /** All, beginning with those that were not tried in the last round. */
  inTurn(): readonly Wish[] {
    const later = this.#all.filter((wish) => keyOf(wish) > this.#triedUpTo);
    return [...later, ...this.#all.slice(0, this.#all.length - later.length)];
  }

  find(key: AttachmentKey): Wish | undefined {
    return this.#all.find((wish) => keyOf(wish) === keyOf(key));
  }

  /** It cannot be put in force yet, for this reason. */
  postpone(wish: Wish, reason: string): void {
    this.#reasons.set(keyOf(wish), printable(reason));
    this.#triedUpTo = keyOf(wish);
    this.#all = this.#all.map((other) =>
      keyOf(other) === keyOf(wish) ? { ...other, reason: printable(reason) } : other,
    );
  }

  /** Nobody wishes it any more. */
  remove(key: AttachmentKey): void {
    this.#files.remove(key);
    this.#reasons.delete(keyOf(key));
    if (this.find(key) !== undefined)
      this.#all = this.#all.filter((wish) => keyOf(wish) !== keyOf(key));
  }

  /** One for each wish, and for each file that cannot be read. */
  problems(): Problem[] {
    const bad = [...this.#bad].map(([file, reason]) =>
      nodeProblem(
        `Cannot read the wish ${printable(file)}: ${printable(reason)}; what it asks for is not enforced. ` +
          'Delete the pod and add it again, or remove the file',
      ),
    );
    return [...this.#all.map(problemOf), ...bad];
  }
}

/** Wishes that are tried in vain in one round: each takes about as long as an ADD. */
const MAX_VAIN_TRIES = 16;

/** What it takes to put a wish in force. */
export interface Fulfilment {
  /** Whether the pod of a wish is there; rejects when that cannot be said. */
  readonly isAlive: (wish: Wish) => Promise<boolean>;
  /** Why no cap can be put in force now; undefined when that is not known. */
  readonly refusal: string | undefined;
  /** Puts it in force and removes it, or undoes itself and rejects. */
  readonly attach: (wish: Wish) => Promise<unknown>;
  readonly log: (level: 'info' | 'error', message: string) => void;
}

/** Reads all wishes and tries them; those whose pod is gone are dropped. */
export async function fulfil(
  wishes: Wishes,
  { isAlive, refusal, attach, log }: Fulfilment,
): Promise<void> {
  wishes.look();
  let vainTries = 0;
  for (const wish of wishes.inTurn()) {
    try {
      if (!(await isAlive(wish))) {
        wishes.remove(wish);
        log(
          'info',
          `The pod of ${wish.hostInterface} is gone: forgetting ${nameOf(wish)}, which had no cap yet`,
        );
      } else if (refusal !== undefined) {
        wishes.postpone(wish, refusal);
      } else if (vainTries < MAX_VAIN_TRIES) {
        await attach(wish);
        log('info', `${nameOf(wish)}: ${subjectOf(wish)} in force now`);
      }
    } catch (error) {
      vainTries += 1;
      wishes.postpone(wish, reasonOf(error));
    }
  }
}

function reasonOf(error: unknown): string {
  const { message } = error as Error;
  return error instanceof ShapingError && error.remedy !== undefined
    ? `${message}; ${error.remedy}`
    : message;
}

/**
 * Throws ShapingError when the other end of a link is elsewhere than in the sandbox, where that can
 * be seen.
 */
async function requirePair(rt: RtSocket, link: Link, sandbox: string): Promise<void> {
  const netns = tryOpenNetns(sandbox);
  if (netns === undefined) return;
  try {
    if (link.linkNetnsId === (await netnsIdOf(rt, netns))) return;
    throw new ShapingError(
      'not-found',
      `${link.name} is not the other end of an interface in ${sandbox}`,
      'delete the pod and add it again',
    );
  } finally {
    netns.close();
  }
}

/**
 * Whether the pod of a wish is there. Throws ShapingError when its host interface leads to another
 * one.
 */
export async function isPodThere(rt: RtSocket, wish: Wish): Promise<boolean> {
  const { hostInterface, hostInterfaceIndex, sandbox } = wish;
  const link = await findLink(rt, { index: hostInterfaceIndex });
  if (link === undefined || !isSameDevice({ name: hostInterface, ...kindOf(wish) }, link))
    return false;
  if (isRemoved(sandbox)) return false;
  await requirePair(rt, link, sandbox);
  return true;
}

function kindOf({ kind }: Wish): Pick<Wish, 'kind'> {
  return kind === undefined ? {} : { kind };
}
