// What is shipped under conf/ besides network lists.

import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import test from 'ava';

const ROOT = path.resolve(import.meta.dirname, '../..');
const UNIT = path.join(ROOT, 'conf/podpaced.service');

test('systemd finds nothing wrong with the unit', (t) => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), `pp-${process.pid}-`));
  t.teardown(() => fs.rmSync(directory, { recursive: true }));
  const unit = fs.readFileSync(UNIT, 'utf8');
  const file = path.join(directory, 'podpaced.service');
  // The executable has to be there for systemd to be content.
  fs.writeFileSync(file, unit.replace('/usr/local/sbin/podpaced', '/bin/true'));
  const { error, status, stderr } = spawnSync('systemd-analyze', ['verify', file], {
    encoding: 'utf8',
  });
  if (error !== undefined) return t.log('no systemd-analyze on this machine');
  const own = stderr.split('\n').filter((line) => line.includes('podpaced.service'));
  t.deepEqual(own, []);
  t.is(status, 0, stderr);
});

test('the unit gives podpaced no mount namespace of its own', (t) => {
  // systemd.exec(5), "Sandboxing": each of these implies one, in which a mounted bpffs would end
  // with the service.
  const settings =
    /^(Private|Protect|ReadOnly|ReadWrite|Inaccessible|Temporary|Bind|Root|Mount|Runtime|State|Dynamic)/;
  const lines = fs.readFileSync(UNIT, 'utf8').split('\n');
  t.deepEqual(
    lines.filter((line) => settings.test(line)),
    [],
  );
});

test('the unit is as exposed as it says, by systemd-analyze security', (t) => {
  const { error, stdout, stderr } = spawnSync(
    'systemd-analyze',
    ['security', '--offline=true', '--no-pager', UNIT],
    { encoding: 'utf8' },
  );
  if (error !== undefined) return t.log('no systemd-analyze on this machine');
  // Other releases weigh other settings.
  const { stdout: release } = spawnSync('systemd-analyze', ['--version'], { encoding: 'utf8' });
  if (!release.startsWith('systemd 252 ')) return t.log(`not systemd 252: ${release}`);
  const [, found] = /exposure level for podpaced\.service: ([\d.]+)/.exec(stdout) ?? [];
  const [, stated] = /exposure ([\d.]+)/.exec(fs.readFileSync(UNIT, 'utf8')) ?? [];
  t.is(found, stated, stderr);
});
