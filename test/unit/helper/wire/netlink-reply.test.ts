import test from 'ava';
import fc from 'fast-check';
import { formatMessage } from 'netlink/dist/structs.js';
import { WireError, encodeAttributes } from '../../../../helper/wire/attributes.ts';
import { ReplyCollector } from '../../../../helper/wire/netlink-reply.ts';
import type { Reply } from '../../../../helper/wire/netlink-reply.ts';
import { anyBytes } from '../../../kit/arbitraries.ts';

const NLMSG_NOOP = 1;
const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const RTM_NEWLINK = 16;
const NLM_F_MULTI = 2;
const NLM_F_DUMP_INTR = 0x10;
const NLM_F_CAPPED = 0x100;
const NLM_F_ACK_TLVS = 0x200;
const EINVAL = 22;

function message(type: number, data: Buffer, { seq = 7, flags = NLM_F_MULTI } = {}): Buffer {
  const padding = Buffer.alloc(-data.length & 3);
  return Buffer.concat([...formatMessage({ type, flags, seq, port: 1, data }), padding]);
}

function errno(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(-value);
  return bytes;
}

/**
 * The request as an error gives it back: its header, of which only the length counts, and its
 * payload.
 */
function echo(payloadBytes: number): Buffer {
  const bytes = Buffer.alloc(16 + ((payloadBytes + 3) & ~3));
  bytes.writeUInt32LE(16 + payloadBytes, 0);
  return bytes;
}

const TEXT = encodeAttributes((attributes) => {
  attributes.string(1, 'Device does not exist');
  attributes.u32(2, 16);
});

function collect(datagrams: readonly Buffer[]): Reply | undefined {
  const collector = new ReplyCollector(7);
  for (const datagram of datagrams) {
    const reply = collector.push(datagram);
    if (reply !== undefined) return reply;
  }
  return undefined;
}

test('ReplyCollector puts a list together however it is split over reads', (t) => {
  const parts = fc.array(fc.uint8Array({ maxLength: 30 }), { maxLength: 20 });
  const cuts = fc.array(fc.boolean(), { minLength: 21, maxLength: 21 });
  fc.assert(
    fc.property(parts, cuts, (payloads, isCut) => {
      const messages = payloads.map((payload) => message(RTM_NEWLINK, Buffer.from(payload)));
      messages.push(message(NLMSG_DONE, errno(0)));
      const datagrams: Buffer[] = [];
      for (const [index, bytes] of messages.entries()) {
        const last = isCut[index] === true ? undefined : datagrams.pop();
        datagrams.push(Buffer.concat([last ?? Buffer.alloc(0), bytes]));
      }
      const reply = collect(datagrams);
      t.deepEqual(
        reply?.messages.map(({ payload }) => new Uint8Array(payload)),
        payloads.map((payload) => new Uint8Array(payload)),
      );
      t.is(reply?.errno, 0);
      t.false(reply?.isInterrupted);
    }),
  );
});

test('ReplyCollector takes any bytes', (t) => {
  fc.assert(
    fc.property(anyBytes, (bytes) => {
      try {
        new ReplyCollector(bytes.length >= 12 ? bytes.readUInt32LE(8) : 0).push(bytes);
      } catch (error) {
        if (!(error instanceof WireError)) throw error;
      }
    }),
    { numRuns: 2000 },
  );
  t.pass();
});

test('ReplyCollector passes over messages of another sequence number', (t) => {
  const reply = collect([
    message(RTM_NEWLINK, Buffer.from('old0'), { seq: 6 }),
    message(NLMSG_DONE, errno(0), { seq: 6 }),
    message(RTM_NEWLINK, Buffer.from('new0')),
    message(NLMSG_DONE, errno(0)),
  ]);
  t.deepEqual(reply?.messages, [{ type: RTM_NEWLINK, payload: Buffer.from('new0') }]);
});

test('ReplyCollector passes over NOOP and waits for the end', (t) => {
  t.is(
    collect([message(NLMSG_NOOP, Buffer.alloc(0)), message(RTM_NEWLINK, Buffer.alloc(4))]),
    undefined,
  );
});

test('ReplyCollector reports an interrupted list, wherever the flag stands', (t) => {
  const interrupted = { flags: NLM_F_MULTI | NLM_F_DUMP_INTR };
  const done = message(NLMSG_DONE, errno(0));
  t.true(collect([message(RTM_NEWLINK, Buffer.alloc(4), interrupted), done])?.isInterrupted);
  t.true(collect([message(NLMSG_DONE, errno(0), interrupted)])?.isInterrupted);
});

test('ReplyCollector.markInterrupted counts as an interruption', (t) => {
  const collector = new ReplyCollector(7);
  collector.markInterrupted();
  t.true(collector.push(message(NLMSG_DONE, errno(0)))?.isInterrupted);
});

test('an ERROR of zero is an acknowledgement', (t) => {
  const ack = message(NLMSG_ERROR, Buffer.concat([errno(0), echo(0)]), { flags: NLM_F_CAPPED });
  t.deepEqual(collect([ack]), { errno: 0, messages: [], isInterrupted: false });
});

test('the text of an extended ack follows a capped echo of the request', (t) => {
  const flags = NLM_F_CAPPED | NLM_F_ACK_TLVS;
  const header = echo(20).subarray(0, 16);
  const reply = collect([
    message(NLMSG_ERROR, Buffer.concat([errno(EINVAL), header, TEXT]), { flags }),
  ]);
  t.is(reply?.errno, EINVAL);
  t.is(reply?.detail, 'Device does not exist');
});

test('the text of an extended ack follows a whole echo of the request', (t) => {
  for (const bytes of [0, 19, 20]) {
    const data = Buffer.concat([errno(EINVAL), echo(bytes), TEXT]);
    t.is(
      collect([message(NLMSG_ERROR, data, { flags: NLM_F_ACK_TLVS })])?.detail,
      'Device does not exist',
    );
  }
});

test('a list that failed says so in its DONE', (t) => {
  const done = message(NLMSG_DONE, Buffer.concat([errno(EINVAL), TEXT]), {
    flags: NLM_F_MULTI | NLM_F_ACK_TLVS,
  });
  t.is(collect([done])?.errno, EINVAL);
  t.is(collect([done])?.detail, 'Device does not exist');
});

test('a DONE without a status is a success', (t) => {
  t.is(collect([message(NLMSG_DONE, Buffer.alloc(0))])?.errno, 0);
});

test('an ERROR too short for its request is refused', (t) => {
  t.throws(() => collect([message(NLMSG_ERROR, errno(EINVAL))]), {
    instanceOf: WireError,
    message: /netlink error/,
  });
});

test('an extended ack beyond its message is refused', (t) => {
  const data = Buffer.concat([errno(EINVAL), echo(400).subarray(0, 16)]);
  t.throws(() => collect([message(NLMSG_ERROR, data, { flags: NLM_F_ACK_TLVS })]), {
    instanceOf: WireError,
  });
});
