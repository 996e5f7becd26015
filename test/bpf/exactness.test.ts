// Several CPUs on one aggregate: the clock advances by the sum of the charges, whoever wins.

import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import type { Readable, Writable } from 'node:stream';
import test, { type ExecutionContext } from 'ava';
import { AGGREGATE_ID_MIN } from '../../helper/wire/aggregate.ts';
import { temporaryBpffs, TestDatapath } from '../kit/datapath.ts';
import { chargeUnits } from '../model/departure.ts';

const ID = AGGREGATE_ID_MIN;
const PACKETS_EACH = 200_000;
const UNITS_PER_NS = 1n << 16n;

type Sender = ChildProcessByStdio<Writable, Readable, null>;

async function startSender(t: ExecutionContext, pin: string, wireLen: number): Promise<Sender> {
  const script = path.join(import.meta.dirname, '../kit/send-packets.ts');
  const args = [script, pin, String(ID), String(wireLen), String(PACKETS_EACH)];
  const sender = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  t.teardown(() => sender.kill());
  await once(sender.stdout, 'data');
  return sender;
}

async function finish(sender: Sender): Promise<number> {
  sender.stdin.end('go\n');
  const [verdict] = await once(sender.stdout, 'data');
  await once(sender, 'close');
  return Number(String(verdict));
}

for (const processes of [1, 2, 4]) {
  for (const [rateBytesPerSec, wireLen] of [
    [12_500_000_000, 1514],
    [125_000_000_000, 64],
  ] as const) {
    test.serial(
      `${processes} senders of ${wireLen} bytes at ${rateBytesPerSec} bytes/s are charged exactly`,
      async (t) => {
        const directory = temporaryBpffs(t);
        const datapath = new TestDatapath(t, directory, 'podpace_depart');
        datapath.configure(ID, { rateBytesPerSec, horizonNs: 0xffff_ffff, burstNs: 0 });
        const pin = path.join(directory, 'enter', 'enter');
        const senders = await Promise.all(
          Array.from({ length: processes }, () => startSender(t, pin, wireLen)),
        );

        // Far enough ahead that no packet meets an idle clock, near enough that none meets the horizon.
        const lastNs = process.hrtime.bigint() + 4_000_000_000n;
        datapath.setClock(ID, { lastNs, prepaid: 0n });
        const verdicts = await Promise.all(senders.map(finish));

        t.deepEqual(new Set(verdicts), new Set([-1]));
        const after = datapath.clock(ID);
        const packets = BigInt(processes * PACKETS_EACH);
        const units = packets * chargeUnits(BigInt(rateBytesPerSec), BigInt(wireLen));
        t.is(after.lastNs * UNITS_PER_NS - (after.prepaid & 0xffffn), lastNs * UNITS_PER_NS + units);
      },
    );
  }
}
