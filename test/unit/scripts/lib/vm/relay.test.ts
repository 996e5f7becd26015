import { Readable, Writable } from 'node:stream';
import test from 'ava';
import fc from 'fast-check';
import { relayUntil } from '../../../../../scripts/lib/vm/relay.ts';

/** Relays the chunks and returns what came out, and whether the mark was seen. */
async function relay(
  mark: string,
  chunks: readonly Buffer[],
): Promise<{ text: string; seen: boolean }> {
  const out: Buffer[] = [];
  const sink = new Writable({
    highWaterMark: 1,
    write(chunk: Buffer, _encoding, callback) {
      out.push(Buffer.from(chunk));
      setImmediate(callback);
    },
  });
  const seen = await relayUntil(mark, Readable.from(chunks), sink);
  return { text: Buffer.concat(out).toString('latin1'), seen };
}

function split(text: string, lengths: readonly number[]): Buffer[] {
  const bytes = Buffer.from(text, 'latin1');
  let offset = 0;
  const chunks = lengths.map((length) => bytes.subarray(offset, (offset += length)));
  return [...chunks, bytes.subarray(offset)].filter((chunk) => chunk.length > 0);
}

test('however a stream is cut up, all before the mark comes out and nothing else', async (t) => {
  const mark = 'aab';
  const text = fc
    .stringMatching(/^[abc]{0,12}$/)
    .filter((candidate) => !`${candidate}${mark}`.slice(0, -1).includes(mark));
  await fc.assert(
    fc.asyncProperty(
      text,
      fc.array(fc.integer({ min: 1, max: 4 }), { maxLength: 8 }),
      async (sent, cuts) => {
        t.deepEqual(await relay(mark, split(`${sent}${mark}rest`, cuts)), {
          text: sent,
          seen: true,
        });
      },
    ),
  );
});

test('a stream that ends without the mark comes out whole', async (t) => {
  t.deepEqual(await relay('aab', split('xxaa', [3])), { text: 'xxaa', seen: false });
});

test('bytes that cannot begin the mark are not held back', async (t) => {
  let arrived = '';
  const sink = new Writable({
    write(chunk: Buffer, _encoding, callback) {
      arrived += chunk.toString('latin1');
      callback();
    },
  });
  const source = new Readable({ read() {} });
  const relayed = relayUntil('\u001emark', source, sink);
  source.push('50 %');
  await new Promise(setImmediate);
  t.is(arrived, '50 %');
  source.push('\u001emark');
  t.true(await relayed);
});
