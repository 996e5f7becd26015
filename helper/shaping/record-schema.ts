// What a record must be, whole: kinds, ranges, names, and that it stands in the file of its name.
// Pure.
//
// Whatever comes from disk may be torn, damaged, or of another podpaced. A record is taken as it is
// or not at all; what it holds beyond what is known here is left out.

import {
  attachmentKeyOf,
  attachParamsOf,
  booleanOf,
  cniNameOf,
  congestionControlOf,
  exemptOf,
  fail,
  fieldsOf,
  ifindexOf,
  ifnameOf,
  integerOf,
  interfacesOf,
  macOf,
  matching,
  oneOf,
  optional,
  pairBesideOf,
  sandboxOf,
  ShapeError,
  stringOf,
  type Fields,
  type Reader,
} from '../protocol/validate.ts';
import {
  keyOf,
  type AttachParams,
  type CapChanges,
  type ChangedCaps,
} from '../protocol/messages.ts';
import { podNamesOf } from '../protocol/pod-names.ts';
import { checksumOf, podIn, recordText, withoutPod } from '../protocol/record-text.ts';
import { CAP_RANGES } from '../protocol/ranges.ts';
import { printable } from '../protocol/printable.ts';
import { AGGREGATE_ID_MAX, AGGREGATE_ID_MIN } from '../wire/aggregate.ts';
import { aggregateIdOf, DIRECTIONS } from './effective.ts';
import {
  hostInterfaceIndexesOf,
  RECORD_VERSION,
  SEVERAL_VERSION,
  type AttachmentRecord,
  type ExitRecord,
  type FormerQdisc,
  type GsoLimits,
  type HostInterfaceRecord,
  type LimitedGso,
  type Origin,
  type RoutedRecord,
  type UncappedRecord,
  type Wish,
} from './records.ts';

const MAX_U32 = 0xffff_ffff;

const uuidOf = matching(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/, 'a UUID');
/** As Date.toISOString prints it. */
const MOMENT = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$/;
const momentOf = matching(MOMENT, 'a moment in UTC');
const decimalOf = matching(/^[0-9]{1,20}$/, 'a number in decimal');
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
/** Names of qdiscs are those of kernel modules. */
const qdiscKindOf = matching(/^[a-z0-9_]{1,15}$/, 'the name of a qdisc');
const exitNameOf = matching(/^[^/:\s]{1,15}$/, 'an interface name');
const kindOf = oneOf(['veth', 'netkit']);
/**
 * The kernel gives a device 4096 transmit queues at most (net/core/rtnetlink.c), and mq each a
 * leaf.
 */
const MAX_FORMER_QDISCS = 4097;
const MAX_OPTIONS_LENGTH = 65_536;

function originOf(fields: Fields): Origin {
  return {
    ...optional(fields, 'bootId', uuidOf),
    ...optional(fields, 'netnsCookie', decimalOf),
  };
}

function capChangesOf(parent: Fields, direction: string): CapChanges {
  const fields = fieldsOf(parent[direction], `changes.${direction}`);
  const known = Object.keys(CAP_RANGES) as (keyof CapChanges)[];
  return Object.assign(
    {},
    ...known.map((key) =>
      optional(fields, key, () =>
        integerOf(fields[key], `changes.${direction}.${key}`, ...CAP_RANGES[key]),
      ),
    ),
  ) as CapChanges;
}

function changedCapsOf(parent: Fields, name: string): ChangedCaps {
  const fields = fieldsOf(parent[name], name);
  const changes = DIRECTIONS.map((direction) => optional(fields, direction, capChangesOf));
  return Object.assign({}, ...changes) as ChangedCaps;
}

/** Far above GSO_MAX_SIZE of linux/netdevice.h. */
const MAX_GSO = 0xffff_ffff;

function aggregateIdsOf(
  fields: Fields,
): Pick<AttachmentRecord, 'egressAggregateId' | 'ingressAggregateId'> {
  const idOf: Reader<number> = (_, name) =>
    integerOf(fields[name], name, AGGREGATE_ID_MIN, AGGREGATE_ID_MAX);
  const ids = {
    ...optional(fields, 'egressAggregateId', idOf),
    ...optional(fields, 'ingressAggregateId', idOf),
  };
  const { egressAggregateId, ingressAggregateId } = ids;
  if (egressAggregateId !== undefined && egressAggregateId === ingressAggregateId)
    fail('ingressAggregateId', 'another than egressAggregateId', ingressAggregateId);
  return ids;
}

/** A direction has an aggregate when it has a rate, by ADD or by `set`, and only then. */
function requireAggregates(record: AttachmentRecord): void {
  for (const direction of DIRECTIONS) {
    const rate = record.caps[direction] ?? record.changes?.[direction]?.rateBitsPerSec;
    const id = aggregateIdOf(record, direction);
    if ((rate === undefined) !== (id === undefined))
      fail(
        `${direction}AggregateId`,
        rate === undefined ? 'absent without a rate' : 'there with a rate',
        id,
      );
  }
}

function gsoLimitsOf(parent: Fields, when: string): GsoLimits {
  const fields = fieldsOf(parent[when], `gso.${when}`);
  const of = (_: Fields, field: string): number =>
    integerOf(fields[field], `gso.${when}.${field}`, 0, MAX_GSO);
  return {
    gsoMaxSizeBytes: of(fields, 'gsoMaxSizeBytes'),
    gsoMaxSegs: of(fields, 'gsoMaxSegs'),
    ...optional(fields, 'gsoIpv4MaxSizeBytes', of),
  };
}

function limitedGsoOf(parent: Fields, name: string): LimitedGso {
  const fields = fieldsOf(parent[name], name);
  return { former: gsoLimitsOf(fields, 'former'), limited: gsoLimitsOf(fields, 'limited') };
}

/** What is known of host routing, with the hardware address at this end. */
function routedOf(
  { hostRouting }: Pick<AttachParams, 'hostRouting'>,
  fields: Fields,
): { readonly hostRouting?: RoutedRecord } {
  if (hostRouting === undefined) return {};
  const routed = fieldsOf(fields['hostRouting'], 'hostRouting');
  return { hostRouting: { ...hostRouting, ...optional(routed, 'hostMac', macOf) } };
}

function hostInterfaceOf(fields: Fields): HostInterfaceRecord {
  const pair = pairBesideOf(fields);
  return {
    ...pair,
    ...optional(fields, 'kind', kindOf),
    ...routedOf(pair, fields),
    ...optional(fields, 'gso', limitedGsoOf),
  };
}

/** Keys in the order of former releases, which the checksum goes by; what came later comes last. */
function attachmentOf(fields: Fields): AttachmentRecord {
  const { beside, ...params } = attachParamsOf(fields);
  const record: AttachmentRecord = {
    ...params,
    hostInterfaceIndex: ifindexOf(fields, 'hostInterfaceIndex'),
    ...optional(fields, 'kind', kindOf),
    ...routedOf(params, fields),
    ...optional(fields, 'changes', changedCapsOf),
    ...aggregateIdsOf(fields),
    ...originOf(fields),
    ...optional(fields, 'gso', limitedGsoOf),
    ...optional(fields, 'podInterface', ifnameOf),
    ...(beside !== undefined && { beside: interfacesOf(fields, 'beside', hostInterfaceOf) }),
    ...optional(fields, 'addedAt', momentOf),
  };
  requireAggregates(record);
  return record;
}

function formerQdiscOf(value: unknown, index: number): FormerQdisc {
  const fields = fieldsOf(value, `formerQdiscs[${index}]`);
  const { options } = fields;
  if (typeof options !== 'string' || options.length > MAX_OPTIONS_LENGTH || !BASE64.test(options))
    fail('options', 'bytes in base64', options);
  return {
    kind: qdiscKindOf(fields, 'kind'),
    handle: integerOf(fields['handle'], 'handle', 0, MAX_U32),
    parent: integerOf(fields['parent'], 'parent', 1, MAX_U32),
    options,
  };
}

function exitOf(fields: Fields): ExitRecord {
  const { formerQdiscs } = fields;
  if (!Array.isArray(formerQdiscs) || formerQdiscs.length > MAX_FORMER_QDISCS)
    fail('formerQdiscs', `an array of at most ${MAX_FORMER_QDISCS} qdiscs`, formerQdiscs);
  return {
    ifindex: ifindexOf(fields, 'ifindex'),
    name: exitNameOf(fields, 'name'),
    formerQdiscs: formerQdiscs.map(formerQdiscOf),
    ...originOf(fields),
  };
}

/** Longer than anything that the helper says of one cap. */
const MAX_REASON_LENGTH = 2000;

function wishOf(fields: Fields): Wish {
  return {
    ...attachParamsOf(fields),
    hostInterfaceIndex: ifindexOf(fields, 'hostInterfaceIndex'),
    ...optional(fields, 'kind', kindOf),
    reason: printable(stringOf(fields, 'reason')).slice(0, MAX_REASON_LENGTH),
    ...optional(fields, 'addedAt', momentOf),
  };
}

/** As stat(2) names a namespace: device and inode. */
const identityOf = matching(/^[0-9]{1,20}:[0-9]{1,20}$/, 'a device and an inode');

/** Far more than a list makes in a sandbox. */
const MAX_LISTED = 64;

function listedOf(fields: Fields, name: string): string[] {
  const value = fields[name];
  if (!Array.isArray(value) || value.length === 0 || value.length > MAX_LISTED)
    fail(name, `an array of 1 to ${MAX_LISTED} interfaces`, value);
  return value.map((one: unknown) => ifnameOf({ [name]: one }, name));
}

function clauseOf(fields: Fields, name: string): string {
  return printable(stringOf(fields, name)).slice(0, MAX_REASON_LENGTH);
}

function hostEndOf(fields: Fields): Pick<UncappedRecord, 'hostInterface' | 'hostInterfaceIndex'> {
  if (fields['hostInterface'] === undefined) return {};
  return {
    hostInterface: ifnameOf(fields, 'hostInterface'),
    hostInterfaceIndex: ifindexOf(fields, 'hostInterfaceIndex'),
  };
}

/** Keys in the order in which the plugin writes them, which the checksum goes by. */
function uncappedOf(fields: Fields): UncappedRecord {
  return {
    ...attachmentKeyOf(fields),
    network: cniNameOf(fields, 'network'),
    sandbox: sandboxOf(fields),
    ...optional(fields, 'sandboxNetns', identityOf),
    ...optional(fields, 'nodeNetns', identityOf),
    ...optional(fields, 'bootId', uuidOf),
    ...hostEndOf(fields),
    ...optional(fields, 'kind', kindOf),
    ...optional(fields, 'isAsked', booleanOf),
    ...optional(fields, 'noPair', clauseOf),
    ...optional(fields, 'exempt', exemptOf),
    ...optional(fields, 'congestionControl', congestionControlOf),
    ...optional(fields, 'listed', listedOf),
    ...podNamesOf(fields),
    ...optional(fields, 'addedAt', momentOf),
  };
}

/** The kinds of records, by the names of their directories. */
export interface Records {
  attachments: AttachmentRecord;
  exits: ExitRecord;
  wishes: Wish;
  uncapped: UncappedRecord;
}

/** Name of the file of a record, without its suffix. */
export const RECORD_NAMES: { readonly [K in keyof Records]: (record: Records[K]) => string } = {
  attachments: keyOf,
  exits: ({ ifindex }) => String(ifindex),
  wishes: keyOf,
  uncapped: keyOf,
};

const READERS: { readonly [K in keyof Records]: (fields: Fields) => Records[K] } = {
  attachments: attachmentOf,
  exits: exitOf,
  wishes: wishOf,
  uncapped: uncappedOf,
};

function requireVersion(fields: Fields, version: unknown): void {
  const known = `this podpaced knows ${SEVERAL_VERSION}`;
  if (version === RECORD_VERSION || version === SEVERAL_VERSION) return;
  if (Number.isSafeInteger(version) && (version as number) > SEVERAL_VERSION)
    throw new ShapeError(
      `it is of a newer podpaced: its record version is ${String(version)}, ${known}`,
    );
  fail('recordVersion', `${RECORD_VERSION} or ${SEVERAL_VERSION}`, fields['recordVersion']);
}

/**
 * The oldest version that says all of a record: a release that reads less of it would hold less
 * than was asked for.
 */
function versionOf(record: object): number {
  const isSeveral = ['podInterface', 'beside', 'unheld'].some((name) =>
    Object.hasOwn(record, name),
  );
  return isSeveral ? SEVERAL_VERSION : RECORD_VERSION;
}

/**
 * The record that a file holds. `name` is the file's, without its suffix. Throws ShapeError that
 * says in one printable line what is wrong.
 */
export function parseRecord<K extends keyof Records>(
  kind: K,
  name: string,
  text: string,
): Records[K] {
  try {
    const fields = fieldsOf(JSON.parse(text), 'record');
    requireVersion(fields, fields['recordVersion']);
    const record = READERS[kind](fields);
    // Absent in records of 23c71bb.
    if (fields['checksum'] !== undefined) requireChecksum(fields['checksum'], withoutPod(record));
    const pod = podIn(record);
    if (pod !== undefined || fields['podChecksum'] !== undefined)
      requireChecksum(fields['podChecksum'], pod ?? {});
    const own = RECORD_NAMES[kind](record);
    if (own !== name)
      throw new ShapeError(`it is the record of ${own}, which has a file of its own name`);
    return record;
  } catch (error) {
    // Whatever it is: text that nests too deep has JSON.stringify of the complaint run out of
    // stack, too.
    throw new ShapeError(printable((error as Error).message).slice(0, 300), { cause: error });
  }
}

function requireChecksum(checksum: unknown, said: object): void {
  if (checksum !== checksumOf(said))
    throw new ShapeError(
      'its checksum is not that of what it says: it was damaged, or changed by hand',
    );
}

/** What a file of a record holds. Throws ShapeError for what `parseRecord` would not take. */
export function formatRecord<K extends keyof Records>(kind: K, record: Records[K]): string {
  const own = READERS[kind]({ ...record });
  return recordText(versionOf(own), own);
}

/**
 * Attachments of which not more than one can be right, with the reason: they name the same
 * aggregate or the same interface.
 */
export function contradictionsOf(
  records: readonly AttachmentRecord[],
): Map<AttachmentRecord, string> {
  const found = new Map<AttachmentRecord, string>();
  const owners = new Map<string, AttachmentRecord>();
  for (const record of records) {
    const claims = [
      ...hostInterfaceIndexesOf(record).map((ifindex) => `interface ${ifindex}`),
      ...DIRECTIONS.flatMap((direction) => {
        const id = aggregateIdOf(record, direction);
        return id === undefined ? [] : [`aggregate ${id}`];
      }),
    ];
    for (const claim of claims) {
      const other = owners.get(claim);
      if (other === undefined) {
        owners.set(claim, record);
        continue;
      }
      found.set(record, `it has ${claim}, as the record of ${keyOf(other)}`);
      found.set(other, `it has ${claim}, as the record of ${keyOf(record)}`);
    }
  }
  return found;
}
