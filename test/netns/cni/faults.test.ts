// ADD fails at every step in turn, and nothing is left.

import fs from 'node:fs';
import path from 'node:path';
import test from 'ava';
import type { Kernel } from '../../../cni/wiring/kernel.ts';
import { KernelError } from '../../../helper/wire/errors.ts';
import { describeNetns, snapshot } from '../../kit/cni-node.ts';
import { temporaryDirectory } from '../../bed/temporary-directory.ts';
import { healthy, startFakeHelper, type Script } from '../../kit/fake-helper.ts';
import { BANDWIDTH, call, DUAL, fail, makePod, succeed } from '../../kit/pod.ts';

/**
 * A kernel that refuses its n-th operation, counted from 0, once. `count` says how many there were.
 */
function failing(
  kernel: Kernel,
  n: number,
  errno: string,
): { kernel: Kernel; count: () => number } {
  let calls = 0;
  const wrapped = Object.entries(kernel).map(([name, operation]) => [
    name,
    (...args: unknown[]): unknown => {
      calls += 1;
      const refused = new KernelError(`do ${name}`, errno);
      // As the operation itself would: those that are asynchronous reject.
      const isSynchronous = ['openNetns', 'openSocket', 'writeSysctl'].includes(name);
      if (calls === n + 1 && isSynchronous) throw refused;
      if (calls === n + 1) return Promise.reject(refused);
      return (operation as (...args: unknown[]) => unknown)(...args);
    },
  ]);
  return { kernel: Object.fromEntries(wrapped) as Kernel, count: () => calls };
}

for (const errno of ['ENOMEM', 'EPERM']) {
  test.serial(`ADD with every operation of the kernel failing in turn with ${errno}`, async (t) => {
    // Host-local runs twice for each of some forty operations, in a VM on an emulated processor.
    t.timeout(300_000);
    const pod = makePod(t, DUAL);
    const helper = await startFakeHelper(t);
    const more = { socket: helper.socketPath, runtimeConfig: { bandwidth: BANDWIDTH } };
    // Forwarding stays on: other pods may need it by then.
    await succeed(t, call(pod, 'ADD', more));
    await succeed(t, call(pod, 'DEL', more));
    const before = await snapshot(pod.node);
    const inPod = await describeNetns(pod.sandbox);
    let failures = 0;
    for (;;) {
      const { kernel, count } = failing(pod.node.kernel, failures, errno);
      const outcome = await call(pod, 'ADD', more, {}, { kernel });
      if (count() <= failures) {
        t.is(outcome.status, 0, outcome.stdout);
        break;
      }
      t.is(outcome.status, 1, `operation ${failures}`);
      t.is(outcome.answer?.code, 102, outcome.stdout);
      t.regex(outcome.answer?.msg ?? '', new RegExp(`^Cannot do \\w+: ${errno}`));
      t.is(await snapshot(pod.node), before, `operation ${failures}: ${outcome.stderr}`);
      t.deepEqual(await describeNetns(pod.sandbox), inPod, `operation ${failures}`);
      failures += 1;
    }
    t.true(failures > 15, `${failures} operations`);
  });
}

const HELPERS: readonly [name: string, code: number, script: Script][] = [
  ['closes without an answer', 11, (_, connection) => void connection.end()],
  ['closes in the middle', 11, (_, connection) => void connection.end('{"version":2,"res')],
  ['answers garbage', 101, (_, connection) => void connection.write('hello\n')],
  ['answers too much', 101, (_, connection) => void connection.write(Buffer.alloc(70_000, 'x'))],
  [
    'speaks another version',
    101,
    (_, connection) => void connection.write('{"version":2,"result":{}}\n'),
  ],
  [
    'answers nonsense',
    101,
    (_, connection) => void connection.write('{"version":3,"result":{"degraded":1}}\n'),
  ],
];

for (const [name, code, script] of HELPERS) {
  test.serial(`ADD with a helper that ${name}`, async (t) => {
    const pod = makePod(t, DUAL);
    const attachOnly: Script = (request, connection) => {
      if (request.method === 'attach') script(request, connection);
      else healthy(request, connection);
    };
    const helper = await startFakeHelper(t, attachOnly);
    const before = await snapshot(pod.node);
    const more = { socket: helper.socketPath, runtimeConfig: { bandwidth: BANDWIDTH } };
    const answer = await fail(t, call(pod, 'ADD', more), code, /helper at .*helper\.sock/);
    t.truthy(answer.details);
    t.is(await snapshot(pod.node), before);
    t.deepEqual(helper.methods(), ['attach', 'detach']);
  });
}

/** An IPAM plugin that records its commands and does what the test's shell script says. */
function scriptedIpam(directory: string, script: string): string {
  const log = path.join(directory, 'commands');
  const text = `#!/bin/sh\ncat > '${directory}/stdin'\necho "$CNI_COMMAND" >> '${log}'\n${script}\n`;
  fs.writeFileSync(path.join(directory, 'scripted'), text, { mode: 0o755 });
  return log;
}

const IPAM_ANSWERS: readonly [name: string, script: string, code: number, text: RegExp][] = [
  [
    'fails in its own words',
    `echo '{"code":77,"msg":"no luck","details":"today"}'; exit 1`,
    77,
    /^no luck$/,
  ],
  [
    'fails without a word',
    'exit 3',
    999,
    /^netplugin failed with no error message: exit status 3$/,
  ],
  [
    'fails on stderr only',
    'echo broken >&2; exit 1',
    999,
    /^netplugin failed: "broken\\n": exit status 1$/,
  ],
  [
    'fails with nonsense',
    'echo oops; exit 1',
    999,
    /^netplugin failed but error parsing its diagnostic message "oops/,
  ],
  ['is killed', 'kill -9 $$', 999, /^netplugin failed with no error message: signal: SIGKILL$/],
  ['answers nonsense', 'echo oops', 6, /^Cannot read the answer of IPAM plugin "scripted"/],
  ['answers no object', 'echo 7', 6, /it is 7, not an object/],
  [
    'answers without end',
    "head -c 3000000 /dev/zero | tr '\\0' x",
    999,
    /^netplugin failed with no error message: it answered more than 1048576 bytes$/,
  ],
  [
    'fails at length',
    "head -c 5000 /dev/zero | tr '\\0' x; exit 1",
    999,
    /^netplugin failed but error parsing its diagnostic message "x{1000}…"$/,
  ],
  [
    'answers in a version that there is not',
    `echo '{"cniVersion":"7.7","ips":[{"address":"10.0.0.3/24"}]}'`,
    6,
    /^Cannot use the answer of IPAM plugin "scripted": unsupported CNI result version "7\.7"$/,
  ],
  [
    'gives no address',
    `echo '{"cniVersion":"1.0.0"}'`,
    7,
    /^IPAM plugin returned missing IP config$/,
  ],
  [
    'gives no such address',
    `echo '{"ips":[{"address":"10.0.0.300/24"}]}'`,
    7,
    /Cannot use address "10\.0\.0\.300\/24"/,
  ],
  [
    'gives a wrong type',
    `echo '{"ips":7}'`,
    7,
    /Cannot use the answer of IPAM plugin "scripted"\.ips: it is 7/,
  ],
];

for (const [name, script, code, text] of IPAM_ANSWERS) {
  test.serial(`ADD with an IPAM plugin that ${name}`, async (t) => {
    const pod = makePod(t);
    const directory = temporaryDirectory(t);
    const log = scriptedIpam(directory, `[ "$CNI_COMMAND" = ADD ] || exit 0\n${script}`);
    const before = await snapshot(pod.node);
    const more = { ipam: { type: 'scripted', own: 1 } };
    await fail(t, call(pod, 'ADD', more, { CNI_PATH: `/nonesuch:${directory}` }), code, text);
    t.is(await snapshot(pod.node), before);
    t.is(fs.readFileSync(log, 'utf8'), 'ADD\nDEL\n');
    t.is(
      fs.readFileSync(path.join(directory, 'stdin'), 'utf8'),
      JSON.stringify({ ...pod.config, ...more }),
    );
  });
}

test.serial('ADD stopped while the helper is silent undoes everything', async (t) => {
  const pod = makePod(t);
  const before = await snapshot(pod.node);
  const controller = new AbortController();
  const helper = await startFakeHelper(t, (request, connection) => {
    if (request.method === 'attach') controller.abort(new Error('stopped'));
    else healthy(request, connection);
  });
  const more = { socket: helper.socketPath, runtimeConfig: { bandwidth: BANDWIDTH } };
  await fail(t, call(pod, 'ADD', more, {}, { signal: controller.signal }), 999, /^stopped$/);
  t.is(await snapshot(pod.node), before);
});

test.serial('ADD stopped while IPAM hangs undoes everything', async (t) => {
  const pod = makePod(t);
  const before = await snapshot(pod.node);
  const directory = temporaryDirectory(t);
  const log = scriptedIpam(directory, '[ "$CNI_COMMAND" = ADD ] || exit 0\nexec sleep 60');
  const controller = new AbortController();
  const stopped = call(
    pod,
    'ADD',
    { ipam: { type: 'scripted' } },
    { CNI_PATH: directory },
    { signal: controller.signal },
  );
  while (!fs.existsSync(log)) await new Promise((resolve) => setTimeout(resolve, 20));
  controller.abort(new Error('stopped'));
  await fail(t, stopped, 999, /^stopped$/);
  t.is(fs.readFileSync(log, 'utf8'), 'ADD\nDEL\n');
  t.is(await snapshot(pod.node), before);
});
