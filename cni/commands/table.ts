// The commands. Those that runtimes call most, and mostly in vain, are in the first piece of the
// executable (scripts/lib/bundle.ts); the others are loaded with a later one.

import type { CommandTable } from '../skel.ts';
import { del } from './del.ts';
import { status } from './status.ts';

export const commands: CommandTable = {
  ADD: async () => (await import('./add.ts')).add,
  DEL: () => Promise.resolve(del),
  CHECK: async () => (await import('./check.ts')).check,
  GC: async () => (await import('./gc.ts')).gc,
  STATUS: () => Promise.resolve(status),
};
