import test from 'ava';
import fc from 'fast-check';
import {
  formatLine,
  isJournal,
  isWanted,
  LOG_LEVELS,
  RepeatLimit,
} from '../../../helper/log-lines.ts';

const AT = new Date('2026-11-30T12:00:00.250Z');
const HOSTILE = 'pod a\n<0>fake\r\u001b[2J\u2028"x"';

test('a line has its time and level, or for journald its priority of syslog(3)', (t) => {
  const text = { format: 'text', isForJournal: false } as const;
  t.is(formatLine(text, AT, 'warn', 'away'), '2026-11-30T12:00:00.250Z warn away');
  const journal = { format: 'text', isForJournal: true } as const;
  const lines = LOG_LEVELS.map((level) => formatLine(journal, AT, level, 'away'));
  t.deepEqual(lines, ['<3>away', '<4>away', '<6>away']);
});

test('JSON has the same, also for journald', (t) => {
  const line = formatLine({ format: 'json', isForJournal: true }, AT, 'error', 'away "x"');
  t.true(line.startsWith('<3>{'));
  t.deepEqual(JSON.parse(line.slice(3)), {
    ...{ time: '2026-11-30T12:00:00.250Z', level: 'error', message: 'away "x"' },
  });
});

test('JSON names the pod by fields, as far as it is known, on one line', (t) => {
  const json = { format: 'json', isForJournal: false } as const;
  const [known, hostile] = [
    { containerId: 'c0ffee', ifname: 'eth0', podNamespace: 'shop', podName: 'web-0' },
    { containerId: HOSTILE, ifname: HOSTILE, podNamespace: HOSTILE },
  ];
  const rest = { time: '2026-11-30T12:00:00.250Z', level: 'info', message: 'm' };
  t.deepEqual(JSON.parse(formatLine(json, AT, 'info', 'm', known)), { ...rest, ...known });
  t.notRegex(formatLine(json, AT, 'info', 'm', hostile), /[\p{Cc}\u2028\u2029]/u);
});

test('a message stays on its line, whatever it holds', (t) => {
  for (const format of ['text', 'json'] as const)
    for (const isForJournal of [true, false])
      fc.assert(
        fc.property(fc.oneof(fc.constant(HOSTILE), fc.string({ unit: 'binary' })), (message) => {
          const line = formatLine({ format, isForJournal }, AT, 'info', message);
          t.notRegex(line, /[\p{Cc}\u2028\u2029]/u);
        }),
      );
});

test('who wants warnings wants errors, and no more', (t) => {
  t.deepEqual(
    LOG_LEVELS.map((level) => isWanted(level, 'warn')),
    [true, true, false],
  );
});

test('the journal is known by device and inode: the variable outlives a redirection', (t) => {
  t.true(isJournal('8:42', { dev: 8, ino: 42 }));
  t.false(isJournal('8:42', { dev: 8, ino: 43 }));
  t.false(isJournal('8:42', { dev: 9, ino: 42 }));
  t.false(isJournal(undefined, { dev: 8, ino: 42 }));
});

test('five of a text go out in a minute, and how many more there were is told after it', (t) => {
  const limit = new RepeatLimit();
  const admitted = Array.from({ length: 8 }, (_, second) =>
    limit.admits('warn', 'again', second * 1000),
  );
  t.deepEqual(admitted, [true, true, true, true, true, false, false, false]);
  t.true(limit.admits('warn', 'other', 8000));
  t.deepEqual(limit.ended(59_999), []);
  t.deepEqual(limit.ended(60_000), [{ level: 'warn', text: 'again', times: 3 }]);
  t.true(limit.admits('warn', 'again', 60_001));
  t.deepEqual(limit.ended(60_002, true), []);
});

test('nothing is left out without being counted', (t) => {
  const texts = fc.array(fc.tuple(fc.constantFrom('a', 'b', 'c'), fc.nat(30_000)));
  fc.assert(
    fc.property(texts, (said) => {
      const limit = new RepeatLimit();
      let nowMs = 0;
      let told = 0;
      for (const [text, laterMs] of said) {
        nowMs += laterMs;
        for (const { times } of limit.ended(nowMs)) told += times;
        if (limit.admits('info', text, nowMs)) told++;
      }
      for (const { times } of limit.ended(nowMs, true)) told += times;
      t.is(told, said.length);
    }),
  );
});
