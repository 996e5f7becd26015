// Routes with one next hop, of both families.

import { FlagsNew } from 'netlink/dist/constants.js';
import {
  RTM_GETROUTE,
  RTM_NEWROUTE,
  decodeLookedUp,
  decodeRoute,
  encodeNewRoute,
  encodeRouteLookup,
  encodeRouteQuery,
} from '../wire/route-message.ts';
import type { Route } from '../wire/route-message.ts';
import { decodeRouteBrief, isDefaultRoute, type RouteBrief } from '../wire/route-brief.ts';
import type { RtSocket } from './rtnetlink.ts';

export { RT_TABLE_MAIN } from '../wire/route-message.ts';
export type { Route } from '../wire/route-message.ts';

/** Which routes to list; all tables and both families when nothing is said. */
export interface RouteFilter {
  readonly family?: 4 | 6;
  readonly table?: number;
  /** Default routes only: the others are not decoded, of which there may be 100,000. */
  readonly isDefault?: boolean;
}

/**
 * Routes as the kernel has them, those of the local table included. A table that never held a route
 * is empty.
 */
export async function listRoutes(rt: RtSocket, filter: RouteFilter = {}): Promise<Route[]> {
  const families = filter.family === undefined ? ([4, 6] as const) : [filter.family];
  const routes: Route[] = [];
  for (const family of families)
    for (const route of await listFamily(rt, family, filter.isDefault === true)) routes.push(route);
  return routes.filter(({ table }) => filter.table === undefined || filter.table === table);
}

/** Rejects with KernelError EEXIST when there is one like it. */
export function addRoute(rt: RtSocket, route: Route): Promise<void> {
  return rt.execute({
    operation: `add ${describe(route)}`,
    type: RTM_NEWROUTE,
    flags: FlagsNew.CREATE | FlagsNew.EXCL,
    payload: encodeNewRoute(route),
  });
}

/**
 * Adds what each route of all tables and both families says of devices to what `begin` gives. Of
 * 80,000 routes none is kept.
 */
export function scanRoutes<T>(
  rt: RtSocket,
  begin: () => T,
  add: (sum: T, route: RouteBrief) => void,
): Promise<T> {
  const request = { operation: 'list routes', type: RTM_GETROUTE, payload: encodeRouteQuery() };
  return rt.scan(request, begin, (sum, payload) => {
    const route = decodeRouteBrief(payload);
    if (route !== undefined) add(sum, route);
  });
}

/**
 * Index of the device by which the node's own packets to an address leave, with a mark perhaps.
 * Rejects with KernelError.
 */
export function deviceTowards(
  rt: RtSocket,
  address: string,
  mark?: number,
): Promise<number | undefined> {
  const payload = encodeRouteLookup(address, mark);
  return rt.get(
    { operation: `find the route to ${address}`, type: RTM_GETROUTE, payload },
    decodeLookedUp,
  );
}

async function listFamily(rt: RtSocket, family: 4 | 6, isDefault: boolean): Promise<Route[]> {
  const operation = `list IPv${family} routes`;
  const routes = await rt.dump(
    { operation, type: RTM_GETROUTE, payload: encodeRouteQuery(family) },
    (payload) => (isDefault && !isDefaultRoute(payload) ? undefined : decodeRoute(payload)),
  );
  // A kernel without IPv6 answers with the routes of the families it has.
  return routes.filter(({ destination }) => destination.includes(':') === (family === 6));
}

function describe({ destination, gateway, ifindex, table }: Route): string {
  const via = gateway === undefined ? '' : ` via ${gateway}`;
  const dev = ifindex === undefined ? '' : ` over interface ${ifindex}`;
  return `route to ${destination}${via}${dev} in table ${table}`;
}
