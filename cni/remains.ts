// What may be left of an attachment, told by files alone: runtimes send several DELs for a pod,
// most of which find nothing. Neither the helper is asked for that nor the kernel by netlink, whose
// addon takes longer to load than all of this.

import fs from 'node:fs';
import path from 'node:path';
import { keyOf, type AttachmentKey } from '../helper/protocol/messages.ts';
import {
  ATTACHMENTS,
  RECORD_SUFFIX,
  RECORDS_MARK,
  UNCAPPED,
  WISHES,
} from '../helper/protocol/state-files.ts';
import { isFormerIfbName } from '../helper/wire/bandwidth-plugin.ts';
import type { Attachment } from './wiring/alias.ts';

function hasRecord(directory: string, key: AttachmentKey): boolean {
  const name = keyOf(key);
  return Object.values(RECORD_SUFFIX).some((suffix) =>
    fs.existsSync(path.join(directory, name + suffix)),
  );
}

/** True when a wish of the attachment stands beside the helper's socket. */
export function hasWish(socket: string, key: AttachmentKey): boolean {
  return hasRecord(path.join(path.dirname(socket), WISHES), key);
}

/**
 * False only where the helper that listens at `socket`, or did, has nothing of the attachment. Its
 * records stand beside its socket when the mark does; a helper that keeps them elsewhere has to be
 * asked. Should it have lost the file of a record, it drops the attachment with the pod's
 * interface.
 */
export function mayBeAttached(socket: string, key: AttachmentKey): boolean {
  const directory = path.dirname(socket);
  if (!fs.existsSync(path.join(directory, RECORDS_MARK))) return true;
  return hasWish(socket, key) || hasRecord(path.join(directory, ATTACHMENTS), key);
}

/**
 * Removes the record of a pod without a cap (cni/uncapped.ts), if there is one. Throws Error when
 * it cannot be removed.
 */
export function forgetUncapped(socket: string, key: AttachmentKey): void {
  const file = path.join(path.dirname(socket), UNCAPPED, keyOf(key));
  for (const suffix of [RECORD_SUFFIX.whole, RECORD_SUFFIX.staged])
    if (fs.existsSync(file + suffix)) fs.unlinkSync(file + suffix);
}

/**
 * Names of the devices of this network namespace. The first two lines are a heading, names hold no
 * colon.
 */
function deviceNames(): string[] {
  const lines = fs.readFileSync('/proc/thread-self/net/dev', 'latin1').split('\n').slice(2);
  return lines.flatMap((line) =>
    line.includes(':') ? [line.slice(0, line.indexOf(':')).trim()] : [],
  );
}

/** As cni/wiring/former-ifb-name.ts makes them. */
const PODPACE_NAME = /^pod[0-9a-f]{12}$/;

/**
 * False only where no device of the node has this alias, and each that is named like a host
 * interface of podpace has the alias of another attachment.
 */
export function mayHaveInterface(alias: string): boolean {
  try {
    return deviceNames().some((name) => {
      const found = fs.readFileSync(`/sys/class/net/${name}/ifalias`, 'utf8').replace(/\n$/, '');
      return found === alias || (PODPACE_NAME.test(name) && !found.startsWith('podpace:'));
    });
  } catch {
    // A device that has just gone, or /sys is of another network namespace: the kernel has to be
    // asked.
    return true;
  }
}

/**
 * A folder for each device of this network namespace, without the counters that /proc/net/dev adds
 * up for each.
 */
const DEVICE_SYSCTLS = '/proc/sys/net/ipv4/conf';

/**
 * False only where the CNI bandwidth plugin has left no ifb of this attachment. Its hash is loaded
 * only on nodes that have such devices at all.
 */
export async function mayHaveFormerIfb(attachment: Attachment): Promise<boolean> {
  try {
    const named = fs.readdirSync(DEVICE_SYSCTLS).filter(isFormerIfbName);
    if (named.length === 0) return false;
    const { formerIfbName } = await import('./wiring/former-ifb-name.ts');
    return named.includes(formerIfbName(attachment));
  } catch {
    return true;
  }
}
