// Results of ADD in every version of the specification: read into one shape, print in the version
// asked for.

import {
  elementObject,
  field,
  optionalArray,
  optionalCount,
  optionalObject,
  optionalString,
  show,
} from './json.ts';
import {
  CniError,
  ErrorCode,
  isJsonObject,
  type CniInterface,
  type CniResult,
  type CniRoute,
  type CniVersion,
  type Dns,
  type IpConfig,
  type JsonObject,
} from './types.ts';
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

/** The object without the keys that have no value. */
function compact<T extends object>(object: T): T {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as T;
}

function requiredString(object: JsonObject, name: string, path: string): string {
  const value = optionalString(object, name, path);
  if (value === undefined || value === '') throw invalid(`Cannot use ${path}: it is missing`);
  return value;
}

/** A string of which the empty one means absence, as Go prints and reads it. */
function stringOrAbsent(object: JsonObject, name: string, path: string): string | undefined {
  const value = optionalString(object, name, path);
  return value === '' ? undefined : value;
}

type Optional<T> = { [K in keyof T]?: T[K] | undefined };

function parseInterface(value: unknown, path: string): CniInterface {
  const object = elementObject(value, path);
  const parsed: Optional<CniInterface> = {
    name: requiredString(object, 'name', `${path}.name`),
    mac: stringOrAbsent(object, 'mac', `${path}.mac`),
    mtu: optionalCount(object, 'mtu', `${path}.mtu`),
    sandbox: stringOrAbsent(object, 'sandbox', `${path}.sandbox`),
    socketPath: stringOrAbsent(object, 'socketPath', `${path}.socketPath`),
    pciID: stringOrAbsent(object, 'pciID', `${path}.pciID`),
  };
  return compact(parsed) as CniInterface;
}

function parseIp(value: unknown, path: string): IpConfig {
  const object = elementObject(value, path);
  const parsed: Optional<IpConfig> = {
    interface: optionalCount(object, 'interface', `${path}.interface`),
    address: requiredString(object, 'address', `${path}.address`),
    gateway: stringOrAbsent(object, 'gateway', `${path}.gateway`),
  };
  return compact(parsed) as IpConfig;
}

function parseRoute(value: unknown, path: string): CniRoute {
  const object = elementObject(value, path);
  const parsed: Optional<CniRoute> = {
    dst: requiredString(object, 'dst', `${path}.dst`),
    gw: stringOrAbsent(object, 'gw', `${path}.gw`),
    mtu: optionalCount(object, 'mtu', `${path}.mtu`),
    advmss: optionalCount(object, 'advmss', `${path}.advmss`),
    priority: optionalCount(object, 'priority', `${path}.priority`),
    table: optionalCount(object, 'table', `${path}.table`),
    scope: optionalCount(object, 'scope', `${path}.scope`),
  };
  return compact(parsed) as CniRoute;
}

function parseStrings(
  object: JsonObject,
  name: string,
  path: string,
): readonly string[] | undefined {
  return optionalArray(object, name, path)?.map((value, index) => {
    if (typeof value === 'string') return value;
    throw invalid(`Cannot use ${path}[${index}]: it is ${show(value)}, not a string`);
  });
}

function parseDns(object: JsonObject | undefined, path: string): Dns | undefined {
  if (object === undefined) return undefined;
  const parsed: Optional<Dns> = {
    nameservers: parseStrings(object, 'nameservers', `${path}.nameservers`),
    domain: stringOrAbsent(object, 'domain', `${path}.domain`),
    search: parseStrings(object, 'search', `${path}.search`),
    options: parseStrings(object, 'options', `${path}.options`),
  };
  const dns = compact(parsed) as Dns;
  return Object.keys(dns).length === 0 ? undefined : dns;
}

/** Spec 0.1.0 and 0.2.0: `{ip4: {ip, gateway, routes}, ip6: {…}, dns}`. */
function parseOldResult(object: JsonObject, path: string): CniResult {
  const ips: IpConfig[] = [];
  const routes: CniRoute[] = [];
  for (const family of ['ip4', 'ip6']) {
    const section = optionalObject(object, family, `${path}.${family}`);
    if (section === undefined) continue;
    const address = requiredString(section, 'ip', `${path}.${family}.ip`);
    ips.push(parseIp({ address, gateway: field(section, 'gateway') }, `${path}.${family}`));
    const sectionRoutes = optionalArray(section, 'routes', `${path}.${family}.routes`) ?? [];
    routes.push(
      ...sectionRoutes.map((route, index) =>
        parseRoute(route, `${path}.${family}.routes[${index}]`),
      ),
    );
  }
  return withLists(
    { ips, routes },
    parseDns(optionalObject(object, 'dns', `${path}.dns`), `${path}.dns`),
  );
}

function withLists(lists: Omit<CniResult, 'dns'>, dns: Dns | undefined): CniResult {
  const filled = Object.entries(lists).filter(([, list]) => list !== undefined && list.length > 0);
  return { ...Object.fromEntries(filled), ...(dns === undefined ? {} : { dns }) };
}

function parseList<T>(
  object: JsonObject,
  name: string,
  path: string,
  parse: (value: unknown, path: string) => T,
): readonly T[] | undefined {
  return optionalArray(object, name, `${path}.${name}`)?.map((value, index) =>
    parse(value, `${path}.${name}[${index}]`),
  );
}

/**
 * Reads a result that says it is of `version`. Fields nobody knows are left out: keep the object
 * itself where they must survive. `path` names the result in errors (`prevResult`). Throws CniError
 * 7.
 */
export function parseResult(value: unknown, version: string, path: string): CniResult {
  const object = elementObject(value, path);
  if (familyOf(version) === FAMILIES[0]) return parseOldResult(object, path);
  return withLists(
    {
      interfaces: parseList(object, 'interfaces', path, parseInterface),
      ips: parseList(object, 'ips', path, parseIp),
      routes: parseList(object, 'routes', path, parseRoute),
    } as Omit<CniResult, 'dns'>,
    parseDns(optionalObject(object, 'dns', `${path}.dns`), `${path}.dns`),
  );
}

/**
 * The version a result names; without one it is the configuration's. Throws CniError 7 for one that
 * is not a string.
 */
export function resultVersion(value: JsonObject, configVersion: string, path: string): string {
  return stringOrAbsent(value, 'cniVersion', `${path}.cniVersion`) ?? configVersion;
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
  const { cniVersion: _, ...rest } = value;
  return {
    raw: { cniVersion: configVersion, ...rest },
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
