// When the program that polices what pods send to the node itself has to come, and to go; and that
// a kernel without it loses no other cap.

import test from 'ava';
import { KernelError } from '../../../../helper/wire/errors.ts';
import type { NodeHook } from '../../../../helper/kernel/node-hook.ts';
import { Policing } from '../../../../helper/control/policing.ts';
import {
  policingNotes,
  policingStatus,
  policingSteps,
} from '../../../../helper/shaping/policing.ts';

const PROGRAM = { fd: 7, id: 70, tag: '', name: 'podpace_police' };

test('it comes where it is missing or another, and goes where nobody needs it', (t) => {
  for (const [policesNode, policing, kinds] of [
    [true, 'none', ['police-node']],
    [true, 'stale', ['police-node']],
    [true, 'ours', []],
    [false, 'ours', ['free-node']],
    [false, 'stale', ['free-node']],
    [false, 'none', []],
  ] as const)
    t.deepEqual(
      policingSteps({ policesNode }, { policing }).map(({ kind }) => kind),
      [...kinds],
      `${policesNode} ${policing}`,
    );
});

test('what is in its way is no error but a refusal, until it is tried again', (t) => {
  let isThere = false;
  const hook = {
    isThere: () => isThere,
    programId: () => PROGRAM.id,
    attach: () => {
      if (isThere) return;
      throw new KernelError(
        'find the root of all control groups',
        'ENOENT',
        'cgroup v2 is not mounted',
      );
    },
    detach: () => undefined,
  } as unknown as NodeHook;
  const policing = new Policing(hook, PROGRAM);
  t.is(policing.standing(), 'none');
  policing.begin();
  t.is(policing.refusal, 'cannot find the root of all control groups: ENOENT');
  policing.tryAgain();
  t.is(policing.refusal, undefined);
  isThere = true;
  policing.begin();
  t.is(policing.refusal, undefined);
  t.is(policing.standing(), 'ours');
});

test('a program that the kernel refuses is never asked for, and told of for that way alone', (t) => {
  const refusal = new Policing(
    { isThere: () => false } as unknown as NodeHook,
    new KernelError('load BPF program "podpace_police"', 'EINVAL', 'a long log'),
  ).refusal;
  t.is(refusal, 'cannot load BPF program "podpace_police": EINVAL');
  const [note] = policingNotes({ policingRefusal: refusal ?? '' });
  t.is(note?.text, `What pods send to the node itself is not capped: ${refusal}`);
  t.deepEqual(note?.scopes, [{ of: 'senders' }]);
  t.deepEqual(policingNotes({ policesNode: true }), []);
  t.is(policingStatus('cap', undefined), 'policed');
  t.is(policingStatus('cap', refusal), 'not capped');
  t.is(policingStatus('free', refusal), 'free');
});
