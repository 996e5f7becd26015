import test from 'ava';
import fc from 'fast-check';
import {
  Lines,
  MAX_LINE_BYTES,
  parsePage,
  parseWatchLine,
  statusMessage,
  StreamError,
} from '../../../../helper/cluster/stream.ts';
import { character } from '../../../kit/any-text.ts';

function bytes(value: unknown): Buffer {
  return Buffer.from(typeof value === 'string' ? value : JSON.stringify(value));
}

const metadata = { uid: 'u-1', namespace: 'default', name: 'web-0', resourceVersion: '7' };

test('every cut of a stream gives the same lines, within a character too', (t) => {
  const texts = fc.array(fc.string({ unit: character }).map((text) => text.replaceAll('\n', '')));
  fc.assert(
    fc.property(texts, fc.array(fc.nat()), fc.string({ unit: 'grapheme' }), (lines, cuts, rest) => {
      const stream = bytes(
        `${lines.map((line) => `${line}\n`).join('')}${rest.replaceAll('\n', '')}`,
      );
      const places = [0, ...cuts.map((cut) => cut % (stream.length + 1)), stream.length];
      const sorted = places.toSorted((a, b) => a - b);
      const splitter = new Lines();
      const found = sorted.flatMap((from, index) =>
        splitter.push(stream.subarray(from, sorted[index + 1] ?? from)),
      );
      t.deepEqual(
        found.map((line) => Buffer.from(line)),
        lines.map((line) => bytes(line)),
      );
    }),
  );
});

test('a line of a megabyte in small pieces is one line', (t) => {
  const line = bytes({ text: 'ß'.repeat(500_000) });
  const splitter = new Lines();
  const found: Uint8Array[] = [];
  for (let at = 0; at < line.length; at += 1447)
    found.push(...splitter.push(line.subarray(at, at + 1447)));
  t.deepEqual(found, []);
  const [whole] = splitter.push(bytes('\n'));
  t.true(line.equals(whole ?? Buffer.alloc(0)));
});

test('a line that does not end is refused before it is all in memory', (t) => {
  const splitter = new Lines();
  const piece = Buffer.alloc(65_536, 'x');
  const push = (): void => {
    for (let total = 0; total <= MAX_LINE_BYTES; total += piece.length) splitter.push(piece);
  };
  t.throws(push, { instanceOf: StreamError, message: /a line of more than 4194304 bytes/ });
});

test('each kind of message is read', (t) => {
  const pod = { uid: 'u-1', runtimeUid: 'u-1', namespace: 'default', name: 'web-0', bandwidth: {} };
  const put = { type: 'put', pod, resourceVersion: '7' };
  t.deepEqual(parseWatchLine(bytes({ type: 'ADDED', object: { metadata } })), put);
  t.deepEqual(parseWatchLine(bytes({ type: 'MODIFIED', object: { metadata } })), put);
  t.deepEqual(parseWatchLine(bytes({ type: 'DELETED', object: { metadata } })), {
    ...put,
    type: 'gone',
  });
  const bookmark = {
    type: 'BOOKMARK',
    object: { kind: 'Pod', metadata: { resourceVersion: '9' } },
  };
  t.deepEqual(parseWatchLine(bytes(bookmark)), { type: 'bookmark', resourceVersion: '9' });
  const expired = { kind: 'Status', code: 410, reason: 'Expired', message: 'too old' };
  t.deepEqual(parseWatchLine(bytes({ type: 'ERROR', object: expired })), {
    ...{ type: 'error', code: 410, message: 'too old' },
  });
  t.is(parseWatchLine(bytes('')), undefined);
});

for (const line of [
  ...['{', 'null', '[]', '{}', '{"type":"ADDED"}', '{"type":"ADDED","object":{}}'],
  ...['<html>502</html>', '{"type":"SYNC","object":{"metadata":{"resourceVersion":"1"}}}'],
  '{"type":"ADDED","object":{"metadata":{"resourceVersion":"7"}}}',
  '{"type":"BOOKMARK","object":{"metadata":{}}}',
]) {
  test(`${line} is no message`, (t) => {
    t.throws(() => parseWatchLine(bytes(line)), { instanceOf: StreamError });
  });
}

test('bytes that are no UTF-8 are no message', (t) => {
  const line = Buffer.concat([bytes('{"type":"'), Buffer.from([0xff, 0xfe]), bytes('"}')]);
  t.throws(() => parseWatchLine(line), { instanceOf: StreamError });
});

test('any line is a message or a StreamError', (t) => {
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array(), fc.json().map(bytes)), (line) => {
      try {
        parseWatchLine(line);
        t.pass();
      } catch (error) {
        t.true(error instanceof StreamError);
      }
    }),
  );
});

test('a page has pods, a version, and what asks for the next one', (t) => {
  const list = { items: [{ metadata }], metadata: { resourceVersion: '12', continue: 'abc' } };
  t.like(parsePage(bytes(list)), { resourceVersion: '12', continue: 'abc' });
  t.is(parsePage(bytes(list)).pods[0]?.name, 'web-0');
  const last = parsePage(bytes({ items: null, metadata: { resourceVersion: '12', continue: '' } }));
  t.deepEqual(last, { pods: [], resourceVersion: '12' });
  t.throws(() => parsePage(bytes({ items: [], metadata: {} })), { instanceOf: StreamError });
  t.throws(() => parsePage(bytes('<html>')), { instanceOf: StreamError });
});

test('a refusal says why, if it is one of the API', (t) => {
  t.is(statusMessage(bytes({ kind: 'Status', code: 403, message: 'forbidden' })), 'forbidden');
  t.is(statusMessage(bytes('<html>')), '');
});
