import { EventEmitter } from 'node:events';
import { setImmediate as turn } from 'node:timers/promises';
import test from 'ava';
import { formatMessage, parseMessages } from 'netlink/dist/structs.js';
import type { ErrnoException } from 'netlink/dist/raw.js';
import { KernelError } from '../../../../helper/wire/errors.ts';
import type { RtTransport } from '../../../../helper/kernel/rt-transport.ts';
import { RtSocket } from '../../../../helper/kernel/rtnetlink.ts';
import { WireError } from '../../../../helper/wire/attributes.ts';

const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const NLM_F_MULTI = 2;
const NLM_F_DUMP_INTR = 0x10;
const KERNEL = { port: 0, groups: 0 };

interface Sent {
  readonly seq: number;
  readonly flags: number;
  readonly payload: string;
}

/** A kernel of one line: what it does with each request it is sent. */
class FakeTransport extends EventEmitter implements RtTransport {
  readonly sent: Sent[] = [];
  isReferenced = true;
  isClosed = false;
  readonly #answer: (transport: FakeTransport, request: Sent) => void;

  constructor(answer: (transport: FakeTransport, request: Sent) => void) {
    super();
    this.#answer = answer;
  }

  send(datagram: Buffer, callback: (error?: ErrnoException) => void): void {
    const [message] = parseMessages(datagram);
    if (message === undefined) throw new Error('an empty datagram was sent');
    const request = { seq: message.seq, flags: message.flags, payload: message.data.toString() };
    this.sent.push(request);
    setImmediate(() => {
      if (request.payload === 'unsendable') callback(failure('ECONNREFUSED'));
      else this.#answer(this, request);
    });
  }

  say(seq: number, type: number, data: string | Buffer, flags = NLM_F_MULTI, from = KERNEL): void {
    const message = formatMessage({ type, flags, seq, port: 1, data: Buffer.from(data) });
    this.emit('message', Buffer.concat(message), from);
  }

  done(seq: number, flags = NLM_F_MULTI): void {
    this.say(seq, NLMSG_DONE, Buffer.alloc(4), flags);
  }

  ack(seq: number, errno = 0): void {
    const data = Buffer.alloc(20);
    data.writeInt32LE(-errno);
    this.say(seq, NLMSG_ERROR, data, 0);
  }

  ref(): void {
    this.isReferenced = true;
  }

  unref(): void {
    this.isReferenced = false;
  }

  close(): void {
    this.isClosed = true;
  }
}

function failure(code: string): ErrnoException {
  return Object.assign(new Error(code), {
    name: 'ErrnoException' as const,
    code,
    errno: 1,
    syscall: 'recvmsg',
  });
}

function request(text: string): { operation: string; type: number; payload: Buffer } {
  return { operation: `ask for ${text}`, type: 18, payload: Buffer.from(text) };
}

const utf8 = (payload: Buffer): string => payload.toString();

test('RtSocket.dump returns the parts of a list that came in several reads', async (t) => {
  const transport = new FakeTransport((kernel, { seq }) => {
    kernel.say(seq, 16, 'one0');
    kernel.say(seq, 16, 'two0');
    kernel.done(seq);
  });
  t.deepEqual(await new RtSocket(transport).dump(request('list'), utf8), ['one0', 'two0']);
});

test('RtSocket sends one request after the other, in order, each with a sequence number of its own', async (t) => {
  let waiting = 0;
  const transport = new FakeTransport((kernel, { seq }) => {
    waiting++;
    setImmediate(() => {
      t.is(waiting, 1);
      waiting--;
      kernel.ack(seq);
    });
  });
  const rt = new RtSocket(transport);
  await Promise.all(['a', 'b', 'c'].map((text) => rt.execute(request(text))));
  t.deepEqual(
    transport.sent.map(({ payload }) => payload),
    ['a', 'b', 'c'],
  );
  t.is(new Set(transport.sent.map(({ seq }) => seq)).size, 3);
});

test('RtSocket goes on after a request that was refused', async (t) => {
  const transport = new FakeTransport((kernel, { seq, payload }) =>
    kernel.ack(seq, payload === 'bad' ? 19 : 0),
  );
  const rt = new RtSocket(transport);
  const bad = rt.execute(request('bad'));
  const good = rt.execute(request('good'));
  const error = await t.throwsAsync(bad, {
    instanceOf: KernelError,
    message: 'Cannot ask for bad: ENODEV',
  });
  t.is(error?.errno, 'ENODEV');
  await good;
});

test('RtSocket.dump asks again when the list changed while it was read', async (t) => {
  const transport = new FakeTransport((kernel, { seq }) => {
    kernel.say(seq, 16, `v${kernel.sent.length}00`);
    kernel.done(seq, kernel.sent.length < 3 ? NLM_F_MULTI | NLM_F_DUMP_INTR : NLM_F_MULTI);
  });
  t.deepEqual(await new RtSocket(transport).dump(request('list'), utf8), ['v300']);
});

test('RtSocket.dump gives up on a list that never holds still, after five more attempts', async (t) => {
  const transport = new FakeTransport((kernel, { seq }) => kernel.done(seq, NLM_F_DUMP_INTR));
  await t.throwsAsync(new RtSocket(transport).dump(request('list'), utf8), {
    message: /EAGAIN .*changed 6 times/,
  });
  t.is(transport.sent.length, 6);
});

test('RtSocket.dump asks again when the kernel dropped a part of the list', async (t) => {
  const transport = new FakeTransport((kernel, { seq }) => {
    if (kernel.sent.length === 1) kernel.emit('error', failure('ENOBUFS'));
    kernel.done(seq);
  });
  t.deepEqual(await new RtSocket(transport).dump(request('list'), utf8), []);
  t.is(transport.sent.length, 2);
});

test('RtSocket.execute does not repeat a change whose acknowledgement was dropped', async (t) => {
  const transport = new FakeTransport((kernel) => kernel.emit('error', failure('ENOBUFS')));
  await t.throwsAsync(new RtSocket(transport).execute(request('change')), { message: /ENOBUFS/ });
  t.is(transport.sent.length, 1);
});

test('RtSocket.execute rejects when no answer comes in time, and the late one does no harm', async (t) => {
  const transport = new FakeTransport((kernel, { seq, payload }) => {
    if (payload === 'next') {
      kernel.ack(seq - 1, 19);
      kernel.ack(seq);
    }
  });
  const rt = new RtSocket(transport, 20);
  await t.throwsAsync(rt.execute(request('slow')), {
    instanceOf: KernelError,
    message: 'Cannot ask for slow: ETIMEDOUT (no answer within 20 ms)',
  });
  await t.notThrowsAsync(rt.execute(request('next')));
});

test('RtSocket.execute takes an answer that came in time, though the process was too busy to read it', async (t) => {
  const transport = new FakeTransport((kernel, { seq }) => {
    setImmediate(() => kernel.ack(seq));
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 40);
  });
  await t.notThrowsAsync(new RtSocket(transport, 20).execute(request('change')));
});

test('RtSocket.dump waits for a long list as long as parts of it come', async (t) => {
  const transport = new FakeTransport((kernel, { seq }) => {
    let parts = 0;
    const timer = setInterval(() => {
      parts++;
      if (parts < 8) return kernel.say(seq, 16, 'part');
      clearInterval(timer);
      return kernel.done(seq);
    }, 20);
  });
  t.is((await new RtSocket(transport, 100).dump(request('list'), utf8)).length, 7);
});

test('RtSocket believes the kernel alone', async (t) => {
  const transport = new FakeTransport((kernel, { seq }) => {
    kernel.say(seq, 16, 'fake', NLM_F_MULTI, { port: 4711, groups: 0 });
    kernel.say(seq, 16, 'real');
    kernel.done(seq);
  });
  t.deepEqual(await new RtSocket(transport).dump(request('list'), utf8), ['real']);
});

test('RtSocket rejects a truncated answer', async (t) => {
  const transport = new FakeTransport((kernel) =>
    kernel.emit('truncatedMessage', Buffer.alloc(9), KERNEL),
  );
  await t.throwsAsync(new RtSocket(transport).dump(request('list'), utf8), {
    message: /EMSGSIZE .*9 bytes/,
  });
});

test('RtSocket rejects an answer that is no netlink message', async (t) => {
  const transport = new FakeTransport((kernel) => kernel.emit('message', Buffer.alloc(7), KERNEL));
  await t.throwsAsync(new RtSocket(transport).dump(request('list'), utf8), { message: /EBADMSG/ });
});

test('RtSocket turns a WireError of the decoder into a KernelError', async (t) => {
  const transport = new FakeTransport((kernel, { seq }) => {
    kernel.say(seq, 16, 'xxxx');
    kernel.done(seq);
  });
  const decode = (): never => {
    throw new WireError('Cannot decode link');
  };
  await t.throwsAsync(new RtSocket(transport).dump(request('list'), decode), {
    instanceOf: KernelError,
    message: 'Cannot ask for list: EBADMSG (Cannot decode link)',
  });
});

test('RtSocket.get rejects an acknowledgement without an object', async (t) => {
  const transport = new FakeTransport((kernel, { seq }) => kernel.ack(seq));
  await t.throwsAsync(new RtSocket(transport).get(request('one'), utf8), {
    message: /EBADMSG \(the answer is empty/,
  });
});

test('RtSocket rejects a request that could not be sent', async (t) => {
  const rt = new RtSocket(new FakeTransport(() => undefined));
  await t.throwsAsync(rt.execute(request('unsendable')), { message: /ECONNREFUSED/ });
});

test('RtSocket.close rejects what waits and what comes later, and then closes the transport', async (t) => {
  const transport = new FakeTransport(() => undefined);
  const rt = new RtSocket(transport);
  const waiting = t.throwsAsync(rt.execute(request('waiting')), { message: /EBADF/ });
  const queued = t.throwsAsync(rt.execute(request('queued')), { message: /EBADF/ });
  await turn();
  rt.close();
  rt.close();
  await Promise.all([waiting, queued]);
  await t.throwsAsync(rt.execute(request('late')), { message: /EBADF/ });
  await turn();
  t.true(transport.isClosed);
});

test('RtSocket keeps the process alive only while it waits', async (t) => {
  const transport = new FakeTransport((kernel, { seq }) => {
    t.true(kernel.isReferenced);
    kernel.ack(seq);
  });
  const rt = new RtSocket(transport);
  t.false(transport.isReferenced);
  await rt.execute(request('change'));
  t.false(transport.isReferenced);
});
