// uninstall: by the helper, or without one.

import type { Command } from 'commander';
import type { HelperConfig } from '../config.ts';
import { openControl, prepareNode } from '../daemon.ts';
import { renderRemoved } from './install.ts';
import { removeInstalled } from '../install/remove.ts';
import { isBpffs } from '../kernel/bpffs.ts';
import { openLog, type Log } from '../log.ts';
import { bpffsOf } from '../pin-place.ts';
import { HelperError } from '../protocol/client.ts';
import type { Methods } from '../protocol/messages.ts';
import { renderUninstall } from '../render.ts';
import { discardMaps, hasRecords, removeTraces, requirePins, type Extent } from '../uninstall.ts';
import { type CliEdges, ask, print } from './asking.ts';
import { type RunFlags, loadConfig, addSettings } from './settings.ts';

/** What `uninstall` did, with what it could not remove. */
type Uninstalled = Methods['uninstall']['result'] & { readonly notes: readonly string[] };

type UninstallFlags = RunFlags & { readonly root: string } & Partial<
    Record<'json' | 'force' | 'forget', true>
  >;

/**
 * Without a helper: with the lock of one, and by maps made anew, since those that are there may be
 * of another release. What a newer release left is refused, since this one cannot read what stood
 * on the exits before; with `force` it is taken away all the same, by the names of pins, filters
 * and qdiscs.
 */
async function uninstallAlone(
  config: HelperConfig,
  { forget, anyLayout }: Extent,
  log: Log,
): Promise<Uninstalled> {
  requirePins(config.pinDir);
  // Where nothing can be pinned, nothing of podpace's is in force, unless it has noted some.
  if (!isBpffs(bpffsOf(config.pinDir)) && !config.mountBpffs && !hasRecords(config)) {
    const notes = await removeTraces(config, { forget, anyLayout });
    return { restoredExits: [], detached: 0, kept: 0, notes };
  }
  const { lock } = await prepareNode({ ...config, privateBpffs: true }, log, {
    ...{ purpose: 'uninstall', anyLayout },
  });
  discardMaps(config.pinDir, anyLayout);
  const { shaper, datapath } = openControl(config, log);
  const result = await shaper.uninstall(forget);
  datapath.close();
  const notes = await removeTraces(config, { forget, anyLayout });
  lock.release();
  return { ...result, notes };
}

/** By the helper, or without one. */
async function uninstall(
  {
    force = false,
    forget = false,
    ...flags
  }: RunFlags & Partial<Record<'force' | 'forget', boolean>>,
  edges: CliEdges,
): Promise<Uninstalled> {
  const config = loadConfig(flags);
  try {
    return { ...(await ask(config.socket, 'uninstall', { forget })), notes: [] };
  } catch (error) {
    if (!(error instanceof HelperError && error.isAbsent)) throw error;
    // What a newer release was asked for, this one could not read.
    const extent = { forget: forget || force, anyLayout: force };
    const { log, end } = openLog(edges.stderr, config);
    return await uninstallAlone(config, extent, log).finally(end);
  }
}

export function addUninstall(program: Command, edges: CliEdges): void {
  addSettings(
    program
      .command('uninstall')
      .description('take every cap off the node, put back what stood there, and undo install'),
  )
    .option(
      '--forget',
      'also what pods were to have; else a podpaced that is started later caps them again',
    )
    .option(
      '--force',
      'also what a newer release left, although this one cannot put back all that stood there',
    )
    .option('--root <dir>', "where the node's root is mounted: podpace was installed there", '/')
    .option('--json', 'print JSON')
    .action(async ({ json, root, ...flags }: UninstallFlags) => {
      const { notes, ...result } = await uninstall(flags, edges);
      // The helper puts podpace into no list any more.
      const removed = await removeInstalled(root);
      for (const note of [...notes, ...(removed?.notes ?? [])]) edges.stderr(`podpaced: ${note}\n`);
      print(edges, json, removed === undefined ? result : { ...result, removed }, () =>
        [renderUninstall(result), ...(removed === undefined ? [] : [renderRemoved(removed)])].join(
          '\n',
        ),
      );
    });
}
