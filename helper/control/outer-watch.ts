// Knows where the outer packets of the node's tunnels go and what they are made of, as far as
// devices themselves do not say it. Asked anew when devices of that kind come, go or change, and
// when some seconds have passed.

import type { Link } from '../wire/link-message.ts';
import { deviceTowards } from '../kernel/routes.ts';
import type { RtSocket } from '../kernel/rtnetlink.ts';
import { listL2tp, listXfrmStates, pppoeDevices } from '../kernel/tunnels.ts';
import { KernelError } from '../wire/errors.ts';
import { NO_OUTER_WAYS, type OuterWays } from '../shaping/layers.ts';
import { farEndOf } from '../shaping/overheads.ts';

/** Less than the pause between two reconciliations. */
const LIFETIME_MS = 2000;
/**
 * A node of a mesh has one tunnel for each other node. Those beyond are taken to leave by the
 * uplink.
 */
const MAX_LOOKUPS = 64;
const IPSEC: ReadonlySet<string> = new Set(['xfrm', 'vti', 'vti6']);

/** What cannot be asked is not known, and the overhead estimated. */
async function orElse<T>(answer: Promise<T>, otherwise: T): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof KernelError) return otherwise;
    throw error;
  }
}

/** Asks the kernel what has to be known of these devices, and nothing where that is nothing. */
async function askFor(rt: RtSocket, links: readonly Link[]): Promise<OuterWays> {
  const far = links.flatMap(({ index, ...link }) => {
    const end = farEndOf({ index, ...link });
    return end === undefined ? [] : [{ index, end, mark: link.tunnel?.mark }];
  });
  const lookups = far.slice(0, MAX_LOOKUPS).map(async ({ index, end, mark }) => {
    return [index, await orElse(deviceTowards(rt, end, mark), undefined)] as const;
  });
  const routed = (await Promise.all(lookups)).flatMap(([index, device]) =>
    device === undefined ? [] : [[index, device] as const],
  );
  const hasIpsec = links.some(({ kind = '' }) => IPSEC.has(kind));
  const pppoe = links.some(({ kind }) => kind === 'ppp') ? pppoeDevices() : [];
  const hasL2tp = links.some(
    ({ kind, isUnbacked }) => isUnbacked === true || (kind === 'ppp' && pppoe.length === 0),
  );
  const none = { tunnels: [], sessions: [] };
  const { tunnels, sessions } = hasL2tp ? await orElse(listL2tp(), none) : none;
  return {
    routed: new Map(routed),
    xfrmStates: hasIpsec ? await orElse(listXfrmStates(), []) : [],
    l2tpTunnels: tunnels,
    l2tpSessions: sessions,
    pppoeDevices: pppoe,
  };
}

export class OuterWatch {
  readonly #rt: RtSocket;
  #known: { readonly of: string; readonly ways: OuterWays; readonly untilMs: number } | undefined;

  constructor(rt: RtSocket) {
    this.#rt = rt;
  }

  /** What there is to be known of these devices. `links`: all of the node. */
  async read(links: readonly Link[]): Promise<OuterWays> {
    const concerned = links.filter(
      ({ kind = '', isUnbacked, ...link }) =>
        IPSEC.has(kind) ||
        kind === 'ppp' ||
        isUnbacked === true ||
        farEndOf({ kind, ...link }) !== undefined,
    );
    if (concerned.length === 0) return NO_OUTER_WAYS;
    const of = JSON.stringify(
      concerned.map(({ index, name, kind, tunnel }) => [index, name, kind, tunnel]),
    );
    const known = this.#known;
    if (known?.of === of && performance.now() < known.untilMs) return known.ways;
    const ways = await askFor(this.#rt, concerned);
    this.#known = { of, ways, untilMs: performance.now() + LIFETIME_MS };
    return ways;
  }
}
