// Keys of a network's configuration that go on with each of its pods: the plugin hands them to the
// helper, and both keep them in records, where a later cap finds them. Requests, records and what
// copies one to another follow from this table, so another key takes a row here, and whatever goes
// by it. The plugin loads this at every start. Pure.

import { checkExemptions } from '../wire/exemption.ts';
import { show } from '../wire/show.ts';
import { CONGESTION_CONTROL } from './names.ts';
import {
  fail,
  list,
  matching,
  optional,
  ShapeError,
  string,
  type Read,
  type Reader,
} from './shape.ts';

interface NetworkKey<T> {
  /**
   * In the configuration, when it is there and not empty. Throws ShapeError: of another type, or
   * else a clause that says why it cannot be used.
   */
  readonly configured: Reader<T>;
  /** What the operator can do then. */
  readonly remedy: string;
  /** In requests and records. */
  readonly read: Reader<T>;
  /** The first version of records whose readers know it; older releases leave such a record alone. */
  readonly recordVersion: number;
}

/** Of a type, and then one of the values that can be used. */
export function usable<T>(type: Reader<T>, isUsable: (value: T) => boolean): Reader<T> {
  return (value, place) => {
    const found = type(value, place);
    if (isUsable(found)) return found;
    throw new ShapeError(`it is ${show(found)}`);
  };
}

/** The helper takes a request of 64 KiB at most. */
const MAX_EXEMPT = 1000;

/** Checks exemptions, and says by the function what is wrong with them. */
function cidrs(entries: readonly unknown[], faultOf: (fault: string) => string): readonly string[] {
  try {
    return checkExemptions(entries);
  } catch (error) {
    throw new ShapeError(faultOf((error as Error).message));
  }
}

const anyList = list((entry: unknown) => entry);

export const exempt: Reader<readonly string[]> = (value, place) =>
  cidrs(anyList(value, place), (fault) => `"${place}" must be CIDRs: ${fault}`);

function configuredExempt(value: unknown, place: string): readonly string[] {
  if (!Array.isArray(value)) fail(place, 'a list', value);
  const { length } = value;
  if (length > MAX_EXEMPT)
    throw new ShapeError(`it has ${length} entries, more than ${MAX_EXEMPT}`);
  return cidrs(value, (fault) => fault);
}

const KEYS = {
  /** Addresses to and from which the caps do not count, as helper/wire/exemption.ts reads them. */
  exempt: {
    configured: configuredExempt,
    remedy:
      `give at most ${MAX_EXEMPT} CIDRs, such as ["10.0.0.0/8", "2001:db8::/32", "!10.1.0.0/16"], and long lists ` +
      'to podpaced: "exempt" in its configuration holds for all pods of the node',
    read: exempt,
    recordVersion: 1,
  },
  /** Of TCP in the pod, which ADD sets there; absent: the node's. The helper only tells of it. */
  congestionControl: {
    configured: usable(string, (name) => CONGESTION_CONTROL.test(name)),
    remedy: 'name an algorithm of the kernel, such as "bbr" or "cubic", or leave it out',
    read: matching(CONGESTION_CONTROL, 'the name of an algorithm of TCP'),
    recordVersion: 1,
  },
} satisfies Readonly<Record<string, NetworkKey<unknown>>>;

type Keys = typeof KEYS;

/** What a network says of each of its pods; what it does not say is absent. */
export type NetworkSays = { readonly [K in keyof Keys]?: Read<Keys[K]['read']> };

const NAMES = Object.keys(KEYS) as (keyof Keys)[];

/** Of each key a reader that a function makes of it, of what may be absent. */
export function networkReaders(of: (key: NetworkKey<unknown>) => Reader<unknown>): {
  readonly [K in keyof Keys]: Reader<NetworkSays[K]>;
} {
  const readers = NAMES.map((name) => [name, optional(of(KEYS[name]))]);
  return Object.fromEntries(readers) as ReturnType<typeof networkReaders>;
}

/** Their fields in requests and records. */
export const NETWORK_SAYS = networkReaders(({ read }) => read);

/** What stands for absence. */
export function isEmpty(value: unknown): boolean {
  return value === undefined || value === '' || (Array.isArray(value) && value.length === 0);
}

/** What is said among some fields, in the order of the table. */
export function networkSays(fields: NetworkSays): NetworkSays {
  const said = NAMES.filter((name) => !isEmpty(fields[name]));
  return Object.fromEntries(said.map((name) => [name, fields[name]]));
}

/** Versions of records that have to be known for what is said among some fields. */
export function networkVersions(fields: NetworkSays): number[] {
  return NAMES.filter((name) => !isEmpty(fields[name])).map((name) => KEYS[name].recordVersion);
}

/** Of those for all that can be said. */
export const NEWEST_NETWORK_VERSION = Math.max(...NAMES.map((name) => KEYS[name].recordVersion));
