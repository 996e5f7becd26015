import test from 'ava';
import {
  LEAF_FQ_OPTIONS,
  planExitQdiscs,
  ROOT_HANDLE,
  type ObservedExit,
} from '../../../../helper/shaping/holder-qdiscs.ts';
import { TC_H_ROOT } from '../../../../helper/wire/tc-message.ts';

const noqueue = { kind: 'noqueue', handle: 0, parent: TC_H_ROOT, options: '' };
const mq = { kind: 'mq', handle: ROOT_HANDLE, parent: TC_H_ROOT, options: '' };
const leafOf = (queue: number) => {
  return {
    ...{ kind: 'fq', handle: 0x8001_0000 + queue, options: '', fq: LEAF_FQ_OPTIONS },
    parent: ROOT_HANDLE + queue,
  };
};
const exitOf = (numTxQueues: number, qdiscs: ObservedExit['qdiscs']): ObservedExit => {
  return { ifindex: 2, name: 'eth0', numTxQueues, qdiscs };
};

/** What a plan does to leaves: the queue, and ~ before it for a draft. */
function leavesOf(exit: ObservedExit): string[] {
  return planExitQdiscs(exit, true, 'respect').steps.flatMap((step) => {
    if (step.kind !== 'set-leaf') return [];
    return [`${step.isDraft === true ? '~' : ''}${step.parent - ROOT_HANDLE}`];
  });
}

test('all leaves stand, with few buckets, before one gets its many', (t) => {
  t.deepEqual(leavesOf(exitOf(3, [noqueue])), ['~1', '~2', '~3', '1', '2', '3']);
  t.deepEqual(leavesOf(exitOf(4, [mq, leafOf(2)])), ['~1', '~3', '~4', '1', '3', '4']);
});

test('a leaf that alone is missing is put in place at once', (t) => {
  t.deepEqual(leavesOf(exitOf(3, [mq, leafOf(1), leafOf(3)])), ['2']);
  t.deepEqual(leavesOf(exitOf(3, [mq, leafOf(1), leafOf(2), leafOf(3)])), []);
});
