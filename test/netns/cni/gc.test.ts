import fs from 'node:fs';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { ip, makeNetnsFor } from '../../kit/cni-node.ts';
import { temporaryDirectory } from '../../bed/temporary-directory.ts';
import { refuses, startFakeHelper } from '../../kit/fake-helper.ts';
import { call, fail, makePod, succeed, type Pod } from '../../kit/pod.ts';

const VALID = 'cni.dev/valid-attachments';

/**
 * A pod of spec 1.1.0 with a scripted IPAM plugin: Debian 12's host-local does not know that
 * version.
 */
function makePod110(
  t: ExecutionContext,
  script = 'exit 0',
): { pod: Pod; env: Record<string, string>; log: string } {
  const directory = temporaryDirectory(t);
  const log = path.join(directory, 'commands');
  const address = `[ "$CNI_COMMAND" != ADD ] || echo '{"cniVersion":"1.1.0","ips":[{"address":"10.94.0.'$((\${#CNI_CONTAINERID} + 1))'/24"}]}'`;
  const text = `#!/bin/sh\necho "$CNI_COMMAND" >> '${log}'\n${address}\n${script}\n`;
  fs.writeFileSync(path.join(directory, 'scripted'), text, { mode: 0o755 });
  const base = makePod(t);
  const config = { cniVersion: '1.1.0', name: 'pods', ipam: { type: 'scripted' } };
  return { pod: { ...base, config }, env: { CNI_PATH: directory }, log };
}

function hostInterfaces({ node }: Pod): number {
  return ip(node.netns, '-o', 'link')
    .split('\n')
    .filter((line) => /: pod[0-9a-f]/.test(line)).length;
}

test.serial('GC removes what no attachment claims, and asks helper and IPAM to', async (t) => {
  const { pod, env, log } = makePod110(t);
  const helper = await startFakeHelper(t);
  const socket = helper.socketPath;
  const dead = { ...pod, sandbox: makeNetnsFor(t, 'pod') };
  const foreign = { ...pod, sandbox: makeNetnsFor(t, 'pod') };
  await succeed(t, call(pod, 'ADD', {}, env));
  await succeed(t, call(dead, 'ADD', {}, { ...env, CNI_CONTAINERID: 'dead' }));
  await succeed(
    t,
    call(foreign, 'ADD', { name: 'others' }, { ...env, CNI_CONTAINERID: 'other-one' }),
  );
  t.is(hostInterfaces(pod), 3);

  await succeed(t, call(pod, 'GC', { socket }, env));
  t.is(hostInterfaces(pod), 3, 'without the list nothing is stale');
  t.deepEqual(helper.methods(), []);

  await succeed(
    t,
    call(pod, 'GC', { socket, [VALID]: [{ containerID: 'c1', ifname: 'eth0' }] }, env),
  );
  t.is(hostInterfaces(pod), 2);
  t.deepEqual(helper.requests[0], {
    version: 3,
    method: 'gc',
    params: { network: 'pods', valid: [{ containerId: 'c1', ifname: 'eth0' }] },
  });

  await succeed(t, call(pod, 'GC', { [VALID]: [] }, env));
  t.is(hostInterfaces(pod), 1, 'that of another network stays');
  t.is(fs.readFileSync(log, 'utf8').match(/GC/g)?.length, 3);
});

test.serial('GC goes on after an error and reports it', async (t) => {
  const { pod, env } = makePod110(
    t,
    `[ "$CNI_COMMAND" != GC ] || { echo '{"code":77,"msg":"ipam"}'; exit 1; }`,
  );
  const helper = await startFakeHelper(t, refuses('gc', { code: 'internal', message: 'helper' }));
  await succeed(t, call(pod, 'ADD', {}, env));
  const more = { socket: helper.socketPath, [VALID]: [] };
  await fail(t, call(pod, 'GC', more, env), 102, /helper; ipam$/);
  t.is(hostInterfaces(pod), 0);
});

test.serial('GC touches nothing for a list that it cannot read', async (t) => {
  const { pod, env } = makePod110(t);
  await succeed(t, call(pod, 'ADD', {}, env));
  for (const list of [
    'all',
    {},
    [{ containerID: 'c1' }],
    [7],
    [{ containerID: 1, ifname: 'eth0' }],
  ]) {
    await fail(
      t,
      call(pod, 'GC', { [VALID]: list }, env),
      7,
      /^Cannot use cni\.dev\/valid-attachments/,
    );
  }
  t.is(hostInterfaces(pod), 1);
});

test.serial('a result of 1.1.0 carries the MTU', async (t) => {
  const { pod, env } = makePod110(t);
  const result = await succeed(t, call(pod, 'ADD', { mtu: 1400 }, env));
  t.deepEqual(
    result.interfaces?.map(({ mtu }) => mtu),
    [1400, 1400],
  );
  await succeed(t, call(pod, 'CHECK', { prevResult: result, mtu: 1400 }, env));
});
