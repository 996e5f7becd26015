import test from 'ava';
import { parseBulk, parseOffered } from '../../bed/iperf.ts';
import { feedFile, parseFullLog } from '../../bench/requests.ts';

const IPERF = JSON.stringify({
  intervals: [
    { streams: [{ start: 0, rtt: 9_000, retransmits: 90 }] },
    {
      streams: [
        { start: 2, rtt: 100, retransmits: 1 },
        { start: 2.1, rtt: 200, retransmits: 2 },
      ],
    },
    { streams: [{ start: 2.4, rtt: 600, retransmits: 0 }] },
  ],
  end: { sum: { bits_per_second: 20_000_000 } },
});

test('bulk is judged without its warm-up, all flows together', (t) => {
  t.deepEqual(parseBulk(IPERF, 2), { retransmits: 3, meanRttUs: 300 });
});

test('iperf3 has the word when it failed', (t) => {
  t.throws(() => parseBulk('{"error":"no route"}', 0), { message: /iperf3 says: no route/ });
  t.throws(() => parseBulk('Segmentation fault', 0), { message: /is not JSON/ });
  t.throws(() => parseBulk('{}', 0), { message: /no round-trip time/ });
  t.throws(() => parseOffered('{}'), { message: /bits_per_second/ });
});

test('what datagrams offered is told in Mbit/s', (t) => {
  t.is(parseOffered(IPERF), 20);
});

const LOG = `------------------------------
sockperf: [Total Run] RunTime=2.000 sec; Warm up time=400 msec; SentMessages=801; ReceivedMessages=801
sockperf: [Valid Duration] RunTime=1.545 sec; SentMessages=4; ReceivedMessages=3
------------------------------
packet, txTime(sec), rxTime(sec), rtt(usec)
0, 2.403986383, 2.404070724, 84.341
1, 2.406486381, 2.406559232, 72.851
3, 2.411486385, 2.411563322, 76.937
------------------------------
`;

test("sockperf's log gives every round trip, and what was sent", (t) => {
  t.deepEqual(parseFullLog(LOG), {
    roundTripsUs: [84.341, 72.851, 76.937],
    sent: 4,
    seconds: 1.545,
  });
});

test('a run without any answer is summed up as a whole', (t) => {
  const [, total = ''] = LOG.split('\n');
  t.deepEqual(parseFullLog(total), { roundTripsUs: [], sent: 801, seconds: 2 });
});

test('a log that sums up nothing is told', (t) => {
  t.throws(() => parseFullLog(''), { message: /no summary/ });
});

test('flows are told apart by port', (t) => {
  t.is(feedFile(2), 'U:198.51.100.2:11111\nU:198.51.100.2:11112\n');
});
