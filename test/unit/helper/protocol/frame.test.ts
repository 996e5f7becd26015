import test from 'ava';
import fc from 'fast-check';
import {
  encodeLine,
  FrameError,
  LineReader,
  MAX_MESSAGE_BYTES,
} from '../../../../helper/protocol/frame.ts';

function readAll(chunks: readonly Buffer[]): unknown[] {
  const reader = new LineReader();
  const messages: unknown[] = [];
  for (const chunk of chunks) {
    reader.push(chunk);
    for (let message = reader.next(); message !== undefined; message = reader.next())
      messages.push(message);
  }
  return messages;
}

test('LineReader gives the same messages however the stream is split', (t) => {
  const messages = fc.array(fc.jsonValue(), { minLength: 1, maxLength: 5 });
  fc.assert(
    fc.property(messages, fc.array(fc.nat(200)), (sent, cuts) => {
      const stream = Buffer.concat(sent.map(encodeLine));
      const positions = [
        0,
        ...cuts.map((cut) => cut % (stream.length + 1)).toSorted((a, b) => a - b),
        stream.length,
      ];
      const chunks = positions.slice(1).map((end, index) => stream.subarray(positions[index], end));
      t.deepEqual(readAll(chunks), JSON.parse(JSON.stringify(sent)));
    }),
  );
});

test('encodeLine refuses a message over the limit and takes one at it', (t) => {
  const overhead = encodeLine('').length;
  t.is(encodeLine('x'.repeat(MAX_MESSAGE_BYTES - overhead)).length, MAX_MESSAGE_BYTES);
  t.throws(() => encodeLine('x'.repeat(MAX_MESSAGE_BYTES - overhead + 1)), {
    instanceOf: RangeError,
  });
});

test('LineReader takes the largest message and refuses an endless line before it ends', (t) => {
  const largest = 'x'.repeat(MAX_MESSAGE_BYTES - encodeLine('').length);
  t.deepEqual(readAll([encodeLine(largest)]), [largest]);
  const reader = new LineReader();
  reader.push(Buffer.alloc(MAX_MESSAGE_BYTES - 1, 'x'));
  t.throws(() => reader.push(Buffer.from('x')), { instanceOf: FrameError });
});

test('LineReader refuses what is not JSON, naming it', (t) => {
  const error = t.throws(() => new LineReader().push(Buffer.from('hello\n')), {
    instanceOf: FrameError,
  });
  t.regex(error.message, /hello/);
});

test('LineReader knows that a stream ended inside a line', (t) => {
  const reader = new LineReader();
  reader.push(Buffer.from('{"a":1}\n{"b"'));
  t.true(reader.isMidLine);
});
