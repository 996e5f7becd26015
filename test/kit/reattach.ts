// A device that is let go and taken again at once.

import type { AttachParams } from '../../helper/protocol/messages.ts';
import type { TestHelper } from './helper.ts';

/** How it went: what was refused, and what CHECK missed afterwards, each with the turn. */
export interface Reattached {
  readonly refused: readonly string[];
  readonly missing: readonly string[];
}

/** Attaches and detaches, so many times, without any pause. */
export async function reattach(helper: TestHelper, params: AttachParams, turns: number): Promise<Reattached> {
  const refused: string[] = [];
  const missing: string[] = [];
  for (let turn = 0; turn < turns; turn += 1) {
    const note = (texts: string[]) => (error: Error) => void texts.push(`turn ${turn}: ${error.message}`);
    await helper.ask('attach', params).catch(note(refused));
    await helper.ask('check', params).catch(note(missing));
    await helper.ask('detach', params).catch(note(refused));
  }
  return { refused, missing };
}
