// Several processors charge one aggregate at once: does its clock advance by the sum of the
// charges?

import { spawn } from 'node:child_process';
import type { ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import os from 'node:os';
import { fileURLToPath } from 'node:url';
import { KernelError } from '../../helper/wire/errors.ts';
import type { TestPacket } from '../bed/test-packet.ts';
import type { UndoStack } from '../bed/undo.ts';
import { EXACT_SCENARIOS, STEPS } from './names.ts';
import type { Step } from './names.ts';
import { metric } from './record.ts';
import type { SingleBench } from './runner.ts';
import { AGGREGATE_ID, despiteSignals, StepUnderTest } from './step-under-test.ts';

/**
 * At this rate a packet of this length is charged exactly 100 ns by either step, nothing to be
 * rounded.
 */
const RATE_BYTES_PER_SEC = 12_500_000_000;
const WIRE_LEN = 1250;
const CHARGE_NS = 100n;

/**
 * The clock begins that far ahead: no packet meets an idle clock, none the plain step's horizon of
 * 2 s.
 */
const AHEAD_NS = 1_500_000_000n;
/**
 * Packets of one sender for which that is enough, also on an emulated processor; so many that
 * senders do overlap.
 */
const ROUND_PACKETS = 100_000;

const TC_ACT_UNSPEC = '-1';

/** A sender that a signal has ended: on emulated processors, Node's own death now and then. */
export class SenderDeath extends Error {
  /** What a shell would report. */
  readonly status: number;

  constructor(signal: NodeJS.Signals) {
    super(`Cannot measure: ${signal} has ended a sender`);
    this.status = 128 + os.constants.signals[signal];
  }
}

export type Sender = ChildProcessByStdio<Writable, Readable, null>;

/** Starts a sender and waits until it is ready. */
export async function startSender(pin: string, undo: UndoStack): Promise<Sender> {
  const script = fileURLToPath(new URL('sender.ts', import.meta.url));
  const sender = spawn(process.execPath, [script, pin], { stdio: ['pipe', 'pipe', 'inherit'] });
  undo.defer('end a sender', async () => {
    if (sender.exitCode !== null || sender.signalCode !== null) return;
    sender.kill();
    await once(sender, 'close');
  });
  await answer(sender);
  return sender;
}

/** The next line that a sender writes; it writes one at a time. */
export async function answer(sender: Sender): Promise<string> {
  const ended = new AbortController();
  const line = once(sender.stdout, 'data', { signal: ended.signal });
  const close = once(sender, 'close', { signal: ended.signal });
  try {
    const [first] = (await Promise.race([line, close])) as unknown[];
    if (sender.signalCode !== null) throw new SenderDeath(sender.signalCode);
    if (!Buffer.isBuffer(first)) throw new Error('Cannot measure: a sender has ended');
    return first.toString().trim();
  } finally {
    line.catch(() => undefined);
    close.catch(() => undefined);
    ended.abort();
  }
}

/** Has a sender send so many packets; it answers with the verdict of the last one. */
export function order(sender: Sender, packet: TestPacket, packets: number): void {
  sender.stdin.write(`${JSON.stringify([packet, packets])}\n`);
}

/** All senders send their packets at once; returns by how much the clock advanced. */
async function runRound(
  step: StepUnderTest,
  senders: readonly Sender[],
  packets: number,
): Promise<bigint> {
  step.configure(RATE_BYTES_PER_SEC);
  step.putAhead(0, AHEAD_NS);
  const before = step.clockNs();
  const verdicts = senders.map(answer);
  senders.forEach((sender, flow) => {
    order(sender, { queueMapping: AGGREGATE_ID, flow, wireLen: WIRE_LEN }, packets);
  });
  for (const verdict of await Promise.all(verdicts)) {
    if (verdict !== TC_ACT_UNSPEC)
      throw new KernelError(
        'charge packets from several processors',
        verdict,
        'expected verdict -1',
      );
  }
  const after = step.clockNs();
  if (after < process.hrtime.bigint())
    throw new Error(
      'Cannot measure: this machine is too slow, the clock has fallen behind the time',
    );
  return after - before;
}

type ExactScenario = (typeof EXACT_SCENARIOS)[number];

/** The bench: `packets` from each sender. */
export function exactBench(packets: number): SingleBench<ExactScenario, Step> {
  return {
    name: 'exact',
    scenarios: EXACT_SCENARIOS,
    systemsOf: () => STEPS,
    measure: async (name, { senders: count }, { undo }) => {
      const step = StepUnderTest.load(name, undo);
      const pins = Array.from({ length: count }, () => step.enterPin);
      const senders = await Promise.all(pins.map((pin) => startSender(pin, undo)));
      let advanceNs = 0n;
      const rounds = Math.ceil(packets / ROUND_PACKETS);
      for (let round = 0; round < rounds; round += 1) {
        advanceNs += await despiteSignals(() => runRound(step, senders, ROUND_PACKETS));
      }
      const chargesNs = BigInt(rounds * ROUND_PACKETS * count) * CHARGE_NS;
      const unchargedNs = Number(chargesNs - advanceNs);
      return {
        metrics: [
          metric('uncharged_share', '1', unchargedNs / Number(chargesNs)),
          metric('uncharged_ns', 'ns', unchargedNs),
        ],
      };
    },
  };
}
