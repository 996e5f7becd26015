// The archive of another architecture on a kernel of that architecture, emulated: a pod's cap holds.

import fs from 'node:fs';
import path from 'node:path';
import test from 'ava';
import { VERSION } from '../../helper/version.ts';
import { projectRoot } from '../../scripts/lib/paths.ts';
import { capture, run } from '../../scripts/lib/process.ts';

const RATE = 10e6;
const SECONDS = 6;
/** Payload of a full frame of TCP with timestamps over IPv4, and the frame as the link sees it. */
const SEGMENT = { payload: 1448, frame: 1514 };
const TOLERANCE = 0.01;
const ARCHITECTURE = process.arch === 'arm64' ? 'x64' : 'arm64';

interface Report {
  readonly intervals: readonly { readonly sum: { readonly bits_per_second: number } }[];
}

test('a cap of 10 Mbit/s holds within 1 % on an emulated kernel of the other architecture', async (t) => {
  t.timeout(30 * 60_000);
  await run(path.join(projectRoot, 'scripts/release'), ['--arch', ARCHITECTURE]);
  const name = `podpace-${VERSION}-linux-${ARCHITECTURE}`;
  // The VM sees this tree, but no /tmp of this machine.
  const directory = fs.mkdtempSync(path.join(projectRoot, 'build/capped-pod-'));
  t.teardown(() => fs.rmSync(directory, { recursive: true, force: true }));
  const archive = path.join(projectRoot, 'dist/release', `${name}.tar.gz`);
  await run('tar', ['-xzf', archive, '-C', directory]);
  const report = await capture(path.join(projectRoot, 'scripts/vm'), [
    ...['--arch', ARCHITECTURE, '--kernel', '6.1', '--count-instructions', '--skip-idle'],
    ...['--', '/bin/sh', path.join(projectRoot, 'test/release/capped-pod.sh')],
    ...[path.join(directory, name), String(RATE), String(SECONDS)],
  ]);
  const { intervals } = JSON.parse(report) as Report;
  // The first has the handshake and the burst, the last may be a part of a second.
  const whole = intervals.slice(1, SECONDS - 1).map(({ sum }) => sum.bits_per_second);
  t.is(whole.length, SECONDS - 2);
  const mean = whole.reduce((sum, each) => sum + each, 0) / whole.length;
  const expected = (RATE * SEGMENT.payload) / SEGMENT.frame;
  t.log(`goodput ${(mean / 1e6).toFixed(3)} Mbit/s, expected ${(expected / 1e6).toFixed(3)}`);
  t.true(Math.abs(mean / expected - 1) < TOLERANCE, report);
});
