import fs from 'node:fs';
import test from 'ava';
import { capture } from '../../../scripts/lib/process.ts';
import { BackgroundProcess } from '../../bed/background.ts';
import { attachCounter, compileCounter } from '../../bed/counter.ts';
import type { Counter } from '../../bed/counter.ts';
import { inNamespace, makeTestBed } from '../../bed/testbed.ts';
import type { TestBed } from '../../bed/testbed.ts';
import type { ByteSeries } from '../../bed/series.ts';
import { UndoStack } from '../../bed/undo.ts';
import { NODE_ADDRESS, PEER_ADDRESS, UPLINK } from '../../bed/uplink.ts';

/**
 * Ethernet, IPv4, and UDP or TCP with the timestamp option: what a frame is longer than its
 * payload.
 */
const UDP_FRAME_OVERHEAD_BYTES = 14 + 20 + 8;
const TCP_FRAME_OVERHEAD_BYTES = 14 + 20 + 32;
const TCP_PAYLOAD_BYTES = 1448;

interface Bench {
  readonly bed: TestBed<'pod'>;
  readonly counter: Counter;
  readonly undo: UndoStack;
}

async function withBench(use: (bench: Bench) => Promise<void>): Promise<void> {
  const undo = new UndoStack();
  try {
    compileCounter();
    const bed = await makeTestBed(['pod'], undo, new AbortController().signal);
    const counter = await attachCounter({ netns: bed.peer, device: UPLINK }, undo);
    await use({ bed, counter, undo });
  } finally {
    await undo.run();
  }
}

function script(netns: string, source: string): [string, string[]] {
  return inNamespace(netns, process.execPath, '--eval', source);
}

function sumOf(series: Map<string, ByteSeries>): number {
  return (series.get(NODE_ADDRESS) ?? []).reduce((sum, bytes) => sum + bytes, 0);
}

function countedBytes(counter: Counter): number {
  return sumOf(counter.readWire());
}

test.serial(
  'datagrams count with all their headers, and short ones before them do not count',
  async (t) => {
    await withBench(async ({ bed, counter }) => {
      const send = (lengths: readonly number[]): Promise<string> =>
        capture(
          ...script(
            bed.node,
            `const socket = require('node:dgram').createSocket('udp4');
           (async () => {
             for (const length of ${JSON.stringify(lengths)})
               await new Promise((done) => socket.send(Buffer.alloc(length), 9, '${PEER_ADDRESS}', done));
             socket.close();
           })();`,
          ),
        );
      await send([100, 1400, 1400, 200]);
      const expected = 1400 + 1400 + 200 + 3 * UDP_FRAME_OVERHEAD_BYTES;
      t.is(countedBytes(counter), expected);
      t.is(sumOf(counter.readPayload()), 1400 + 1400 + 200);
      counter.reset();
      t.is(countedBytes(counter), 0);
      await send([100, 1400]);
      t.is(countedBytes(counter), 1400 + UDP_FRAME_OVERHEAD_BYTES);
    });
  },
);

test.serial(
  'a packet that the device is to segment counts the headers of every segment',
  async (t) => {
    const payloadBytes = 4_000_000;
    await withBench(async ({ bed, counter, undo }) => {
      const [command, args] = script(
        bed.peer,
        `require('node:net').createServer((socket) => socket.resume()).listen(9, () => console.log('listening'));`,
      );
      const server = await BackgroundProcess.start(command, args);
      undo.defer('end the server', () => server.stop());
      await server.ready((output) => output.includes('listening'));
      await capture(
        ...script(
          bed.node,
          `require('node:net').connect(9, '${PEER_ADDRESS}').end(Buffer.alloc(${payloadBytes}));`,
        ),
      );
      // TCP may have sent some of it twice; what belongs to each segment is the same then.
      const payload = sumOf(counter.readPayload());
      t.true(payload >= payloadBytes, `${payload} bytes of payload`);
      const headers = countedBytes(counter) - payload;
      const expected = (payload / TCP_PAYLOAD_BYTES) * TCP_FRAME_OVERHEAD_BYTES;
      t.true(
        Math.abs(headers / expected - 1) < 0.02,
        `${headers} bytes of headers, ${expected} expected`,
      );
    });
  },
);

test.serial('a test bed leaves no namespace behind', async (t) => {
  await withBench(async ({ bed }) => {
    t.true(fs.existsSync(bed.node));
    t.deepEqual(fs.readdirSync(bed.nodeFile('/run/podpace')), []);
  });
  const left = fs.readdirSync('/run/netns').filter((name) => name.startsWith(`pp-${process.pid}-`));
  t.deepEqual(left, []);
});
