import test from 'ava';
import { parseDeviceBytes } from '../../../../helper/wire/device-counters.ts';

/**
 * As Linux 6.18 prints it (dev_seq_printf_stats in net/core/net-procfs.c), and two names that are
 * hard to read.
 */
const TEXT = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:   19346     423    0    0    0     0          0         0    19346     423    0    0    0     0       0          0
eth0.100@x: 1 2 3 4 5 6 7 8 9007199254740993 10 11 12 13 14 15 16
123456789012345:       0       0    0    0    0     0          0         0 77 0 0 0 0 0 0 0
`;

test('what a device has received stands in the first column, what it has sent in the ninth', (t) => {
  const { received, sent } = parseDeviceBytes(TEXT);
  t.deepEqual([...received.values()], [19_346, 1, 0]);
  t.deepEqual(
    [...sent],
    [
      ['lo', 19_346],
      ['eth0.100@x', 2 ** 53],
      ['123456789012345', 77],
    ],
  );
});

test('what is no line of a device is passed over', (t) => {
  t.is(parseDeviceBytes('').sent.size, 0);
  const { received, sent } = parseDeviceBytes(
    'eth0: 1 2 3\n: 1 2 3 4 5 6 7 8 9\nx: a b c d e f g h i\n',
  );
  t.is(received.size + sent.size, 0);
});
