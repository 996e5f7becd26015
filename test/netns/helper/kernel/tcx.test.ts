// tcx links on the loopback device of a namespace of the test's own.

import fs from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import { loadProgram, programInfo, PROG_TYPE_SCHED_CLS } from '../../../../helper/kernel/bpf.ts';
import {
  createTcxLink,
  isTcxSupported,
  linkInfo,
  queryTcx,
  updateLink,
} from '../../../../helper/kernel/tcx.ts';
import { KernelError } from '../../../../helper/wire/errors.ts';
import { inNetns, type NetNamespace } from '../../../../helper/kernel/netns.ts';
import { makeScratchNetns } from '../../../../helper/kernel/scratch-netns.ts';

const LOOPBACK = 1;
/** The kernel's own types name the hook where there is one. */
const hasTcx = fs.readFileSync('/sys/kernel/btf/vmlinux').includes('BPF_TCX_INGRESS');
const testTcx = hasTcx ? test : test.skip;

/** r0 = TCX_NEXT; exit. */
const PASS = Buffer.from('b7000000ffffffff9500000000000000', 'hex');

function newProgram(t: ExecutionContext, name: string): { fd: number; id: number } {
  const fd = loadProgram({ type: PROG_TYPE_SCHED_CLS, name, license: 'GPL', instructions: PASS });
  t.teardown(() => fs.closeSync(fd));
  return { fd, id: programInfo(fd).id };
}

function newNetns(t: ExecutionContext): NetNamespace {
  const netns = makeScratchNetns();
  t.teardown(() => netns.close());
  return netns;
}

test('tcx is found where the kernel has it', (t) => {
  t.is(isTcxSupported(), hasTcx);
});

testTcx(
  'a link puts its program in front, names its device, and takes the program away with it',
  (t) => {
    const netns = newNetns(t);
    const [first, second] = [newProgram(t, 'first'), newProgram(t, 'second')];
    inNetns(netns, () => {
      t.deepEqual(queryTcx(LOOPBACK, 'egress'), []);
      const place = { ifindex: LOOPBACK, hook: 'egress' } as const;
      const firstLink = createTcxLink({ programFd: first.fd, ...place });
      const secondLink = createTcxLink({ programFd: second.fd, ...place });
      t.deepEqual(queryTcx(LOOPBACK, 'egress'), [second.id, first.id]);
      t.deepEqual(queryTcx(LOOPBACK, 'ingress'), []);
      t.like(linkInfo(firstLink), { programId: first.id, ifindex: LOOPBACK });
      fs.closeSync(secondLink);
      t.deepEqual(queryTcx(LOOPBACK, 'egress'), [first.id]);
      fs.closeSync(firstLink);
      t.deepEqual(queryTcx(LOOPBACK, 'egress'), []);
    });
  },
);

testTcx('a link takes another program without losing its place', (t) => {
  const netns = newNetns(t);
  const [ours, theirs, next] = [
    newProgram(t, 'ours'),
    newProgram(t, 'theirs'),
    newProgram(t, 'next'),
  ];
  inNetns(netns, () => {
    const place = { ifindex: LOOPBACK, hook: 'ingress' } as const;
    const ourLink = createTcxLink({ programFd: ours.fd, ...place });
    const theirLink = createTcxLink({ programFd: theirs.fd, ...place });
    updateLink(ourLink, next.fd);
    t.deepEqual(queryTcx(LOOPBACK, 'ingress'), [theirs.id, next.id]);
    t.is(linkInfo(ourLink).programId, next.id);
    fs.closeSync(ourLink);
    fs.closeSync(theirLink);
  });
});

testTcx('a device that is not there is named', (t) => {
  const { fd } = newProgram(t, 'lost');
  t.throws(() => createTcxLink({ programFd: fd, ifindex: 0x7fff_0000, hook: 'egress' }), {
    instanceOf: KernelError,
    message: /^Cannot attach a program to egress of interface 2147418112: ENODEV/,
  });
});
