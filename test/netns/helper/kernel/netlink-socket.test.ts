import { execFileSync } from 'node:child_process';
import path from 'node:path';
import test from 'ava';

const CASES = path.join(import.meta.dirname, '../../../kit/netlink-cases.ts');

interface Results {
  readonly uncaught: readonly string[];
  readonly afterClose: number;
  readonly afterClosedBySent: number;
  readonly exhaustion: string;
  readonly overrun: {
    readonly lost: number;
    readonly heard: number;
    readonly afterwards: readonly string[];
  };
}

/** In a process of its own: what is tested here would end it. */
function runCases(): Results {
  return JSON.parse(execFileSync(process.execPath, [CASES], { encoding: 'utf8' })) as Results;
}

test('nothing that a listener does, and no overrun, ends the process inside the netlink addon', (t) => {
  const { uncaught, afterClose, afterClosedBySent, exhaustion, overrun } = runCases();
  t.deepEqual(uncaught, ['listener', 'tick', 'sent', 'sent tick'], 'errors are ordinary ones');
  t.is(afterClose, 1, 'nothing is handed on after close');
  t.true(afterClosedBySent <= 3);
  t.is(exhaustion, 'ErrnoException', 'without a descriptor the constructor throws');
  t.true(overrun.lost > 0, 'an overrun is told of');
  t.true(overrun.heard < 40, 'and some of it was lost');
  t.deepEqual(overrun.afterwards, ['link'], 'afterwards events are heard as before');
});
