// The AQM: when a standing queue is signalled, and by whose loss: bpf/departure-signals.h, shown of
// the oracle.

import test from 'ava';
import { NS_PER_SEC, offer, packetAt } from '../../kit/departures.ts';
import { USUAL_CONFIG } from '../../kit/usual-config.ts';
import { Aggregate, chargeOf, SMALL_WIRE_LEN, type Config } from '../../model/departure.ts';

test('a standing queue is signalled, by marks to those that can carry them, and the pace grows', (t) => {
  const once = offer(USUAL_CONFIG, [{ share: 1.02, isEcnCapable: true }], 1000);
  t.true((once.verdicts.get('marked') ?? 0) > 5);
  t.is(once.verdicts.get('drop-aqm'), undefined);
  const twice = offer(USUAL_CONFIG, [{ share: 1.02 }], 1000);
  t.true((twice.verdicts.get('drop-aqm') ?? 0) > 5);
  t.is(twice.verdicts.get('marked'), undefined);
});

/** As into a pod at 20 Mbit/s: room for many merged packets below the horizon. */
const MERGED_CONFIG: Config = {
  ...USUAL_CONFIG,
  rateBytesPerSec: 2_500_000n,
  horizonNs: 156_000_000n,
  targetNs: 23_000_000n,
};

test('a drop waits for a packet of few segments, and until the last one has been recovered from', (t) => {
  const aggregate = new Aggregate();
  const dropped: { segments: bigint; timeMs: number }[] = [];
  // A queue of 35 ms to begin with, which grows by 10 ms in a second; every 20th packet stands for
  // itself.
  aggregate.schedule(
    MERGED_CONFIG,
    packetAt(NS_PER_SEC, { wireLen: 87_500n, segments: 58n, isMerged: true }),
  );
  let nowNs = NS_PER_SEC;
  for (let sent = 1; sent <= 500; sent += 1) {
    const segments = sent % 20 === 0 ? 1n : 10n;
    const wireLen = 1514n * segments;
    nowNs += (chargeOf(MERGED_CONFIG.rateBytesPerSec, wireLen).ns * 99n) / 100n;
    const { verdict } = aggregate.schedule(
      MERGED_CONFIG,
      packetAt(nowNs, { wireLen, segments, isMerged: true }),
    );
    if (verdict === 'drop-aqm')
      dropped.push({ segments, timeMs: Number((nowNs - NS_PER_SEC) / 1_000_000n) });
  }
  t.true(dropped.length > 5, JSON.stringify(dropped.length));
  t.deepEqual(new Set(dropped.map(({ segments }) => segments)), new Set([1n]));
  const gapsMs = dropped
    .slice(1)
    .map(({ timeMs }, index) => timeMs - (dropped[index]?.timeMs ?? 0));
  // The queue is 35 ms and more: a retransmission comes after twice that, and what is lost with it
  // later.
  t.true(Math.min(...gapsMs) >= 4 * 35, gapsMs.join(' '));
});

test('after a drop its flow is spared until it has recovered, and others are not', (t) => {
  const aggregate = new Aggregate();
  const lastDropNs = new Map<number, bigint>();
  const [queuesOfFlow, queuesOfAny]: [number[], number[]] = [[], []];
  const flows = 8;
  let nowNs = 100n * NS_PER_SEC;
  let anyDropNs = 0n;
  // A queue of 10 ms to begin with, of flows that take turns.
  for (let sent = 0; sent < 8000; sent += 1) {
    if (sent > 80) nowNs += (chargeOf(USUAL_CONFIG.rateBytesPerSec, 1514n).ns * 99n) / 100n;
    const flowHash = sent % flows;
    const queueNs = Number(aggregate.clock.lastNs - nowNs);
    const { verdict } = aggregate.schedule(USUAL_CONFIG, packetAt(nowNs, { flowHash }));
    if (verdict !== 'drop-aqm') continue;
    queuesOfFlow.push(Number(nowNs - (lastDropNs.get(flowHash) ?? 0n)) / queueNs);
    queuesOfAny.push(Number(nowNs - anyDropNs) / queueNs);
    lastDropNs.set(flowHash, nowNs);
    anyDropNs = nowNs;
  }
  t.true(queuesOfFlow.length > 40, `${queuesOfFlow.length} drops`);
  // A flow keeps the time of its drop to 2^16 ns.
  t.true(Math.min(...queuesOfFlow) > 3.95, queuesOfFlow.join(' '));
  t.true(Math.min(...queuesOfAny) < 2, queuesOfAny.join(' '));
});

test('a slow start of merged packets hears of the first signal at once, and none is let to the horizon', (t) => {
  const flows = [{ share: 3, wireLen: 15_140n, segments: 10n, isMerged: true }];
  const { verdicts: first, sojournsNs } = offer(MERGED_CONFIG, flows, 25);
  t.is(first.get('drop-aqm'), 1);
  t.true((sojournsNs[0] ?? []).every((ns) => ns < MERGED_CONFIG.targetNs * 3n));
  const { verdicts } = offer(MERGED_CONFIG, flows, 60);
  t.is(verdicts.get('drop-aqm'), 1);
  const { verdicts: later } = offer(MERGED_CONFIG, [{ ...flows[0], share: 1.05 }], 4000);
  t.true((later.get('drop-aqm') ?? 0) > 1);
  t.is(later.get('drop-horizon'), undefined);
  const { verdicts: marks } = offer(
    MERGED_CONFIG,
    [{ ...flows[0], share: 1.05, isEcnCapable: true }],
    4000,
  );
  t.true((marks.get('marked') ?? 0) > (later.get('drop-aqm') ?? 0));
});

test('small packets are never signalled', (t) => {
  const { verdicts, sojournsNs } = offer(
    USUAL_CONFIG,
    [{ share: 1.02, wireLen: SMALL_WIRE_LEN }],
    1000,
  );
  t.is(verdicts.get('drop-aqm'), undefined);
  // Others would have been: twice the target for far longer than the interval.
  const longNs = (sojournsNs[0] ?? [])
    .slice(-5000)
    .map((sojournNs) => sojournNs > 2n * USUAL_CONFIG.targetNs);
  t.is(longNs.length, 5000);
  t.true(longNs.every(Boolean));
});

test('without a target nothing is signalled and nothing dropped below the horizon', (t) => {
  const { verdicts } = offer(
    { ...USUAL_CONFIG, targetNs: 0n },
    [{ share: 1.01 }, { share: 0.01 }],
    1000,
  );
  t.deepEqual([...verdicts.keys()].sort(), ['depart', 'sparse']);
});
