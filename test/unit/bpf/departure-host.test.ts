// bpf/departure.h, compiled for this machine, is the oracle's function.

import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import test from 'ava';
import fc from 'fast-check';
import { compileHostProgram, type Conversation, type HostProgram } from '../../kit/host-program.ts';
import { histories, type Event } from '../../model/arbitraries.ts';
import {
  Aggregate,
  min,
  VERDICTS,
  type Clock,
  type Config,
  type Outcome,
} from '../../model/departure.ts';

let program: HostProgram;

test.before(() => {
  program = compileHostProgram(path.join(import.meta.dirname, 'departure-host.c'));
});

test.after.always(() => {
  program.remove();
});

type Answer = Outcome & Clock;

/**
 * The other version of a clock that was damaged by hand: later, so that the one that was written
 * counts.
 */
const OTHER_VERSION_NS = (1n << 64n) - 1n;

function lineOf(event: Event): string {
  switch (event.kind) {
    case 'packet': {
      const {
        nowNs,
        tstampNs,
        wireLen,
        flowHash,
        isEcnCapable,
        segments,
        isMerged,
        policeNs = 0n,
      } = event.packet;
      return `packet ${nowNs} ${tstampNs} ${wireLen} ${flowHash} ${Number(isEcnCapable)} ${segments} ${Number(isMerged)} ${policeNs}`;
    }
    case 'config':
      return `config ${Object.values(event.config).join(' ')}`;
    case 'damage': {
      const { lastNs, prepaid } = event.clock;
      return `clock ${lastNs} ${prepaid} ${event.isTwofold ? lastNs : OTHER_VERSION_NS}`;
    }
  }
}

async function askHeader(header: Conversation, history: readonly Event[]): Promise<Answer[]> {
  const lines = await header.ask(['new', ...history.map(lineOf), 'end'].join('\n'));
  return lines.map((line) => {
    const [verdict = 0, sojournNs = 0, repaired = 0, lastNs = 0, prepaid = 0] = line
      .split(' ')
      .map(BigInt);
    return {
      verdict: VERDICTS[Number(verdict)] ?? 'depart',
      sojournNs: BigInt(sojournNs),
      isRepaired: repaired === 1n,
      lastNs: BigInt(lastNs),
      prepaid: BigInt(prepaid),
    };
  });
}

function askOracle(history: readonly Event[]): Answer[] {
  const aggregate = new Aggregate();
  const answers: Answer[] = [];
  let config: Config | undefined;
  let isDamaged = false;
  for (const event of history) {
    if (event.kind === 'config') ({ config } = event);
    else if (event.kind === 'damage') {
      aggregate.clock = event.clock;
      isDamaged = !event.isTwofold && event.clock.lastNs !== OTHER_VERSION_NS;
    } else if (config !== undefined) {
      const outcome = aggregate.schedule(config, event.packet, isDamaged);
      answers.push({ ...outcome, ...aggregate.clock });
      isDamaged = false;
    }
  }
  return answers;
}

/**
 * Eight flows that fill a queue and then send as much as the cap allows for a while: the AQM drops
 * or marks packets of theirs, which it rarely does in histories by chance.
 */
function standingQueue(isEcnCapable: boolean, packetCount: number): Event[] {
  const config: Config = {
    ...{ rateBytesPerSec: 12_500_000n, horizonNs: 500_000_000n, idleCreditNs: 0n },
    ...{ sparseCreditNs: 0n, targetNs: 2_000_000n, intervalNs: 1_000_000n },
  };
  let nowNs = 1_000_000_000n;
  const packets = Array.from({ length: packetCount }, (_, index): Event => {
    nowNs += index < 60 ? 20_000n : 100_000n;
    const frame = { tstampNs: 0n, wireLen: 1250n, segments: 1n, isMerged: false };
    return { kind: 'packet', packet: { nowNs, flowHash: 1 + (index % 8), isEcnCapable, ...frame } };
  });
  return [{ kind: 'config', config }, ...packets];
}

test('the header equals the oracle through whole lives of aggregates', async (t) => {
  const seen = new Map<string, number>();
  const header = program.converse();
  t.teardown(() => header.end());
  await fc.assert(
    fc.asyncProperty(histories, async (history) => {
      const expected = askOracle(history);
      const actual = await askHeader(header, history);
      for (const [index, answer] of expected.entries()) {
        if (!isDeepStrictEqual(actual[index], answer)) t.deepEqual(actual[index], answer);
        for (const what of [answer.verdict, answer.isRepaired ? 'repaired' : 'whole'])
          seen.set(what, (seen.get(what) ?? 0) + 1);
      }
      return actual.length === expected.length;
    }),
    { numRuns: 1500, examples: [[standingQueue(false, 3000)], [standingQueue(true, 500)]] },
  );
  t.log(Object.fromEntries(seen));
  for (const what of [...VERDICTS, 'repaired']) t.true((seen.get(what) ?? 0) > 20, what);
});

test('of a clock in two versions the earlier one counts', (t) => {
  const config = { rateBytesPerSec: 12_500_000n, horizonNs: 50_000_000n, idleCreditNs: 0n };
  const rest = { sparseCreditNs: 0n, targetNs: 0n, intervalNs: 100_000_000n };
  const nowNs = 1_000_000_000n;
  const packet = {
    nowNs,
    tstampNs: 0n,
    wireLen: 1250n,
    flowHash: 1,
    isEcnCapable: false,
    segments: 1n,
    isMerged: false,
  };
  const ahead = nowNs + 10_000_000n;
  for (const [lastNs, copy] of [
    [ahead, 1n << 62n],
    [1n << 62n, ahead],
  ] as const) {
    const lines = [
      'new',
      lineOf({ kind: 'config', config: { ...config, ...rest } }),
      `clock ${lastNs} 0 ${copy}`,
      lineOf({ kind: 'packet', packet }),
    ];
    const [verdict, sojournNs, repaired, after] = program
      .run([], lines.join('\n'))
      .trim()
      .split(' ');
    t.deepEqual([verdict, sojournNs, repaired], ['0', '10000000', '1']);
    t.is(after, String(min(lastNs, copy) + 100_000n));
  }
});
