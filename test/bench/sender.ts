// Child process of test/bench/exact.ts: sends packets through a pinned entrance. Its argument
// is the pin. A line on stdin, a StepPacket and a count in JSON, makes it send; it answers with the
// last packet's verdict, or with the errno.

import { createInterface } from 'node:readline';
import { openPinned } from '../../helper/kernel/bpf.ts';
import { KernelError } from '../../helper/wire/errors.ts';
import { sendThrough } from './step-under-test.ts';
import type { StepPacket } from './step-under-test.ts';

const [pin = ''] = process.argv.slice(2);
const enterFd = openPinned(pin);
process.stdout.write('ready\n');
for await (const line of createInterface({ input: process.stdin })) {
  const [packet, count] = JSON.parse(line) as [StepPacket, number];
  try {
    process.stdout.write(`${sendThrough(enterFd, packet, count).returnValue}\n`);
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
    process.stdout.write(`${error.errno}\n`);
  }
}
