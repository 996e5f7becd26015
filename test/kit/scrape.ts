// Scrapes of a helper on a node of a test.

import { capture } from '../../scripts/lib/process.ts';
import { inNamespace } from '../bed/testbed.ts';
import type { TestNetns } from './netns.ts';

export const METRICS_PORT = 9844;

/** By a process: a socket of this one is made later than it is asked for, in its own namespace. */
export async function scrape(
  node: Pick<TestNetns, 'netns'>,
  accept = 'text/plain',
): Promise<string> {
  const url = `http://127.0.0.1:${METRICS_PORT}/metrics`;
  const script = `fetch('${url}', { headers: { accept: '${accept}' } }).then(async (answer) => process.stdout.write(await answer.text()))`;
  return await capture(...inNamespace(node.netns.path, process.execPath, '-e', script));
}
