// `podpaced report`, by the built executable: with a helper and without one, with names and without.

import fs from 'node:fs';
import path from 'node:path';
import test from 'ava';
import { PODPACED } from '../../bed/helper.ts';
import { temporaryDirectory } from '../../bed/temporary-directory.ts';
import { inNamespace } from '../../bed/testbed.ts';
import {
  addUplink,
  leaveRecord,
  makeHelperDirectories,
  paramsOf,
  placeFlags,
  startOwnHelper,
  wirePod,
} from '../../kit/helper.ts';
import { makeNetns } from '../../kit/netns.ts';
import { runProgram } from '../../kit/run-program.ts';

interface Device {
  readonly name: string;
  readonly mac: string;
  readonly qdiscs: readonly { readonly kind: string }[];
  readonly filters: readonly { readonly name?: string }[];
  readonly tcx: readonly object[];
}

interface Report {
  readonly format: number;
  readonly podpaced: string;
  readonly node: { readonly hostName: string; readonly kernel: string };
  readonly configuration: { readonly pinDir: string };
  readonly helper: {
    readonly status: { readonly attachments?: number; readonly error?: string };
    readonly list: { readonly attachments?: readonly { readonly podName: string }[] };
    readonly counters: { readonly attachments?: readonly { readonly egress: object }[] };
    readonly probe: { readonly items: readonly object[] };
  };
  readonly kernel: {
    readonly devices: readonly Device[];
    readonly parameters: Readonly<Record<string, unknown>>;
  };
  readonly files: {
    readonly records: readonly { readonly file: string }[];
    readonly networkLists: { readonly lists: readonly object[] };
  };
}

const NAMES = {
  podNamespace: 'shop-of-somebody',
  podName: 'web-of-somebody-0',
  podUid: '0b6e4b6e-8f4c-4f4e-9b0a-1d5c3b2a1f00',
  containerId: '4f2a9d0c11e5aabbccddeeff00112233',
};

/** A list in which podpace is, with a key that nobody is to see; and one of somebody else. */
function writeLists(directory: string): void {
  const plugins = [{ type: 'calico', etcd_key: 'SECRET-OF-A-LIST' }, { type: 'podpace' }];
  const list = JSON.stringify({ cniVersion: '1.0.0', name: 'k8s', plugins });
  fs.writeFileSync(path.join(directory, '10-own.conflist'), list);
  fs.writeFileSync(path.join(directory, '99-other.conf'), '{"name":"NAME-OF-ANOTHER"}');
}

test.serial('a report tells of helper, kernel and files, with names or without', async (t) => {
  const [node, peer, sandbox] = [makeNetns(t), makeNetns(t), makeNetns(t)];
  const directories = makeHelperDirectories(t);
  const [lists, out] = [temporaryDirectory(t), temporaryDirectory(t)];
  writeLists(lists);
  addUplink(node, peer, 'up0', 1);
  wirePod(node, sandbox, 'pod0');
  const caps = { egress: { rateBitsPerSec: 10_000_000 } };
  leaveRecord(node, directories, { ...paramsOf('pod0', sandbox, caps), ...NAMES });
  const run = (...args: readonly string[]) =>
    runProgram(
      ...inNamespace(
        ...[`/run/netns/${node.name}`, PODPACED, 'report', ...placeFlags(directories)],
        ...['--cni-conf-dir', lists, ...args],
      ),
    );

  // Before there is a helper: told, and all the rest is there.
  const early = await run('--output', '-');
  t.is(early.code, 0, early.stderr);
  const without = JSON.parse(early.stdout) as Report;
  t.regex(without.helper.status.error ?? '', /no helper listens there/);
  t.true(without.helper.probe.items.length > 0);
  t.true(without.kernel.devices.some(({ name }) => name === 'up0'));

  await startOwnHelper(t, node, directories);
  const file = path.join(out, 'report.json');
  const made = await run('--output', file);
  t.is(made.code, 0, made.stderr);
  t.true(made.stdout.startsWith(`Wrote ${file} (`), made.stdout);
  t.regex(made.stderr, /^podpaced: asking the helper \.\.\.$/m);
  t.is(fs.statSync(file).mode & 0o777, 0o600);
  const text = fs.readFileSync(file, 'utf8');
  const report = JSON.parse(text) as Report;
  t.is(report.format, 1);
  t.is(report.configuration.pinDir, directories.pins);
  t.is(report.helper.status.attachments, 1);
  t.is(report.helper.list.attachments?.[0]?.podName, NAMES.podName);
  t.true('perCpu' in (report.helper.counters.attachments?.[0]?.egress ?? {}));
  const pod = report.kernel.devices.find(({ name }) => name === 'pod0');
  t.true((pod?.filters.length ?? 0) + (pod?.tcx.length ?? 0) > 0, JSON.stringify(pod));
  t.is(report.kernel.parameters['net/ipv4/ip_forward'], '0');
  t.true(report.files.records.some((one) => one.file.includes(NAMES.containerId)));
  t.is(report.files.networkLists.lists.length, 2);
  t.true(text.includes('etcd_key') && !text.includes('SECRET-OF-A-LIST'));
  t.false(text.includes('NAME-OF-ANOTHER'));

  // Somebody's file is not written over.
  const again = await run('--output', file);
  t.is(again.code, 1);
  t.regex(again.stderr, /is there already; name another by --output/);
  t.is(fs.readFileSync(file, 'utf8'), text);

  const other = path.join(out, 'redacted.json');
  t.is((await run('--output', other, '--redact')).code, 0);
  const redacted = fs.readFileSync(other, 'utf8');
  const shape = JSON.parse(redacted) as Report;
  t.is(shape.helper.list.attachments?.[0]?.podName, 'pod-1');
  t.is(shape.kernel.devices.length, report.kernel.devices.length);
  const { mac = '' } = pod ?? {};
  const gone = [...Object.values(NAMES), sandbox.name, report.node.hostName, mac];
  for (const name of gone) t.false(redacted.includes(name), name);
});
