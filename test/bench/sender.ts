// Child process of test/bench/exact.ts: sends packets through a pinned entrance. Its argument
// is the pin. A line on stdin, a TestPacket and a count in JSON, makes it send; it answers with the
// last packet's verdict, or with the errno.

import { createInterface } from 'node:readline';
import { openPinned } from '../../helper/kernel/bpf.ts';
import { KernelError } from '../../helper/wire/errors.ts';
import { sendThrough, type TestPacket } from '../bed/test-packet.ts';

const [pin = ''] = process.argv.slice(2);
const enterFd = openPinned(pin);
process.stdout.write('ready\n');
for await (const line of createInterface({ input: process.stdin })) {
  const [packet, count] = JSON.parse(line) as [TestPacket, number];
  try {
    process.stdout.write(`${sendThrough(enterFd, packet, count).verdict}\n`);
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
    process.stdout.write(`${error.errno}\n`);
  }
}
