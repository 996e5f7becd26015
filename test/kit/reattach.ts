// A device that is let go and taken again at once.

import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { openPinned } from '../../helper/kernel/bpf.ts';
import type { AttachParams } from '../../helper/protocol/messages.ts';
import type { TestHelper } from './helper.ts';

/** How it went: what was refused, and what CHECK missed afterwards, each with the turn. */
export interface Reattached {
  readonly refused: readonly string[];
  readonly missing: readonly string[];
}

/** Each how-manieth turn somebody else holds the links that go, and for how long. */
const HELD_TURNS = 10;
const HELD_MS = 50;

/**
 * Opens the links of a helper's programs, as whoever lists them does: they do not end before that
 * one lets them go. What several processors do now and then is so the case on one too.
 */
function holdLinks({ pinDir }: TestHelper): number[] {
  const directory = path.join(pinDir, 'links');
  const pins = fs.existsSync(directory) ? fs.readdirSync(directory) : [];
  return pins.map((name) => openPinned(path.join(directory, name)));
}

/** Attaches and detaches, so many times, without any pause. */
export async function reattach(
  helper: TestHelper,
  params: AttachParams,
  turns: number,
): Promise<Reattached> {
  const refused: string[] = [];
  const missing: string[] = [];
  let held: number[] = [];
  for (let turn = 0; turn < turns; turn += 1) {
    const note = (texts: string[]) => (error: Error) =>
      void texts.push(`turn ${turn}: ${error.message}`);
    const attached = helper.ask('attach', params).catch(note(refused));
    if (held.length > 0) await sleep(HELD_MS);
    for (const fd of held) fs.closeSync(fd);
    await attached;
    await helper.ask('check', params).catch(note(missing));
    held = turn % HELD_TURNS === 0 ? holdLinks(helper) : [];
    await helper.ask('detach', params).catch(note(refused));
  }
  for (const fd of held) fs.closeSync(fd);
  return { refused, missing };
}
