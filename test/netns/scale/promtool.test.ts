// What Debian's promtool says of the rules, and of the page of a helper that runs.

import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import test from 'ava';
import { parse } from 'yaml';
import { projectRoot } from '../../../scripts/lib/paths.ts';
import { PROMTOOL } from '../../../scripts/lib/prometheus.ts';
import {
  addUplink,
  leaveRecords,
  makeHelperDirectories,
  paramsOf,
  startOwnHelper,
  wirePod,
} from '../../kit/helper.ts';
import { makeNetns } from '../../kit/netns.ts';
import { METRICS_PORT, scrape } from '../../kit/scrape.ts';

const MONITORING = path.join(projectRoot, 'conf/monitoring');

interface Rules {
  readonly groups: readonly {
    readonly rules: readonly { readonly alert?: string; readonly record?: string }[];
  }[];
}

interface RulesTest {
  readonly tests: readonly {
    readonly alert_rule_test?: readonly {
      readonly alertname: string;
      readonly exp_alerts?: readonly object[];
    }[];
    readonly promql_expr_test?: readonly { readonly expr: string }[];
  }[];
}

function promtool(...args: readonly string[]): string {
  return execFileSync(PROMTOOL, args, { cwd: MONITORING, encoding: 'utf8' });
}

function read(name: string): unknown {
  return parse(fs.readFileSync(path.join(MONITORING, name), 'utf8'));
}

test('it takes the rules, and they do what their tests say', (t) => {
  t.regex(promtool('check', 'rules', 'rules.yaml'), /SUCCESS: \d+ rules found\n/);
  t.regex(promtool('test', 'rules', 'rules-test.yaml'), /SUCCESS/);
});

test('each alert has a case in which it fires and one in which it does not, each sum one', (t) => {
  const rules = (read('rules.yaml') as Rules).groups.flatMap((group) => group.rules);
  const { tests } = read('rules-test.yaml') as RulesTest;
  const cases = tests.flatMap((one) => one.alert_rule_test ?? []);
  const asked = tests.flatMap((one) => one.promql_expr_test ?? []);
  for (const { alert, record } of rules) {
    if (record !== undefined)
      t.true(
        asked.some(({ expr }) => expr === record),
        record,
      );
    if (alert === undefined) continue;
    const own = cases.filter(({ alertname }) => alertname === alert);
    t.true(
      own.some((one) => one.exp_alerts !== undefined),
      alert,
    );
    t.true(
      own.some((one) => one.exp_alerts === undefined),
      alert,
    );
  }
});

test.serial('it has nothing to say of the page of a helper with pods', async (t) => {
  const [node, pod, peer] = [makeNetns(t), makeNetns(t), makeNetns(t)];
  const directories = makeHelperDirectories(t);
  node.ip('link', 'set', 'lo', 'up');
  wirePod(node, pod, 'pod0');
  addUplink(node, peer, 'uplink', 1);
  const rate = { rateBitsPerSec: 10_000_000 };
  const params = paramsOf('pod0', pod, { egress: rate, ingress: rate });
  const named = { podNamespace: 'shop', podName: 'web-0', podUid: 'u1' };
  leaveRecords(node, directories, [{ ...params, ...named }]);
  const flags = ['--metrics-address', `127.0.0.1:${METRICS_PORT}`];
  await startOwnHelper(t, node, directories, flags);
  const input = await scrape(node);
  t.regex(input, /^podpace_pod_sojourn_seconds_bucket\{.*pod="web-0"/m);
  const { status, stdout, stderr } = spawnSync(PROMTOOL, ['check', 'metrics'], {
    ...{ input, encoding: 'utf8' },
  });
  t.deepEqual({ status, stdout, stderr }, { status: 0, stdout: '', stderr: '' });
});
