// What podpace has on a node besides devices, and how it goes: pins, records, marks, socket,
// addons. Each is looked at first and goes by the names that podpace gives; what is not podpace's
// stays, and so does a directory with such a thing in it.

import fs from 'node:fs';
import path from 'node:path';
import { DEFAULT_CONFIG, type HelperConfig } from './config.ts';
import { removeDefaults } from './hold-cap-rules.ts';
import { removeHeartbeat } from './heartbeat.ts';
import { endLeftHurry } from './kernel/grace-periods.ts';
import { readAsset, removeUnpackedAddons } from './kernel/assets.ts';
import { isBpffs } from './kernel/bpffs.ts';
import { isHookMark } from './wire/hook-place.ts';
import { MARK as LAYOUT_PIN } from './kernel/layout-pin.ts';
import { NODE_LINK } from './kernel/node-hook.ts';
import { discardUpgrade } from './kernel/map-upgrade.ts';
import { RecordFiles, removeEmptyDirectory } from './control/record-files.ts';
import { unmarkRecords } from './control/layout.ts';
import { giveBurstLimitBack } from './control/burst-limit.ts';
import { UncappedFiles } from './control/uncapped-files.ts';
import { WishFiles } from './control/wish-files.ts';
import { ATTACHMENTS, EXITS, HOOK_MARKS, LINK_PINS } from './protocol/state-files.ts';
import { removeDeadSocket } from './socket-file.ts';
import { parseBpfObject } from './wire/bpf-object.ts';
import { FIRST_LAYOUT_MAPS } from './wire/layout.ts';

type Places = Pick<HelperConfig, 'socket' | 'stateDir' | 'pinDir'>;

/** What is to go besides what no helper needs any more. */
export interface Extent {
  /** The records of attachments: what was asked for. */
  readonly forget: boolean;
  /** Pins of any name, since a newer release may have made others. */
  readonly anyLayout: boolean;
}

/** Names of pins, this release's and those of the first one. */
function pinNames(): ReadonlySet<string> {
  const { maps, programs } = parseBpfObject(readAsset('podpace.bpf.o'));
  const names = [...maps, ...programs].map(({ name }) => name);
  return new Set(
    [...names, ...FIRST_LAYOUT_MAPS.keys(), LAYOUT_PIN].flatMap((name) => [name, `${name}_new`]),
  );
}

/** Removes files of a directory by their names; does nothing when there is no such directory. */
function removeFiles(directory: string, isOurs: (name: string) => boolean): void {
  if (!fs.existsSync(directory)) return;
  for (const entry of fs.readdirSync(directory, { withFileTypes: true })) {
    if (entry.isFile() && isOurs(entry.name))
      fs.rmSync(path.join(directory, entry.name), { force: true });
  }
}

/**
 * Throws Error for a pin directory that is none: nothing but pins can be on bpffs, and no pin
 * elsewhere.
 */
export function requirePins(pinDir: string): void {
  if (!fs.existsSync(pinDir) || isBpffs(pinDir)) return;
  throw new Error(
    `Cannot uninstall from ${pinDir}: it is not on bpffs, so podpace has pinned nothing there`,
  );
}

/**
 * Takes the pins of maps and programs away, so that they are made anew: what is about to be
 * uninstalled may be of another version. What is attached goes on until then.
 */
export function discardMaps(pinDir: string, anyLayout: boolean): void {
  requirePins(pinDir);
  const names = pinNames();
  removeFiles(pinDir, (name) => anyLayout || names.has(name));
  discardUpgrade(pinDir);
}

/** Whether podpace has noted something about devices of this node. */
export function hasRecords({ stateDir }: Places): boolean {
  return [ATTACHMENTS, EXITS, HOOK_MARKS].some((name) => {
    const directory = path.join(stateDir, name);
    return fs.existsSync(directory) && fs.readdirSync(directory).length > 0;
  });
}

function removePins(pinDir: string, anyLayout: boolean): void {
  if (!fs.existsSync(pinDir)) return;
  discardMaps(pinDir, anyLayout);
  const links = path.join(pinDir, LINK_PINS);
  removeFiles(links, (name) => anyLayout || isHookMark(name) || name === NODE_LINK);
  for (const directory of [links, pinDir]) removeEmptyDirectory(directory);
}

function removeRecords({ stateDir, pinDir }: Places, forget: boolean): void {
  const attachments = new RecordFiles(stateDir, ATTACHMENTS);
  if (forget) attachments.removeAll();
  else attachments.removeUnfinished();
  new RecordFiles(stateDir, EXITS).removeAll();
  const hooks = path.join(stateDir, HOOK_MARKS);
  removeFiles(hooks, isHookMark);
  removeEmptyDirectory(hooks);
  // The mark says how to read what is kept.
  if (!fs.existsSync(attachments.directory)) unmarkRecords({ state: stateDir, pins: pinDir });
}

/**
 * Takes away what podpace has on this node, once nothing of it is in force any more. Goes on past
 * what cannot be removed, such as a directory of a file system that is read-only, and returns a
 * note for each.
 */
export async function removeTraces(
  places: Places,
  { forget, anyLayout }: Extent,
): Promise<string[]> {
  const { socket, stateDir, pinDir } = places;
  const steps: readonly (() => void | Promise<void>)[] = [
    () => removePins(pinDir, anyLayout),
    giveBurstLimitBack,
    endLeftHurry,
    () => removeRecords(places, forget),
    () => new WishFiles(socket).clear({ forget }),
    // No cap hangs on these.
    () => new UncappedFiles(socket).clear({ forget: true }),
    () => removeHeartbeat(socket),
    () => removeDefaults(socket),
    () => removeDeadSocket(socket),
    // One cache serves all executables of the node, so only the node's own helper takes it away.
    () => {
      if (stateDir === DEFAULT_CONFIG.stateDir) removeUnpackedAddons();
    },
    () => removeEmptyDirectory(stateDir),
  ];
  const notes: string[] = [];
  for (const step of steps) {
    try {
      await step();
    } catch (error) {
      notes.push(`Not everything could be removed: ${(error as Error).message}`);
    }
  }
  return notes;
}
