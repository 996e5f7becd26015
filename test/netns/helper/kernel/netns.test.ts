import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import test from 'ava';
import { KernelError } from '../../../../helper/wire/errors.ts';
import { currentNetns, inNetns, openNetns } from '../../../../helper/kernel/netns.ts';
import { makeNetns, openDescriptors } from '../../../kit/netns.ts';

function currentInode(): bigint {
  return fs.statSync('/proc/thread-self/ns/net', { bigint: true }).ino;
}

test('openNetns gives the namespace that the path is mounted on', (t) => {
  const { netns, name } = makeNetns(t);
  t.is(netns.path, `/run/netns/${name}`);
  t.is(netns.inode, fs.statSync(`/run/netns/${name}`, { bigint: true }).ino);
  t.not(netns.inode, currentInode());
});

test('openNetns says that a path is gone', (t) => {
  const error = t.throws(() => openNetns('/run/netns/pp-none'), { instanceOf: KernelError });
  t.is(error?.errno, 'ENOENT');
  t.true(error?.message.includes('"/run/netns/pp-none"'));
});

test('openNetns refuses what is no network namespace', (t) => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'pp-'));
  t.teardown(() => fs.rmSync(directory, { recursive: true }));
  const file = path.join(directory, 'file');
  const pipe = path.join(directory, 'pipe');
  fs.writeFileSync(file, '');
  execFileSync('mkfifo', [pipe]);
  const before = openDescriptors();
  for (const path of [
    file,
    pipe,
    directory,
    '/dev/null',
    '/proc/self/ns/mnt',
    '/proc/self/ns/pid',
  ]) {
    const error = t.throws(() => openNetns(path), { instanceOf: KernelError }, path);
    t.is(error?.errno, 'EINVAL', path);
    t.true(error?.message.includes(path));
  }
  t.is(openDescriptors(), before);
});

test('currentNetns gives the namespace of this thread', (t) => {
  const here = currentNetns();
  t.teardown(() => here.close());
  t.is(here.inode, currentInode());
});

test('inNetns runs there and comes back', (t) => {
  const { netns } = makeNetns(t);
  const home = currentInode();
  t.is(
    inNetns(netns, () => currentInode()),
    netns.inode,
  );
  t.is(currentInode(), home);
});

test('inNetns comes back after an error', (t) => {
  const { netns } = makeNetns(t);
  const home = currentInode();
  const before = openDescriptors();
  const fail = (): never => {
    throw new Error('inside');
  };
  t.throws(() => inNetns(netns, fail), { message: 'inside' });
  t.is(currentInode(), home);
  t.is(openDescriptors(), before);
});

test('inNetns can be nested', (t) => {
  const outer = makeNetns(t).netns;
  const inner = makeNetns(t).netns;
  const home = currentInode();
  const seen = inNetns(outer, () => [inNetns(inner, () => currentInode()), currentInode()]);
  t.deepEqual(seen, [inner.inode, outer.inode]);
  t.is(currentInode(), home);
});

test('inNetns refuses a promise', (t) => {
  const { netns } = makeNetns(t);
  const home = currentInode();
  t.throws(() => inNetns(netns, () => Promise.resolve()), {
    instanceOf: TypeError,
    message: /asynchronous/,
  });
  t.is(currentInode(), home);
});

test('a closed namespace is not mistaken for the file that has its descriptor now', (t) => {
  const { name } = makeNetns(t);
  const closed = openNetns(`/run/netns/${name}`);
  closed.close();
  closed.close();
  const home = currentInode();
  t.throws(() => inNetns(closed, () => undefined), {
    instanceOf: KernelError,
    message: /EBADF \(it was closed/,
  });
  t.is(currentInode(), home);
});
