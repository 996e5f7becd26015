// The load: pods that send one TCP stream each, as servers do, to a client at the peer.

import { execFile } from 'node:child_process';
import { BackgroundProcess } from './background.ts';
import { parseIperf } from './iperf.ts';
import type { IperfResult } from './iperf.ts';
import { inNamespace } from './testbed.ts';
import type { UndoStack } from './undo.ts';

const PORT = 5201;
const MAX_REPORT_BYTES = 16 * 1024 * 1024;

/** Starts iperf3's server in a pod and waits until it listens. */
export async function startServer(
  pod: string,
  undo: UndoStack,
  signal: AbortSignal,
  port: number = PORT,
): Promise<void> {
  const [command, args] = inNamespace(
    pod,
    'iperf3',
    '--server',
    '--forceflush',
    '--port',
    String(port),
  );
  const server = await BackgroundProcess.start(command, args);
  undo.defer(`end the iperf3 server in ${pod}`, () => server.stop());
  await server.ready((output) => output.includes('Server listening'), signal);
}

/**
 * Lets the pod at `address` send to the peer for a time; `signal` ends it early.
 * @throws Error with iperf3's own words.
 */
export async function receive(
  peer: string,
  address: string,
  seconds: number,
  signal: AbortSignal,
): Promise<IperfResult> {
  const client = [
    '--client',
    address,
    '--port',
    String(PORT),
    '--reverse',
    '--time',
    String(seconds),
    '--json',
  ];
  const [command, args] = inNamespace(peer, 'iperf3', ...client, '--connect-timeout', '5000');
  const json = await new Promise<string>((resolve, reject) => {
    execFile(command, args, { signal, maxBuffer: MAX_REPORT_BYTES }, (error, stdout) => {
      // iperf3 puts the reason of a failure into its report.
      if (error !== null && stdout === '') reject(error);
      else resolve(stdout);
    });
  });
  return parseIperf(json);
}
