// Entry of the podpace executable.

import { VERSION } from '../helper/version.ts';
import { commands } from './commands/table.ts';
import { processEdges } from './process-edges.ts';
import { printError, runPlugin } from './skel.ts';

let hasAnswered = false;

const edges = {
  ...processEdges,
  writeStdout: (text: string): void => {
    hasAnswered = true;
    processEdges.writeStdout(text);
  },
};

// What nobody foresaw, outside of the command itself: an error object, not a stack in minified
// source.
process.on('uncaughtException', (error) => {
  if (!hasAnswered) printError(edges, error);
  process.exit(1);
});

void runPlugin(edges, commands, `CNI podpace plugin version ${VERSION}`).then((status) => {
  // All is written, and nothing that is still open has anything to add: to end the event loop takes
  // as long as most calls.
  process.exit(status);
});
