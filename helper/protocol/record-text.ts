// What the file of a record holds, and how it is seen that nothing has become something else since
// it was written. Pure.

import { crc32 } from '../wire/crc32.ts';
import { podNamesOf, type PodNames } from './pod-names.ts';

/**
 * Version of a record that tells of one host interface and nothing else: releases that know no more
 * read it.
 */
export const RECORD_VERSION = 1;

/**
 * What a record says of its pod for people. Absent in records of versions that did not ask, and of
 * attachments of which the runtime has named no pod.
 */
export interface PodOfRecord extends PodNames {
  /**
   * When the attachment was added first, in UTC (ISO 8601): of two sandboxes of one pod the later
   * is the newer.
   */
  readonly addedAt?: string;
}

/**
 * What is said of the pod has a checksum of its own: releases that know nothing of it read such a
 * record as one that they have written, and leave this out. Whatever comes later has to do the
 * same.
 */
function podIn(record: object): PodOfRecord | undefined {
  const { addedAt } = record as PodOfRecord;
  const pod = { ...podNamesOf(record), ...(addedAt !== undefined && { addedAt }) };
  return Object.keys(pod).length === 0 ? undefined : pod;
}

/**
 * Likewise where its caps come from. Absent in records of versions that did not say.
 */
export function sourcesIn(record: object): object | undefined {
  const { capSource, capSources } = record as { capSource?: unknown; capSources?: unknown };
  const sources = {
    ...(capSource !== undefined && { capSource }),
    ...(capSources !== undefined && { capSources }),
  };
  return Object.keys(sources).length === 0 ? undefined : sources;
}

const POD_FIELDS = ['podNamespace', 'podName', 'podUid', 'addedAt'] as const;

/**
 * The same as the file has it, which is what the checksum is of: names that another release has made
 * fit to be shown may be changed when they are read.
 */
export function podAsWritten(fields: object): object | undefined {
  const { podNamespace, podName, podUid, addedAt } = fields as PodOfRecord;
  const pod = { podNamespace, podName, podUid, addedAt };
  const isKnown = POD_FIELDS.some((field) => pod[field] !== undefined);
  return isKnown ? pod : undefined;
}

/** What the first releases know of a record: all but its pod, and where its caps come from. */
export function withoutExtras(record: object): object {
  const {
    podNamespace: _namespace,
    podName: _name,
    podUid: _uid,
    addedAt: _at,
    capSource: _source,
    capSources: _sources,
    ...rest
  } = record as PodOfRecord & { capSource?: unknown; capSources?: unknown };
  return rest;
}

/** Of what is known of a record: a digit that has become another one is seen by nothing else. */
export function checksumOf(record: object): number {
  return crc32(JSON.stringify(record));
}

/** A record with its version and checksums, in the order of its keys: that is what they are of. */
export function recordText(recordVersion: number, record: object): string {
  const [rest, pod, sources] = [withoutExtras(record), podIn(record), sourcesIn(record)];
  return `${JSON.stringify({
    ...{ recordVersion, ...rest, ...pod, ...sources, checksum: checksumOf(rest) },
    ...(pod !== undefined && { podChecksum: checksumOf(pod) }),
    ...(sources !== undefined && { sourcesChecksum: checksumOf(sources) }),
  })}\n`;
}
