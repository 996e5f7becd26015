// What a pod's pair needs, computed from what IPAM gave: addresses, routes, forwarding. Pure.
//
// The pair is a point-to-point link, as with the reference ptp plugin: the gateway's address stands
// on the host interface as a single address, the pod reaches the gateway directly and everything
// else, its own subnet included, through it. So pods of one subnet need no common layer 2, and the
// node routes between them.

import {
  decodeAddress,
  encodeAddress,
  isIpv4Mapped,
  networkOf,
  parseCidr,
} from '../../helper/wire/ip-address.ts';
import { RT_SCOPE_LINK, RT_TABLE_MAIN, type Route } from '../../helper/wire/route-message.ts';
import type { CniRoute, IpConfig } from '../result.ts';
import { CniError, ErrorCode } from '../types.ts';

/** Gateways of pods whose IPAM names none: link-local, so that they collide with nothing. */
const DEFAULT_GATEWAY = { 4: '169.254.1.1', 6: 'fe80::1' } as const;

export interface PlannedAddress {
  readonly address: string;
  readonly prefixLength: number;
}

/** A route over the pair; the interface's index is known only once it exists. */
export type PlannedRoute = Omit<Route, 'ifindex'>;

export interface WiringPlan {
  /** IPAM's addresses, each with the gateway that is used. */
  readonly ips: readonly IpConfig[];
  readonly podAddresses: readonly PlannedAddress[];
  /** In the order in which the kernel accepts them: a gateway before what it leads to. */
  readonly podRoutes: readonly PlannedRoute[];
  readonly hostAddresses: readonly PlannedAddress[];
  readonly hostRoutes: readonly PlannedRoute[];
  readonly hasIpv4: boolean;
  readonly hasIpv6: boolean;
}

interface PlannedCidr extends PlannedAddress {
  readonly family: 4 | 6;
  /** First address of the subnet. */
  readonly network: string;
  /** Bits of an address of this family. */
  readonly fullLength: 32 | 128;
}

function invalid(what: string, value: string, wanted: string): CniError {
  return new CniError(
    ErrorCode.invalidConfig,
    `Cannot use ${what} ${JSON.stringify(value)}: it is no ${wanted}`,
    'correct the ipam section of the network configuration',
  );
}

/** Canonical text of an address. Throws CniError 7 that names `what`. */
function canonicalAddress(what: string, text: string): string {
  try {
    return decodeAddress(encodeAddress(text));
  } catch {
    throw invalid(what, text, 'IP address');
  }
}

/**
 * Reads `address/length`. Throws CniError 7 that names `what`, also for an IPv4-mapped IPv6
 * address: on a wire it is neither.
 */
export function readCidr(what: string, text: string): PlannedCidr {
  const cidr = parseCidr(text);
  if (cidr === undefined || isIpv4Mapped(cidr.bytes))
    throw invalid(what, text, 'IP address with prefix length');
  const isIpv4 = cidr.bytes.length === 4;
  return {
    family: isIpv4 ? 4 : 6,
    address: decodeAddress(cidr.bytes),
    prefixLength: cidr.prefixLength,
    network: decodeAddress(networkOf(cidr)),
    fullLength: isIpv4 ? 32 : 128,
  };
}

function familyOf(address: string): 4 | 6 {
  return address.includes(':') ? 6 : 4;
}

interface PlannedIp {
  readonly cidr: PlannedCidr;
  readonly gateway: string;
}

function planIp(ip: IpConfig): PlannedIp {
  const cidr = readCidr('address', ip.address);
  const gateway =
    ip.gateway === undefined
      ? DEFAULT_GATEWAY[cidr.family]
      : canonicalAddress('gateway', ip.gateway);
  if (familyOf(gateway) !== cidr.family)
    throw invalid('gateway', gateway, `IPv${cidr.family} address`);
  return { cidr, gateway };
}

function hostPrefix(address: string): string {
  return `${address}/${familyOf(address) === 4 ? 32 : 128}`;
}

/** The gateway on the link, and the pod's subnet through it. */
function gatewayRoutes({ cidr, gateway }: PlannedIp): PlannedRoute[] {
  const source = cidr.address;
  const direct: PlannedRoute = { destination: hostPrefix(gateway), table: RT_TABLE_MAIN, source };
  if (cidr.prefixLength === cidr.fullLength) return [direct];
  const destination = `${cidr.network}/${cidr.prefixLength}`;
  return [direct, { destination, gateway, table: RT_TABLE_MAIN, source }];
}

/**
 * One of IPAM's routes: through its own gateway, else through that of its family, else straight
 * over the link.
 */
function ipamRoute(route: CniRoute, ips: readonly PlannedIp[]): PlannedRoute {
  const { family, network, prefixLength } = readCidr('route', route.dst);
  const isDirect = route.gw === undefined && (route.scope ?? 0) >= RT_SCOPE_LINK;
  const given =
    route.gw === undefined ? undefined : canonicalAddress('gateway of a route', route.gw);
  const gateway = given ?? ips.find(({ cidr }) => cidr.family === family)?.gateway;
  return {
    destination: `${network}/${prefixLength}`,
    table: route.table ?? RT_TABLE_MAIN,
    ...(gateway !== undefined && !isDirect && { gateway }),
    ...(route.priority !== undefined && { priority: route.priority }),
    ...(route.scope !== undefined && { scope: route.scope }),
    ...(route.mtu !== undefined && { mtu: route.mtu }),
    ...(route.advmss !== undefined && { advmss: route.advmss }),
  };
}

/** The first of those that the kernel would take for the same. */
function unique<T>(entries: readonly T[], key: (entry: T) => string): T[] {
  const seen = new Map<string, T>();
  for (const entry of entries) if (!seen.has(key(entry))) seen.set(key(entry), entry);
  return [...seen.values()];
}

function routeKey({ destination, table, priority }: PlannedRoute): string {
  return `${destination} ${table} ${priority ?? 0}`;
}

/**
 * IPAM's routes win over the computed subnet routes; gateways come first, or nothing could lead
 * through them.
 */
function planPodRoutes(ips: readonly PlannedIp[], routes: readonly CniRoute[]): PlannedRoute[] {
  const computed = ips.flatMap(gatewayRoutes);
  const direct = computed.filter(({ gateway }) => gateway === undefined);
  const subnets = computed.filter(({ gateway }) => gateway !== undefined);
  const given = routes.map((route) => ipamRoute(route, ips));
  const givenKeys = new Set(given.map(routeKey));
  return unique(
    [...direct, ...subnets.filter((route) => !givenKeys.has(routeKey(route))), ...given],
    routeKey,
  );
}

/**
 * Plans the wiring of a pod with these addresses and routes. Throws CniError 7 that names the value
 * when there is no address, or one of the texts is none.
 */
export function planWiring(ips: readonly IpConfig[], routes: readonly CniRoute[]): WiringPlan {
  if (ips.length === 0) {
    throw new CniError(
      ErrorCode.invalidConfig,
      'IPAM plugin returned missing IP config',
      'the IPAM plugin must give at least one address',
    );
  }
  const planned = ips.map(planIp);
  const gateways = unique(planned, ({ gateway }) => gateway);
  return {
    ips: ips.map((ip, index) => ({ ...ip, gateway: planned[index]?.gateway ?? '' })),
    podAddresses: planned.map(({ cidr: { address, prefixLength } }) => ({ address, prefixLength })),
    podRoutes: planPodRoutes(planned, routes),
    hostAddresses: gateways.map(({ gateway, cidr }) => ({
      address: gateway,
      prefixLength: cidr.fullLength,
    })),
    hostRoutes: planned.map(({ cidr }) => ({
      destination: `${cidr.address}/${cidr.fullLength}`,
      table: RT_TABLE_MAIN,
    })),
    hasIpv4: planned.some(({ cidr }) => cidr.family === 4),
    hasIpv6: planned.some(({ cidr }) => cidr.family === 6),
  };
}
