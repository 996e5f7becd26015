// podpaced history: what a helper answers, as people and programs get it.

import test from 'ava';
import { timedSteps } from '../../../../helper/commands/history.ts';
import { runCli } from '../../../../helper/cli.ts';
import { encodeLine } from '../../../../helper/protocol/frame.ts';
import { historyRows } from '../../../../helper/render-history.ts';
import { startFakeHelper, type Script } from '../../../kit/fake-helper.ts';

const NOW = new Date('2026-01-01T12:00:04.500Z');
const CAP = {
  ...{ rateBitsPerSec: 10_000_000, burstNs: 1e6, horizonNs: 5e7 },
  ...{ aqmTargetNs: 5e6, aqmIntervalNs: 1e8, changed: [] },
};
/** 80 % of the cap, throttled for half of the time; then idle; then what nobody counted. */
const COLUMNS = {
  bytesPerSec: [null, 1_000_000, 0, 0, null, 1_250_000],
  throttledSeconds: [null, 5, 0, 0, null, 10],
  p50Ns: [null, 1_234_567, null, null, null, 4_000_000],
  p99Ns: [null, 2_000_000, null, null, null, 8_000_000],
};

test('each step ends a step after the one before, the latest when the helper says', (t) => {
  const steps = timedSteps(COLUMNS, { stepSeconds: 10, endedMsAgo: 4500 }, NOW);
  t.deepEqual(
    steps.map(({ endedAt }) => endedAt.slice(11, 23)),
    ['11:59:20.000', '11:59:30.000', '11:59:40.000', '12:00:00.000'],
  );
  t.deepEqual(Object.keys(steps[1] ?? {}), ['endedAt', 'bytesPerSec', 'throttledSeconds']);
});

test('a row for each busy step, one for all that idle in a row', (t) => {
  const steps = timedSteps(COLUMNS, { stepSeconds: 10, endedMsAgo: 4500 }, NOW);
  t.deepEqual(historyRows(steps, CAP, 10), [
    ['11:59:20', '8 Mbit/s', '80.0%', '50%', '1.2 ms', '2 ms'],
    ['11:59:40', 'idle for 20 s'],
    ['12:00:00', '10 Mbit/s', '100.0%', '100%', '4 ms', '8 ms'],
  ]);
});

const answering: Script = ({ version, method, params }, connection) => {
  const key = { containerId: '4f2a9d', ifname: 'eth0' };
  const names = { podNamespace: 'default', podName: 'web-0' };
  const listed = {
    ...{ ...key, ...names, network: 'pods', hostInterface: 'pod0', hostInterfaceIndex: 7 },
    ...{ sandbox: '/x', caps: {}, effective: {}, problems: [] },
  };
  const { steps } = params as { steps?: number };
  const of = (length: number) => ({
    ...{ bytesPerSec: Array<number>(length).fill(1000) },
    ...{ throttledSeconds: Array<number>(length).fill(1) },
    ...{ p50Ns: Array<number>(length).fill(1e6), p99Ns: Array<number>(length).fill(2e6) },
  });
  const answers = {
    list: { attachments: [listed] },
    uncapped: { uncapped: [], unknown: [] },
    history: {
      ...{ ...key, ...names, stepSeconds: 10, endedMsAgo: 0, effective: { egress: CAP } },
      egress: of(steps ?? 360),
    },
  };
  const result = answers[method as keyof typeof answers];
  connection.write(encodeLine({ version, result }));
};

async function run(...argv: readonly string[]) {
  let [stdout, stderr] = ['', ''];
  const code = await runCli(argv, {
    stdout: (text) => void (stdout += text),
    stderr: (text) => void (stderr += text),
  });
  return { code, stdout, stderr };
}

test('as a table and as JSON, as far back as asked', async (t) => {
  const { socketPath } = await startFakeHelper(t, answering);
  const ask = (...flags: readonly string[]) =>
    run('history', 'default/web-0', '--socket', socketPath, ...flags);
  const { stdout } = await ask('--minutes', '2');
  const [title, head, ...rows] = stdout.trimEnd().split('\n');
  t.is(title, 'default/web-0 (eth0, 4f2a9d) egress, cap 10 Mbit/s');
  t.regex(head ?? '', /^UNTIL \(UTC\) +RATE +OF CAP +THROTTLED +WAIT P50 +WAIT P99$/);
  t.is(rows.length, 12);
  t.regex(rows[0] ?? '', /^\d\d:\d\d:\d\d +8 kbit\/s +0\.1% +10% +1 ms +2 ms$/);
  const { stdout: json } = await ask('--json');
  const { egress, ...others } = JSON.parse(json) as { egress: object[] };
  t.is(egress.length, 360);
  t.like(others, { podName: 'web-0', stepSeconds: 10, effective: { egress: CAP } });
  for (const minutes of ['0', '61', 'x', '']) {
    const refused = await ask('--minutes', minutes);
    t.is(refused.code, 2, minutes);
    t.regex(refused.stderr, /minutes from 1 to 60/);
  }
});
