// Entry of the podpace executable.

import { VERSION } from '../helper/version.ts';
import { commands } from './commands/table.ts';
import { processEdges } from './process-edges.ts';
import { runPlugin } from './skel.ts';

void runPlugin(processEdges, commands, `CNI podpace plugin version ${VERSION}`).then((status) => {
  process.exitCode = status;
});
