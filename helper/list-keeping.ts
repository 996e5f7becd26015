// `--cni-conf-dir`: podpace is kept in the runtime's list, and what was added meanwhile is told of.

import type { HelperConfig } from './config.ts';
import type { Shaper } from './control/shaper.ts';
import { ListKeeper } from './install/keep-in-list.ts';
import type { UnknownPod } from './protocol/messages.ts';
import { DEFAULT_SOCKET } from './protocol/state-files.ts';

type Log = (level: 'info' | 'warn' | 'error', message: string) => void;

/** Pods that are being added by the former list are there after that. */
const ADDED_MS = 10_000;

const MAX_NAMED = 20;

/** Pairs that no plugin of podpace's has told of. */
async function unknownPods(shaper: Pick<Shaper, 'uncapped'>): Promise<UnknownPod[]> {
  const unknown: UnknownPod[] = [];
  for (let after: string | undefined = ''; after !== undefined;) {
    const page = await shaper.uncapped(after === '' ? {} : { after });
    unknown.push(...page.unknown);
    after = page.next;
  }
  return unknown;
}

/** Tells of the pods that were added while podpace was not in the list, once each. */
function newcomers(shaper: Pick<Shaper, 'uncapped'>, log: Log): () => Promise<void> {
  let known: Promise<ReadonlySet<number>> = indexes(unknownPods(shaper));
  return async () => {
    const before = await known;
    const now = await unknownPods(shaper);
    known = indexes(Promise.resolve(now));
    const came = now.filter(({ hostInterfaceIndex }) => !before.has(hostInterfaceIndex));
    if (came.length === 0) return;
    const names = came.slice(0, MAX_NAMED).map(({ hostInterface }) => hostInterface);
    log(
      'warn',
      `${came.length} pods were added while podpace was not in the network list, so they have no cap ` +
        `(${names.join(', ')}): delete them, to have them made anew; podpaced list --all shows them as unknown`,
    );
  };
}

async function indexes(pods: Promise<readonly UnknownPod[]>): Promise<ReadonlySet<number>> {
  return new Set((await pods).map(({ hostInterfaceIndex }) => hostInterfaceIndex));
}

/**
 * What keeps podpace in a list; undefined where that was not asked for. `gaveUp` is told, with the
 * remedy, when somebody else has his way.
 */
export function keepList(
  { cniConfDir, socket }: Pick<HelperConfig, 'cniConfDir' | 'socket'>,
  shaper: Pick<Shaper, 'uncapped'>,
  log: Log,
  gaveUp: (message: string) => void = () => undefined,
): ListKeeper | undefined {
  if (cniConfDir === '') return undefined;
  const tellOfNewcomers = newcomers(shaper, log);
  const putBack = (): void => {
    const tell = (): void =>
      void tellOfNewcomers().catch((error: unknown) =>
        log('error', `Cannot tell which pods have come meanwhile: ${(error as Error).message}`),
      );
    setTimeout(tell, ADDED_MS).unref();
  };
  const own = socket === DEFAULT_SOCKET ? {} : { socket };
  return new ListKeeper({ directory: cniConfDir, ...own }, { log, putBack, gaveUp });
}

/** Before an uninstall: no pod is added by the list any more. */
export async function leaveList(keeper: ListKeeper, log: Log): Promise<void> {
  try {
    await keeper.leave();
  } catch (error) {
    log('error', `Cannot take podpace out of the network list: ${(error as Error).message}`);
  }
}
