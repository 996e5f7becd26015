// Entry of the podpaced executable.

import { runCli } from './cli.ts';

const edges = {
  stdout: (text: string) => void process.stdout.write(text),
  stderr: (text: string) => void process.stderr.write(text),
};

void runCli(process.argv.slice(2), edges).then((code) => {
  // Connections that a caller still holds must not keep a stopped helper alive.
  process.exit(code);
});
