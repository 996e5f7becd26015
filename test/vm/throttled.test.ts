// "Was this pod throttled, and for how long?", where packets really wait: the time is counted in
// which a packet of the bulk would have waited for more than the idle credit, and no other.

import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import { inNetns } from '../../helper/kernel/netns.ts';
import { aggregateConfigOf, DEFAULTS, effectiveCapOf } from '../../helper/shaping/rates.ts';
import { writeSysctl } from '../../helper/kernel/sysctl.ts';
import {
  addUplink,
  makeHelperDirectories,
  paramsOf,
  startOwnHelper,
  wirePod,
} from '../kit/helper.ts';
import { makeNetns } from '../kit/netns.ts';
import { FRAME_BYTES, openSender, sendAll } from '../kit/udp-load.ts';

const CAP_BITS_PER_SEC = 10_000_000;
const POD = '10.86.0.2';
const NODE = '10.86.0.1';
const PEER = '198.51.100.2';
const LOADED_MS = 3000;
/** Of a packet that comes alone: what the link was idle for is forgiven, and then what it may wait. */
const FRAME_NS = (FRAME_BYTES * 8 * 1e9) / CAP_BITS_PER_SEC;
const CAP = effectiveCapOf({ rateBitsPerSec: CAP_BITS_PER_SEC }, {}, DEFAULTS);
const IDLE_CREDIT_NS = CAP === undefined ? 0 : aggregateConfigOf(CAP).idleCreditNs;
const ROUND_MS = 10_000;
const ROUNDS = 3;
const ALLOWED = 0.02;
/** A step ends when the helper comes to it. */
const HISTORY_ALLOWED = 0.05;

function known(column: readonly (number | null)[] = []): number[] {
  return column.filter((figure) => figure !== null);
}

test.serial(
  'twice the cap for 3 s of every 10 s is 3 s throttled, and what drains then',
  async (t) => {
    t.timeout(300_000);
    const [node, pod, peer] = [makeNetns(t), makeNetns(t), makeNetns(t)];
    wirePod(node, pod, 'pod0');
    addUplink(node, peer, 'uplink', 1);
    inNetns(node.netns, () => writeSysctl('net/ipv4/ip_forward', '1'));
    node.ip('address', 'add', `${NODE}/24`, 'dev', 'pod0');
    pod.ip('address', 'add', `${POD}/24`, 'dev', 'eth0');
    pod.ip('route', 'add', 'default', 'via', NODE);
    const helper = await startOwnHelper(t, node, makeHelperDirectories(t));
    const caps = {
      egress: { rateBitsPerSec: CAP_BITS_PER_SEC },
      ingress: { rateBitsPerSec: CAP_BITS_PER_SEC },
    };
    await helper.ask('attach', paramsOf('pod0', pod, caps));
    const count = async () => (await helper.ask('counters', {})).attachments[0];
    const socket = openSender(t, pod.netns);
    const little = [{ socket, to: PEER, bitsPerSec: CAP_BITS_PER_SEC / 10 }];
    const twice = [{ socket, to: PEER, bitsPerSec: 2 * CAP_BITS_PER_SEC }];

    await sendAll(little, 1000);
    const single = (await count())?.egress?.total;
    const [packets, before] = [single?.packets ?? 0, single?.throttledNs ?? Number.NaN];
    t.log(`${(before / 1e6).toFixed(1)} ms for ${packets} packets at a tenth of the cap`);
    t.true(packets > 50);
    const aheadNs = FRAME_NS - 2 * IDLE_CREDIT_NS;
    t.true(Math.abs(before / (packets * aheadNs) - 1) <= ALLOWED);
    let expectedNs = before;
    for (let round = 0; round < ROUNDS; round += 1) {
      const beginMs = performance.now();
      await sendAll(twice, LOADED_MS);
      const loadedMs = performance.now() - beginMs;
      const drainingNs = (await count())?.egress?.backlogNs ?? 0;
      t.true(drainingNs > 0);
      expectedNs += loadedMs * 1e6 + drainingNs;
      await sleep(ROUND_MS - loadedMs);
      const { throttledNs = Number.NaN } = (await count())?.egress?.total ?? {};
      t.log(
        `${(throttledNs / 1e9).toFixed(3)} s throttled, ${(expectedNs / 1e9).toFixed(3)} s of load`,
      );
      t.true(Math.abs(throttledNs / expectedNs - 1) <= ALLOWED);
    }
    t.is((await count())?.ingress?.total.throttledNs, 0);

    // The load has the period of the history's steps: each has a round of it, wherever it begins.
    const { egress } = await helper.ask('history', paramsOf('pod0', pod, caps));
    const roundSeconds = (expectedNs - before) / ROUNDS / 1e9;
    const throttled = known(egress?.throttledSeconds);
    const bytesPerSec = known(egress?.bytesPerSec);
    t.log(`of each step ${throttled.join(', ')} s throttled, ${bytesPerSec.join(', ')} bytes/s`);
    t.true(throttled.length >= 1);
    for (const seconds of throttled)
      t.true(Math.abs(seconds / roundSeconds - 1) <= HISTORY_ALLOWED);
    const expectedRate = (CAP_BITS_PER_SEC / 8) * (roundSeconds / (ROUND_MS / 1000));
    for (const rate of bytesPerSec) t.true(Math.abs(rate / expectedRate - 1) <= HISTORY_ALLOWED);
    for (const ns of known(egress?.p99Ns)) t.true(ns > 1e6 && ns <= 2 * DEFAULTS.horizonNs);
  },
);
