// A process that leaves a socket for rtnetlink open.

import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { projectRoot } from '../../scripts/lib/paths.ts';

/**
 * What a process prints that asks for the loopback device's name by a socket which it never closes:
 * `open` of a file of helper/kernel opens it. Throws where the process does not end by itself.
 */
export function nameByIdleSocket(file: string, open: string): string {
  const place = (name: string): string =>
    pathToFileURL(path.join(projectRoot, 'helper/kernel', name)).href;
  const program = `
    import { ${open} } from '${place(file)}';
    import { findLink } from '${place('links.ts')}';
    const rt = ${open}();
    console.log((await findLink(rt, { index: 1 })).name);
  `;
  const args = ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', program];
  return execFileSync(process.execPath, args, { encoding: 'utf8', timeout: 20_000 });
}
