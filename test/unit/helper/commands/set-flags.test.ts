import test from 'ava';
import { parseSetFlags, type SetFlags } from '../../../../helper/commands/set-flags.ts';

test('flags become changes in the units of the protocol', (t) => {
  const flags: SetFlags = {
    egress: true,
    rate: '10M',
    burst: '100k',
    horizon: '50ms',
    aqmTarget: 'off',
    aqmInterval: 'default',
  };
  t.deepEqual(parseSetFlags(flags), {
    direction: 'egress',
    changes: {
      rateBitsPerSec: 10_000_000,
      burstBits: 100_000,
      horizonNs: 50_000_000,
      aqmTargetNs: 0,
      aqmIntervalNs: null,
    },
  });
  t.deepEqual(parseSetFlags({ ingress: true, reset: true }), {
    direction: 'ingress',
    reset: true,
    changes: {},
  });
});

const bad: readonly [SetFlags, RegExp][] = [
  [{ rate: '1M' }, /either --egress or --ingress/],
  [{ egress: true, ingress: true, rate: '1M' }, /either --egress or --ingress/],
  [{ egress: true }, /Nothing to set: give at least one of --rate, --burst/],
  [{ egress: true, rate: '999' }, /--rate must be from 1 kbit\/s to 1 Pbit\/s, got 999/],
  [{ egress: true, rate: '2P' }, /--rate.*got 2P/],
  [{ egress: true, rate: 'NaN' }, /rate "NaN"/],
  [{ egress: true, rate: '-1M' }, /rate "-1M"/],
  [{ egress: true, rate: 'off' }, /rate "off"/],
  [{ egress: true, burst: '0' }, /--burst must be from 1 bit/],
  [{ egress: true, horizon: '50' }, /duration "50".*with its unit/],
  [{ egress: true, horizon: '3s' }, /--horizon must be from 1 ms to 2 s, got 3s/],
  [{ egress: true, aqmInterval: 'off' }, /duration "off"/],
];
for (const [flags, expected] of bad) {
  test(`parseSetFlags refuses ${JSON.stringify(flags)}`, (t) => {
    t.throws(() => parseSetFlags(flags), { message: expected });
  });
}
