// Results of ADD in every version of the specification: read into one shape, print in the version
// asked for.

import {
  fail,
  integer,
  list,
  optional,
  string,
  type Read,
  type Reader,
} from '../helper/protocol/shape.ts';
import { object, readAt, show } from './json.ts';
import { CniError, ErrorCode, isJsonObject, type CniVersion, type JsonObject } from './types.ts';
import { atLeast } from './versions.ts';

/**
 * Result formats that have the same fields; a result may say any version of the family it was asked
 * for in.
 */
const FAMILIES = [
  ['0.1.0', '0.2.0'],
  ['0.3.0', '0.3.1', '0.4.0'],
  ['1.0.0', '1.1.0'],
] as const;

function invalid(message: string): CniError {
  return new CniError(ErrorCode.invalidConfig, message);
}

function familyOf(version: string): readonly string[] | undefined {
  return FAMILIES.find((family) => (family as readonly string[]).includes(version));
}

/** Whether there is a format of results of this version. */
export function isResultVersion(version: string): boolean {
  return familyOf(version) !== undefined;
}

/** The object without the keys that have no value. */
function compact<T extends object>(object: T): T {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as T;
}

/** A string of which the empty one means absence, as Go prints and reads it. */
const word: Reader<string | undefined> = (value, path) =>
  optional(string)(value, path) || undefined;

const requiredWord: Reader<string> = (value, path) =>
  word(value, path) ?? fail(path, 'a string', undefined);

const count = optional(integer(0));

const cniInterface = object({
  name: requiredWord,
  mac: word,
  /** Bytes. Printed from 1.1.0 on. */
  mtu: count,
  /** Path of the pod's network namespace; absent for an interface of the node. */
  sandbox: word,
  socketPath: word,
  pciID: word,
});
export type CniInterface = Read<typeof cniInterface>;

const ipConfig = object({
  /** Index into the result's interfaces. */
  interface: count,
  /** Address with prefix length. */
  address: requiredWord,
  gateway: word,
});
export type IpConfig = Read<typeof ipConfig>;

const route = object({
  dst: requiredWord,
  gw: word,
  mtu: count,
  advmss: count,
  priority: count,
  table: count,
  scope: count,
});
export type CniRoute = Read<typeof route>;

const words = optional(list(string));
const dns = object({ nameservers: words, domain: word, search: words, options: words });
type Dns = Read<typeof dns>;

/** What says nothing is as good as absent. */
function unlessEmpty<T extends object>(read: Reader<T>): Reader<T | undefined> {
  return (value, path) => {
    const found = optional(read)(value, path);
    return found === undefined || Object.keys(found).length === 0 ? undefined : found;
  };
}

const currentResult = object({
  interfaces: unlessEmpty(list(cniInterface)),
  ips: unlessEmpty(list(ipConfig)),
  routes: unlessEmpty(list(route)),
  dns: unlessEmpty(dns),
});

/** Result of ADD, in the shape of spec 1.1.0. */
export type CniResult = Read<typeof currentResult>;

/** Spec 0.1.0 and 0.2.0: `{ip4: {ip, gateway, routes}, ip6: {…}, dns}`. */
const family = optional(object({ ip: requiredWord, gateway: word, routes: optional(list(route)) }));
const oldResult = object({ ip4: family, ip6: family, dns: unlessEmpty(dns) });

function fromOld({ ip4, ip6, dns: names }: Read<typeof oldResult>): CniResult {
  const families = [ip4, ip6].filter((one) => one !== undefined);
  const ips = families.map(({ ip, gateway }) => ({
    ...{ address: ip, ...(gateway !== undefined && { gateway }) },
  }));
  const routes = families.flatMap((one) => one.routes ?? []);
  return {
    ...(ips.length > 0 && { ips }),
    ...(routes.length > 0 && { routes }),
    ...(names !== undefined && { dns: names }),
  };
}

/**
 * Reads a result that says it is of `version`. Fields nobody knows are left out: keep the object
 * itself where they must survive. `path` names the result in errors (`prevResult`). Throws CniError
 * 7.
 */
export function parseResult(value: unknown, version: string, path: string): CniResult {
  if (familyOf(version) === FAMILIES[0]) return fromOld(readAt(value, path, oldResult));
  return readAt(value, path, currentResult);
}

/**
 * The version a result names; without one it is the configuration's. Throws CniError 7 for one that
 * is not a string.
 */
export function resultVersion(value: JsonObject, configVersion: string, path: string): string {
  return readAt(value, path, object({ cniVersion: word })).cniVersion ?? configVersion;
}

/**
 * A prevResult: `raw` as it came, with the input's version, to be passed on; `result` to be read.
 */
export interface PreviousResult {
  readonly raw: JsonObject;
  readonly result: CniResult;
}

/**
 * Reads prevResult as the configuration's version, as the specification says. Throws CniError 7.
 */
export function parsePreviousResult(value: unknown, configVersion: CniVersion): PreviousResult {
  if (!isJsonObject(value)) {
    throw invalid(`could not parse prevResult: it is ${show(value)}, not an object`);
  }
  const version = resultVersion(value, configVersion, 'prevResult');
  const family = familyOf(configVersion);
  if (family?.includes(version) !== true) {
    throw invalid(
      `could not parse prevResult: result type supports [${family?.join(' ')}] but unmarshalled CNIVersion is "${version}"`,
    );
  }
  // In whatever case of letters: a second one would count, as the last.
  const rest = Object.entries(value).filter(([key]) => key.toLowerCase() !== 'cniversion');
  return {
    raw: { cniVersion: configVersion, ...Object.fromEntries(rest) },
    result: parseResult(value, version, 'prevResult'),
  };
}

function printInterface(
  version: CniVersion,
  { name, mac, mtu, sandbox, socketPath, pciID }: CniInterface,
) {
  const since110 = atLeast(version, '1.1.0') ? { mtu, socketPath, pciID } : {};
  return compact({ name, mac, sandbox, ...since110 });
}

function printIp(version: CniVersion, ip: IpConfig) {
  const family = atLeast(version, '1.0.0') ? undefined : ip.address.includes(':') ? '6' : '4';
  return compact({
    version: family,
    interface: ip.interface,
    address: ip.address,
    gateway: ip.gateway,
  });
}

/** Empty dns is left out from 1.0.0 on; before, the reference implementation prints `{}`. */
function printDns(version: CniVersion, dns: Dns | undefined): Dns | undefined {
  return dns ?? (atLeast(version, '1.0.0') ? undefined : {});
}

/**
 * The result as `version` of the specification prints it; what that version cannot say is left out.
 */
export function printResult(result: CniResult, version: CniVersion): JsonObject {
  return compact({
    cniVersion: version,
    interfaces: result.interfaces?.map((entry) => printInterface(version, entry)),
    ips: result.ips?.map((ip) => printIp(version, ip)),
    routes: result.routes,
    dns: printDns(version, result.dns),
  });
}

/**
 * Hardware address of a device, for a result. A netkit is a device of layer 3 and has none: the
 * kernel says zeros.
 */
export function hardwareAddressOf({ mac }: { readonly mac: string }): { mac?: string } {
  return /^(00:)*00$/.test(mac) || mac === '' ? {} : { mac };
}

/**
 * Names of interfaces that a result lists in the sandbox; all where it tells of no sandbox, as
 * Azure CNI does.
 */
export function listedIn({ interfaces = [] }: CniResult, netns: string): ReadonlySet<string> {
  const isAnywhere = interfaces.every(({ sandbox }) => sandbox === undefined);
  const own = interfaces.filter(({ sandbox }) => isAnywhere || sandbox === netns);
  return new Set(own.map(({ name }) => name));
}
