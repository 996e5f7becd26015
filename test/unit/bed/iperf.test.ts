import test from 'ava';
import fc from 'fast-check';
import { parseIperf } from '../../bed/iperf.ts';

/**
 * The end of a report of iperf3 3.12 with --reverse: 10 Mbit/s through the CNI bandwidth plugin.
 */
const REPORT = {
  end: {
    sum_sent: {
      seconds: 4.000954,
      bytes: 193200128,
      bits_per_second: 386308121.513,
      retransmits: 113,
    },
    sum_received: { seconds: 4.000125, bytes: 189419808, bits_per_second: 250_500_000 },
    sender_tcp_congestion: 'bbr',
  },
};

test("retransmits and congestion control are the sender's", (t) => {
  t.deepEqual(parseIperf(JSON.stringify(REPORT)), {
    retransmits: 113,
    congestionControl: 'bbr',
  });
});

test("a failed run is told in iperf3's words", (t) => {
  const json = JSON.stringify({
    end: {},
    error: 'unable to connect to server: Connection refused',
  });
  t.throws(() => parseIperf(json), {
    message: /iperf3 says: unable to connect to server: Connection refused/,
  });
});

test('a missing figure is named', (t) => {
  t.throws(() => parseIperf('{}'), { message: /no end\.sum_sent\.retransmits/ });
});

test('any text gives figures or an Error with a reason', (t) => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
      t.throws(() => parseIperf(text), { message: /^Cannot / });
    }),
  );
});
