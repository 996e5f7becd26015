import test from 'ava';
import {
  TC_H_ROOT,
  listClasses,
  listQdiscs,
  replaceQdisc,
} from '../../../../helper/kernel/qdiscs.ts';
import { decodeFqOptions, encodeFqOptions } from '../../../../helper/wire/fq.ts';
import { addPair, makeNetns } from '../../../kit/netns.ts';

const OPTIONS = {
  limitPackets: 20_000,
  flowLimitPackets: 10_000,
  buckets: 4096,
  quantumBytes: 3028,
  initialQuantumBytes: 15_140,
  orphanMask: 1023,
  horizonUs: 50_000,
  horizonDrop: true,
  timerSlackNs: 10_000,
};

test('fq takes the options that encodeFqOptions writes, tc shows them, decodeFqOptions reads them', async (t) => {
  const netns = makeNetns(t);
  const ifindex = await addPair(netns, 4);
  const options = encodeFqOptions(OPTIONS);
  await replaceQdisc(netns.rt, {
    ifindex,
    parent: TC_H_ROOT,
    handle: 0x10000,
    kind: 'fq',
    options,
  });
  const text = netns.tc('qdisc', 'show', 'dev', 'left');
  for (const shown of [
    'limit 20000p',
    'flow_limit 10000p',
    'buckets 4096',
    'orphan_mask 1023',
    'quantum 3028b',
    'initial_quantum 15140b',
    'timer_slack 10us',
    'horizon 50ms',
    'horizon_drop',
  ]) {
    t.true(text.includes(shown), `${shown} in ${text}`);
  }
  const [qdisc] = await listQdiscs(netns.rt, ifindex);
  t.like(decodeFqOptions(qdisc?.options ?? Buffer.alloc(0)), { ...OPTIONS, pacing: true });
});

test('fq can stand under every class of mq, and be changed there without its handle', async (t) => {
  const netns = makeNetns(t);
  const ifindex = await addPair(netns, 4);
  await replaceQdisc(netns.rt, { ifindex, parent: TC_H_ROOT, handle: 0x10000, kind: 'mq' });
  const classes = await listClasses(netns.rt, ifindex);
  t.is(classes.length, 4);
  for (const horizonUs of [50_000, 20_000]) {
    for (const { handle: parent } of classes) {
      const options = encodeFqOptions({ horizonUs, horizonDrop: false });
      await replaceQdisc(netns.rt, { ifindex, parent, kind: 'fq', options });
    }
    const leaves = (await listQdiscs(netns.rt, ifindex)).filter(({ kind }) => kind === 'fq');
    t.is(leaves.length, 4);
    for (const { options } of leaves)
      t.like(decodeFqOptions(options), { horizonUs, horizonDrop: false });
  }
});
