// How flows of one aggregate share its cap, and what leaves at once: bpf/departure-flows.h and
// departure-loans.h, shown of the oracle.

import test from 'ava';
import { NS_PER_MS, NS_PER_SEC, offer, packetAt } from '../../kit/departures.ts';
import { USUAL_CONFIG } from '../../kit/usual-config.ts';
import { Aggregate, chargeOf, isDrop, max, type Config } from '../../model/departure.ts';

/** Queues full packets of flow 1 at one instant until the clock is `backlogNs` ahead. */
function withBacklog(config: Config, nowNs: bigint, backlogNs: bigint): Aggregate {
  const aggregate = new Aggregate();
  while (aggregate.clock.lastNs < nowNs + backlogNs) aggregate.schedule(config, packetAt(nowNs));
  return aggregate;
}

test('a request leaves at once, however long its pod queues, and is charged', (t) => {
  for (const backlogMs of [1n, 5n, 20n, 40n]) {
    const aggregate = withBacklog(USUAL_CONFIG, NS_PER_SEC, backlogMs * NS_PER_MS);
    const before = aggregate.clock;
    const outcome = aggregate.schedule(
      USUAL_CONFIG,
      packetAt(NS_PER_SEC, { wireLen: 298n, flowHash: 2 }),
    );
    t.deepEqual(outcome, { verdict: 'sparse', sojournNs: 0n, isRepaired: false });
    t.is(aggregate.clock.lastNs - before.lastNs, chargeOf(USUAL_CONFIG.rateBytesPerSec, 298n).ns);
  }
});

/** An aggregate whose backlog of `backlogNs` is of so many flows, in turn. */
function withBulkFlows(flows: number, nowNs: bigint, backlogNs: bigint): Aggregate {
  const aggregate = new Aggregate();
  const bulk = (flow: number): void => {
    aggregate.schedule(USUAL_CONFIG, packetAt(nowNs, { flowHash: 100 + flow }));
  };
  for (let sent = 0; aggregate.clock.lastNs < nowNs + backlogNs; sent++) bulk(sent % flows);
  return aggregate;
}

test('a flow may send some requests at once, however many bulk flows there are', (t) => {
  for (const flows of [1, 4, 32, 60]) {
    const aggregate = withBulkFlows(flows, NS_PER_SEC, 12n * NS_PER_MS);
    const verdicts = Array.from(
      { length: 8 },
      () =>
        aggregate.schedule(USUAL_CONFIG, packetAt(NS_PER_SEC, { wireLen: 298n, flowHash: 2 }))
          .verdict,
    );
    t.deepEqual([...new Set(verdicts)], ['sparse'], `${flows} bulk flows`);
  }
});

test('large packets of sparse flows leave half of the credit to requests', (t) => {
  const aggregate = withBulkFlows(32, NS_PER_SEC, 20n * NS_PER_MS);
  // By then the loans that the bulk flows began with have been paid back.
  const laterNs = NS_PER_SEC + 8n * NS_PER_MS;
  const waitOf = (flowHash: number, wireLen: bigint) =>
    aggregate.schedule(USUAL_CONFIG, packetAt(laterNs, { wireLen, flowHash })).sojournNs;
  const large = Array.from({ length: 8 }, (_, flow) => waitOf(200 + flow, 1514n));
  t.is(large[0], 0n);
  t.true(large.at(-1)! > 10n * NS_PER_MS);
  const requests = Array.from({ length: 8 }, (_, flow) => waitOf(300 + flow, 298n));
  t.deepEqual([...new Set(requests)], [0n]);
});

test('a flow that had to queue once is sparse again as soon as that packet leaves', (t) => {
  const aggregate = withBacklog(USUAL_CONFIG, NS_PER_SEC, 20n * NS_PER_MS);
  const request = (nowNs: bigint, wireLen = 298n) =>
    nowNs + aggregate.schedule(USUAL_CONFIG, packetAt(nowNs, { wireLen, flowHash: 2 })).sojournNs;
  // More than a sparse flow may send at once: its last packet queues.
  const queuedUntilNs = [1514n, 1514n, 1514n, 1514n]
    .map((wireLen) => request(NS_PER_SEC, wireLen))
    .reduce(max);
  t.true(queuedUntilNs > NS_PER_SEC + 15n * NS_PER_MS);
  t.is(request(NS_PER_SEC + 10n * NS_PER_MS), queuedUntilNs);
  t.is(request(queuedUntilNs), queuedUntilNs);
});

test('hundreds of sparse flows that offer three times the rate get the rate', (t) => {
  const aggregate = new Aggregate();
  const leaving: bigint[] = [];
  const count = 30_000;
  // 400 flows, a packet of 298 bytes every 7.95 us: 300 Mbit/s.
  for (let sent = 0; sent < count; sent++) {
    const packet = packetAt(NS_PER_SEC + BigInt(sent) * 7947n, {
      wireLen: 298n,
      flowHash: (sent * 7919) % 400,
    });
    const outcome = aggregate.schedule(USUAL_CONFIG, packet);
    if (!isDrop(outcome)) leaving.push(packet.nowNs + outcome.sojournNs - NS_PER_SEC);
  }
  const bytesPerSecond = (298n * BigInt(leaving.length) * NS_PER_SEC) / leaving.reduce(max);
  t.true(bytesPerSecond <= (USUAL_CONFIG.rateBytesPerSec * 1005n) / 1000n, `${bytesPerSecond}`);
  t.true(bytesPerSecond >= (USUAL_CONFIG.rateBytesPerSec * 995n) / 1000n, `${bytesPerSecond}`);
});

/**
 * Waits of requests, evenly sent by flows at a part of the rate each, beside flows that keep a
 * queue of about 6 ms.
 */
function requestWaits(bulkFlows: number, requestFlows: number, share: number): bigint[] {
  const aggregate = new Aggregate();
  const waits: bigint[] = [];
  const pauseNs = Number(chargeOf(USUAL_CONFIG.rateBytesPerSec, 340n).ns) / share;
  // Each departure makes room for the next packet, as acknowledgements do.
  const due = Array.from({ length: Math.max(50, bulkFlows) }, (_, sent) => ({
    atNs: sent,
    flow: sent % bulkFlows,
    isRequest: false,
  }));
  for (let flow = 0; flow < requestFlows; flow += 1)
    due.push({ atNs: (flow * pauseNs) / requestFlows, flow: bulkFlows + flow, isRequest: true });
  for (let events = 0; events < 20_000; events += 1) {
    const event = due.reduce((first, each) => (each.atNs < first.atNs ? each : first));
    const { sojournNs } = aggregate.schedule(
      { ...USUAL_CONFIG, targetNs: 40n * NS_PER_MS },
      packetAt(NS_PER_SEC + BigInt(Math.round(event.atNs)), {
        wireLen: event.isRequest ? 340n : 1514n,
        // Numbers that differ in more than the bit that every tag has.
        flowHash: Math.imul(event.flow + 1, 0x9e37_79b1) >>> 0,
      }),
    );
    if (event.isRequest && events > 5000) waits.push(sojournNs);
    event.atNs += event.isRequest ? pauseNs : Number(sojournNs);
  }
  return waits.toSorted((one, other) => Number(one - other));
}

test('requests within a fair share leave at once, however many bulk flows there are', (t) => {
  for (const flows of [1, 4, 8, 16, 32, 60]) {
    // Together they are within the credit, which is for so long as the queue: 12 % of the rate
    // here.
    const waits = requestWaits(flows, 4, 0.75 / Math.max(32, flows + 2));
    t.true(waits.length > 100);
    t.is(waits[Math.floor(waits.length * 0.99)], 0n, `${flows} bulk flows`);
  }
});

test("a flood gets its share and not its neighbours'", (t) => {
  const {
    departed: [flood = 0, modest = 0],
  } = offer(USUAL_CONFIG, [{ share: 4 }, { share: 0.45 }], 2000);
  const offeredByModest = (0.45 * 2000 * 12_500) / 1514;
  t.true(modest > 0.97 * offeredByModest, `${modest} of ${offeredByModest}`);
  // Nothing is wasted for fairness.
  t.true(flood > (0.53 * 2000 * 12_500) / 1514, String(flood));
});

test('floods share the rate', (t) => {
  const { departed } = offer(
    USUAL_CONFIG,
    [{ share: 4 }, { share: 1 }, { share: 2 }, { share: 0.8 }],
    3000,
  );
  const fair = (3000 * 12_500) / 1514 / 4;
  for (const packets of departed)
    t.true(packets > 0.85 * fair && packets < 1.15 * fair, String(departed));
});

test('a flow in a full set of the flow table keeps its order and its cap', (t) => {
  const aggregate = new Aggregate();
  const latest = new Map<number, bigint>();
  const shared: bigint[] = [];
  // 40 flows that all fall into one set.
  for (let sent = 0; sent < 5000; sent++) {
    const flowHash = ((sent * 13) % 40) * 32;
    const packet = packetAt(NS_PER_SEC + BigInt(sent) * 100_000n, { flowHash });
    const outcome = aggregate.schedule(USUAL_CONFIG, packet);
    if (isDrop(outcome)) continue;
    const departureNs = packet.nowNs + outcome.sojournNs;
    t.true(departureNs >= (latest.get(flowHash) ?? 0n));
    latest.set(flowHash, departureNs);
    shared.push(departureNs);
  }
  const elapsedNs = shared.reduce(max) - NS_PER_SEC;
  t.true(
    BigInt(shared.length) * 1514n * NS_PER_SEC <=
      USUAL_CONFIG.rateBytesPerSec * (elapsedNs + 2n * NS_PER_MS),
  );
});
