// Child process of test/bpf/exactness.test.ts: waits for a line on stdin, then sends packets through a pinned `enter`.
// Arguments: the pin, the aggregate's id, the wire length, how many.

import { openPinned } from '../../helper/kernel/bpf.ts';
import { sendThrough } from './datapath.ts';

const [pin = '', id, wireLen, count] = process.argv.slice(2);
const enterFd = openPinned(pin);
process.stdin.once('data', () => {
  const packet = { queueMapping: Number(id), wireLen: Number(wireLen) };
  const { verdict } = sendThrough(enterFd, packet, Number(count));
  process.stdout.write(`${verdict}\n`);
  process.stdin.destroy();
});
process.stdout.write('ready\n');
