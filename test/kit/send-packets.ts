// Child process of test/bpf/exactness.test.ts: sends packets through a pinned `enter`. Its argument
// is the pin. A line on stdin, `id wireLen count`, makes it send; it answers with the last packet's
// verdict.

import { createInterface } from 'node:readline';
import { openPinned } from '../../helper/kernel/bpf.ts';
import { sendThrough } from './datapath.ts';

const [pin = ''] = process.argv.slice(2);
const enterFd = openPinned(pin);
process.stdout.write('ready\n');
for await (const line of createInterface({ input: process.stdin })) {
  const [queueMapping = 0, wireLen = 0, count = 0] = line.split(' ').map(Number);
  process.stdout.write(`${sendThrough(enterFd, { queueMapping, wireLen }, count).verdict}\n`);
}
