// A client's end of a unix socket, beside Node's own: what happens to one happens to the other.

import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { BlockingStream } from '../../../../helper/kernel/blocking-stream.ts';
import type { Stream } from '../../../../helper/protocol/client.ts';
import { temporaryDirectory } from '../../../bed/temporary-directory.ts';

const MIB = 1024 * 1024;

type Serve = (connection: net.Socket) => void;

async function listen(t: ExecutionContext, serve: Serve, socketPath: string): Promise<void> {
  const server = net.createServer(serve);
  t.teardown(() => server.close());
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));
}

/** What happens to a stream that writes `question` when it is connected, to its end. */
function live(stream: Stream, question = 'question\n'): Promise<string[]> {
  const events: string[] = [];
  return new Promise((resolve) => {
    let answer = '';
    stream.on('connect', () => {
      events.push('connect');
      stream.write(Buffer.from(question));
    });
    stream.on('data', (chunk) => {
      answer += chunk.toString();
    });
    stream.on('error', ({ code }) => events.push(`error ${code}`));
    stream.on('close', () => resolve([...events, answer, 'close']));
  });
}

const STREAMS: Readonly<Record<string, (socketPath: string) => Stream>> = {
  "Node's socket": (socketPath) => net.connect({ path: socketPath }),
  'the blocking stream': (socketPath) => new BlockingStream(socketPath),
};

function byteByByte(connection: net.Socket): void {
  const bytes = Buffer.from('{"an":"answer"}\n');
  const send = (index: number): void => {
    if (index === bytes.length) return void connection.end();
    connection.write(bytes.subarray(index, index + 1), () => setImmediate(send, index + 1));
  };
  send(0);
}

/** Reads all that comes, and tells how much it was when nothing more is there. */
function count(connection: net.Socket): void {
  let bytes = 0;
  connection.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes === MIB) connection.end(`${bytes}`);
  });
}

const LIVES: readonly [what: string, serve: Serve, question: string, events: string[]][] = [
  [
    'an answer',
    (connection) => connection.once('data', (chunk: Buffer) => connection.end(chunk)),
    'what',
    ['connect', 'what', 'close'],
  ],
  ['an answer byte by byte', byteByByte, 'what', ['connect', '{"an":"answer"}\n', 'close']],
  ['no answer', (connection) => void connection.end(), '', ['connect', '', 'close']],
  [
    'half an answer',
    (connection) => {
      connection.once('data', () => connection.write('{"an', () => connection.destroy()));
    },
    'what',
    ['connect', '{"an', 'close'],
  ],
  ['a question of a megabyte', count, 'x'.repeat(MIB), ['connect', `${MIB}`, 'close']],
];

for (const [name, open] of Object.entries(STREAMS)) {
  for (const [what, serve, question, events] of LIVES) {
    test(`${name}: ${what}`, async (t) => {
      const socketPath = path.join(temporaryDirectory(t), 'socket');
      await listen(t, serve, socketPath);
      t.deepEqual(await live(open(socketPath), question), events);
    });
  }

  test(`${name}: nobody listens`, async (t) => {
    const directory = temporaryDirectory(t);
    const file = path.join(directory, 'file');
    fs.writeFileSync(file, '');
    t.deepEqual(await live(open(path.join(directory, 'none'))), ['error ENOENT', '', 'close']);
    t.deepEqual(await live(open(file)), ['error ECONNREFUSED', '', 'close']);
    t.deepEqual(await live(open(path.join(file, 'socket'))), ['error ENOTDIR', '', 'close']);
  });

  test(`${name}: nothing comes once it is destroyed`, async (t) => {
    const socketPath = path.join(temporaryDirectory(t), 'socket');
    const connections: net.Socket[] = [];
    await listen(
      t,
      (connection) => void connections.push(connection.on('error', () => undefined)),
      socketPath,
    );
    for (const isConnected of [false, true]) {
      const stream = open(socketPath);
      const events: string[] = [];
      stream.on('data', () => events.push('data'));
      stream.on('error', () => events.push('error'));
      if (isConnected) await new Promise<void>((resolve) => stream.on('connect', resolve));
      stream.destroy();
      stream.destroy();
      await new Promise((resolve) => setTimeout(resolve, 20));
      for (const connection of connections) connection.write('late');
      await new Promise((resolve) => setTimeout(resolve, 120));
      t.deepEqual(events, []);
    }
  });
}

test('a path that is no name of a socket reaches no other socket', async (t) => {
  const directory = temporaryDirectory(t);
  await listen(t, (connection) => void connection.end('other'), path.join(directory, 's'));
  for (const wrong of ['', `${directory}/s\0more`, path.join(directory, 'x'.repeat(108))])
    t.deepEqual(await live(new BlockingStream(wrong)), ['error EINVAL', '', 'close']);
  const longest = path.join(directory, 'x'.repeat(106 - directory.length));
  t.is(longest.length, 107);
  t.deepEqual(await live(new BlockingStream(longest)), ['error ENOENT', '', 'close']);
});

test.serial('timers go on while an answer is waited for, and no descriptor stays', async (t) => {
  const socketPath = path.join(temporaryDirectory(t), 'socket');
  await listen(t, (connection) => connection.once('close', () => undefined).resume(), socketPath);
  const before = fs.readdirSync('/proc/self/fd').length;
  const stream = new BlockingStream(socketPath);
  const began = performance.now();
  await new Promise<void>((resolve) => {
    stream.on('connect', () => setTimeout(resolve, 100));
  });
  t.true(performance.now() - began < 2000);
  stream.destroy();
  await new Promise((resolve) => setTimeout(resolve, 100));
  t.is(fs.readdirSync('/proc/self/fd').length, before);
});
