import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import test, { type ExecutionContext } from 'ava';
import type { Handler } from '../../../helper/connection.ts';
import { LineReader } from '../../../helper/protocol/frame.ts';
import { listen, type ServerOptions } from '../../../helper/server.ts';
import { temporaryDirectory } from '../../bed/temporary-directory.ts';
import { openDescriptors } from '../../kit/netns.ts';

const LINE = '{"n":1}\n';

interface Scene {
  readonly socketPath: string;
  readonly log: string[];
}

const DEFAULTS = { requestDeadlineMs: 10_000, idleTimeoutMs: 10_000 };

async function serve(
  t: ExecutionContext,
  handler: Handler,
  options: Partial<ServerOptions> = {},
): Promise<Scene> {
  const socketPath = path.join(temporaryDirectory(t), 'helper.sock');
  const log: string[] = [];
  const server = await listen(handler, {
    ...DEFAULTS,
    socketPath,
    log: (_level, message) => log.push(message),
    ...options,
  });
  t.teardown(() => server.close());
  return { socketPath, log };
}

const answer = { version: 2, result: {} } as Awaited<ReturnType<Handler>>;

/** A client that reads what comes, unless told not to. */
class Client {
  readonly socket: net.Socket;
  readonly #reader = new LineReader();
  readonly answers: unknown[] = [];
  readonly closed: Promise<void>;

  constructor(t: ExecutionContext, { socketPath }: Scene, isReading = true) {
    // Half closed: what it has sent is still answered.
    this.socket = net.connect({ path: socketPath, allowHalfOpen: true });
    this.socket.on('error', () => undefined);
    this.closed = new Promise((resolve) => {
      this.socket.on('close', () => resolve());
      this.socket.on('end', () => resolve());
    });
    if (isReading)
      this.socket.on('data', (chunk) => {
        this.#reader.push(chunk);
        for (let next = this.#reader.next(); next !== undefined; next = this.#reader.next())
          this.answers.push(next);
      });
    t.teardown(() => this.socket.destroy());
  }

  async answered(count: number): Promise<void> {
    const deadlineMs = performance.now() + 10_000;
    while (this.answers.length < count) {
      if (performance.now() > deadlineMs)
        throw new Error(`${this.answers.length} answers, not ${count}`);
      await sleep(2);
    }
  }
}

async function until(condition: () => boolean): Promise<void> {
  const deadlineMs = performance.now() + 10_000;
  while (!condition()) {
    if (performance.now() > deadlineMs) throw new Error('it never came about');
    await sleep(5);
  }
}

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/**
 * What this process has of the machine, and what lives in it: where many tests share a process it
 * may have room from before.
 */
function memoryHeld(): { readonly rss: number; readonly live: number } {
  const { rss } = process.memoryUsage();
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return { rss, live: heapUsed + external };
}

test.serial(
  'one connection with 200,000 requests takes its turns with others, and no memory',
  async (t) => {
    let [working, mostWorking, handled] = [0, 0, 0];
    const scene = await serve(t, async () => {
      working += 1;
      mostWorking = Math.max(mostWorking, working);
      await sleep(1);
      handled += 1;
      working -= 1;
      return answer;
    });
    const before = memoryHeld();
    const greedy = new Client(t, scene);
    greedy.socket.write(LINE.repeat(200_000));
    await greedy.answered(3);
    for (let n = 1; n <= 20; n++) {
      const other = new Client(t, scene);
      const startMs = performance.now();
      other.socket.write(LINE);
      await other.answered(1);
      t.true(performance.now() - startMs < 1000);
      other.socket.destroy();
    }
    // One of each connection, whatever waits in the kernel.
    t.true(mostWorking <= 3, `${mostWorking} at once`);
    const after = memoryHeld();
    t.true(after.rss - before.rss < 20 * 1024 * 1024);
    t.true(after.live - before.live < 20 * 1024 * 1024);
    greedy.socket.destroy();
    await sleep(50);
    const handledThen = handled;
    await sleep(100);
    t.is(handled, handledThen, 'what nobody waits for any more was begun');
  },
);

test.serial(
  'after a line that is no JSON nothing more is read, and what came before is answered',
  async (t) => {
    let handled = 0;
    const scene = await serve(t, async () => {
      handled += 1;
      return answer;
    });
    const client = new Client(t, scene);
    client.socket.write(`${LINE}${LINE}${'hello\n'.repeat(40_000)}${LINE.repeat(1000)}`);
    await client.closed;
    t.is(handled, 2);
    t.deepEqual(client.answers.slice(0, 2), [answer, answer]);
    t.like(client.answers[2], { error: { code: 'bad-request' } });
    t.is(client.answers.length, 3);
  },
);

test.serial(
  'a caller that comes when all connections are idle takes the place of the oldest',
  async (t) => {
    const scene = await serve(t, async () => answer);
    const idle = Array.from({ length: 256 }, () => new Client(t, scene));
    const [first, second] = idle;
    // It has just been used, so it is not the oldest any more.
    first?.socket.write(LINE);
    await first?.answered(1);
    await sleep(50);
    const caller = new Client(t, scene);
    caller.socket.write(LINE);
    await caller.answered(1);
    await second?.closed;
    first?.socket.write(LINE);
    await first?.answered(2);
    t.pass();
  },
);

test.serial(
  'connections whose requests are being worked on are not given up for a new one',
  async (t) => {
    const release: (() => void)[] = [];
    const scene = await serve(
      t,
      () => new Promise((resolve) => release.push(() => resolve(answer))),
    );
    const busy = Array.from({ length: 256 }, () => new Client(t, scene));
    for (const client of busy) client.socket.write(LINE);
    await until(() => release.length === 256);
    const caller = new Client(t, scene);
    await caller.answered(1);
    // Of the one version that plugins of protocol 2 take: nobody has read what the caller speaks.
    t.like(caller.answers[0], { version: 2, error: { code: 'busy', remedy: 'try again' } });
    for (const go of release) go();
    for (const client of busy) await client.answered(1);
  },
);

test.serial('who has sent everything and closed his side still hears every answer', async (t) => {
  const scene = await serve(t, async () => {
    await sleep(1);
    return answer;
  });
  const client = new Client(t, scene);
  client.socket.end(LINE.repeat(50));
  await client.closed;
  t.is(client.answers.length, 50);
});

test.serial('who does not read his answers is asked for no more requests', async (t) => {
  let handled = 0;
  const large = { ...answer, result: { text: 'x'.repeat(60_000) } } as unknown as typeof answer;
  const scene = await serve(
    t,
    async () => {
      handled += 1;
      return large;
    },
    { idleTimeoutMs: 300 },
  );
  const client = new Client(t, scene, false);
  client.socket.write(LINE.repeat(1000));
  await sleep(200);
  // What the kernel holds for him, some hundred kilobytes.
  t.true(handled < 20, `${handled} answers were made`);
  const handledThen = handled;
  await sleep(1000);
  t.is(handled, handledThen, 'he was closed, and the rest is dropped');
});

test.serial(
  'a line that trickles in is given up, a request that is worked on is not',
  async (t) => {
    const scene = await serve(
      t,
      async () => {
        await sleep(400);
        return answer;
      },
      { idleTimeoutMs: 150 },
    );
    const slow = new Client(t, scene);
    const trickle = setInterval(() => slow.socket.write(' '), 20);
    t.teardown(() => clearInterval(trickle));
    const patient = new Client(t, scene);
    patient.socket.write(LINE);
    await slow.closed;
    await patient.answered(1);
    t.deepEqual(patient.answers, [answer]);
  },
);

test.serial(
  'an answer that is late is replaced, and the next request waits for its work',
  async (t) => {
    let working = 0;
    let mostWorking = 0;
    const scene = await serve(
      t,
      async () => {
        working += 1;
        mostWorking = Math.max(mostWorking, working);
        await sleep(200);
        working -= 1;
        return answer;
      },
      { requestDeadlineMs: 50 },
    );
    const client = new Client(t, scene);
    const versions = [1, 2, 3];
    client.socket.write(versions.map((version) => `{"version":${version}}\n`).join(''));
    await client.answered(3);
    for (const [index, version] of versions.entries())
      t.like(client.answers[index], { version, error: { code: 'busy' } });
    t.is(mostWorking, 1);
  },
);

test.serial(
  'a socket that is removed is made again, with its directory, and old connections go on',
  async (t) => {
    const scene = await serve(t, async () => answer);
    const old = new Client(t, scene);
    old.socket.write(LINE);
    await old.answered(1);
    fs.rmSync(path.dirname(scene.socketPath), { recursive: true });
    await until(() => fs.existsSync(scene.socketPath));
    t.is(fs.statSync(scene.socketPath).mode & 0o777, 0o600);
    const client = new Client(t, scene);
    client.socket.write(LINE);
    await client.answered(1);
    old.socket.write(LINE);
    await old.answered(2);
    await until(() => scene.log.length > 0);
    t.regex(scene.log.join('\n'), /^.*helper\.sock was removed: listening there again$/);
  },
);

test.serial('a path that somebody else has by now is his', async (t) => {
  const scene = await serve(t, async () => answer);
  fs.rmSync(scene.socketPath);
  const other = net.createServer((socket) => socket.on('error', () => undefined).end('other\n'));
  t.teardown(() => other.close());
  await new Promise<void>((resolve) => {
    other.listen(scene.socketPath, () => resolve());
  });
  const inode = fs.statSync(scene.socketPath).ino;
  await until(() => scene.log.length > 0);
  await sleep(2500);
  t.is(fs.statSync(scene.socketPath).ino, inode);
  t.is(scene.log.length, 1, 'it is said once');
  t.regex(scene.log[0] ?? '', /Cannot listen on .* again: .*another podpaced is serving it/);
});

test.serial('thousands that connect and go leave nothing open', async (t) => {
  const scene = await serve(t, async () => answer);
  const before = openDescriptors();
  for (let n = 0; n < 10_000; n += 100) {
    const clients = Array.from({ length: 100 }, () => net.connect(scene.socketPath));
    for (const client of clients) client.on('error', () => undefined);
    await Promise.all(
      clients.map(
        (client) =>
          new Promise<void>((resolve) => {
            client.on('connect', () => client.destroy());
            client.on('close', () => resolve());
          }),
      ),
    );
  }
  await until(() => openDescriptors() <= before);
  t.pass();
});
