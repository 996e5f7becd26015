// The record of a pod that is added without a cap: a file beside the helper's socket, whether a
// helper runs or not, so that `podpaced` can list the pod and cap it later. It is written on the
// way of every such ADD, so nothing is loaded for it, and the kernel is asked by files alone.

import fs from 'node:fs';
import path from 'node:path';
import { identityAt, OWN_NETNS } from '../helper/control/file-identity.ts';
import { ABSENT, directoryFault } from '../helper/control/own-directory.ts';
import { writeWhole } from '../helper/control/regular-file.ts';
import { bootId } from '../helper/kernel/boot-clock.ts';
import type { Link } from '../helper/kernel/links.ts';
import type { CapSource } from '../helper/protocol/cap-sources.ts';
import { keyOf, type AttachmentKey, type PodNames } from '../helper/protocol/messages.ts';
import { MAX_CNI_NAME_LENGTH, MAX_POD_INTERFACES, SANDBOX_PATH } from '../helper/protocol/names.ts';
import { networkSays, networkVersions, type NetworkSays } from '../helper/protocol/network-keys.ts';
import { RECORD_VERSION, recordText } from '../helper/protocol/record-text.ts';
import { RECORD_SUFFIX, UNCAPPED } from '../helper/protocol/state-files.ts';
import type { UncappedRecord } from '../helper/shaping/records.ts';
import { hasErrno } from '../helper/wire/errors.ts';
import { isInterfaceName } from '../helper/wire/interface-name.ts';
import { listedIn, type CniResult } from './result.ts';

/** What ADD knows of a pod without a cap. */
export interface UncappedPod {
  readonly call: AttachmentKey & {
    readonly network: string;
    readonly netns: string;
    readonly pod: PodNames;
  };
  readonly settings: NetworkSays;
  /** Who asks for no cap. */
  readonly capSource: CapSource;
  /** Of the list so far. */
  readonly result: CniResult;
  /** The node's end of the pair that this plugin has made, or asked the kernel for. */
  readonly host?: Link;
}

function bootIdIfSeen(): string | undefined {
  try {
    return bootId();
  } catch {
    return undefined;
  }
}

function readIndex(name: string, file: 'ifindex' | 'iflink'): number {
  return Number(fs.readFileSync(`/sys/class/net/${name}/${file}`, 'latin1'));
}

/** Index of a device that is tied to another one; undefined also for one that cannot be seen. */
function indexIfTied(name: string): number | undefined {
  try {
    const index = readIndex(name, 'ifindex');
    return index > 0 && readIndex(name, 'iflink') !== index ? index : undefined;
  } catch {
    return undefined;
  }
}

type HostEnd = Pick<UncappedRecord, 'hostInterface' | 'hostInterfaceIndex' | 'kind' | 'isAsked'>;

/**
 * The host interface that a result names, if that is clear: the one device of the node that is tied
 * to another. The helper asks the kernel whether it is.
 */
function hostEndIn({ interfaces = [] }: CniResult): HostEnd {
  const ends = interfaces.flatMap(({ name, sandbox }) => {
    const isOnNode = sandbox === undefined && isInterfaceName(name);
    const hostInterfaceIndex = isOnNode ? indexIfTied(name) : undefined;
    return hostInterfaceIndex === undefined ? [] : [{ hostInterface: name, hostInterfaceIndex }];
  });
  return (ends.length === 1 ? ends[0] : undefined) ?? {};
}

function hostEndOf({ name, index, kind }: Link): HostEnd {
  return {
    ...{ hostInterface: name, hostInterfaceIndex: index },
    ...((kind === 'veth' || kind === 'netkit') && { kind }),
    isAsked: true,
  };
}

/**
 * Keys in the order of helper/shaping/record-schema.ts, which the checksum goes by; a test compares
 * the two.
 */
function recordOf({ call, settings, capSource, result, host }: UncappedPod): UncappedRecord {
  const { containerId, ifname, network, netns, pod } = call;
  const [sandboxNetns, nodeNetns, boot] = [
    identityAt(netns),
    identityAt(OWN_NETNS),
    bootIdIfSeen(),
  ];
  const listed = [...listedIn(result, netns)]
    .filter((name) => name !== ifname && isInterfaceName(name))
    .slice(0, MAX_POD_INTERFACES);
  return {
    ...{ containerId, ifname, network, sandbox: netns },
    ...(sandboxNetns !== undefined && { sandboxNetns }),
    ...(nodeNetns !== undefined && { nodeNetns }),
    ...(boot !== undefined && { bootId: boot }),
    ...(host === undefined ? hostEndIn(result) : hostEndOf(host)),
    ...networkSays(settings),
    ...(listed.length > 0 && { listed }),
    ...pod,
    addedAt: new Date().toISOString(),
    capSource,
  };
}

/** The folder, and the one of the socket where no helper has run yet, for root only. */
function makeDirectory(directory: string): void {
  const mode = 0o700;
  try {
    fs.mkdirSync(directory, { mode });
  } catch (error) {
    if (hasErrno(error, 'EEXIST')) return;
    // A recursive one says ENOENT also of what is read-only.
    if (!hasErrno(error, 'ENOENT')) throw error;
    fs.mkdirSync(directory, { recursive: true, mode });
  }
}

/** Writes the record. Throws Error that says why it cannot be. */
export function keepUncapped(socket: string, pod: UncappedPod): void {
  const { containerId, network, netns } = pod.call;
  if (
    Math.max(containerId.length, network.length) > MAX_CNI_NAME_LENGTH ||
    !SANDBOX_PATH.test(netns)
  )
    throw new Error('no record can hold its names');
  const directory = path.join(path.dirname(socket), UNCAPPED);
  const fault = directoryFault(directory);
  if (fault === ABSENT) makeDirectory(directory);
  else if (fault !== undefined) throw new Error(`${directory} is not used: ${fault}`);
  const file = path.join(directory, keyOf(pod.call));
  const version = Math.max(RECORD_VERSION, ...networkVersions(pod.settings));
  const staged = file + RECORD_SUFFIX.staged;
  try {
    writeWhole(file + RECORD_SUFFIX.whole, staged, recordText(version, recordOf(pod)));
  } catch (error) {
    fs.rmSync(staged, { force: true });
    throw error;
  }
}
