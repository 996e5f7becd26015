import test from 'ava';
import { requireDepartureTimes } from '../../../cni/wiring/congestion-control.ts';
import type { Session } from '../../../cni/wiring/session.ts';
import { CniError } from '../../../cni/types.ts';

function sessionOn(there: boolean | undefined): Session {
  const kernel = { tryStamp: async () => ({ there, why: 'EINVAL (unknown func#192)' }) };
  return { kernel } as unknown as Session;
}

test('congestion control is refused where the kernel loses departure times, and only there', async (t) => {
  const refused = requireDepartureTimes(sessionOn(false), 'bbr');
  const error = await t.throwsAsync(refused, {
    instanceOf: CniError,
    message: /"bbr": .*loses .*func#192/,
  });
  t.is(error?.code, 100);
  for (const there of [true, undefined])
    await t.notThrowsAsync(requireDepartureTimes(sessionOn(there), 'bbr'));
});
