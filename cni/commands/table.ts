// Every command behind an import: VERSION, which runtimes call at every start, loads none of them.

import type { CommandTable } from '../skel.ts';

export const commands: CommandTable = {
  ADD: async () => (await import('./add.ts')).add,
  DEL: async () => (await import('./del.ts')).del,
  CHECK: async () => (await import('./check.ts')).check,
  GC: async () => (await import('./gc.ts')).gc,
  STATUS: async () => (await import('./status.ts')).status,
};
