// Answers on a node with 600 exits, all of them faulty, and a thousand attachments: each fits into
// a message.

import test from 'ava';
import { createHandler, type HandlerContext } from '../../../helper/handler.ts';
import { encodeLine } from '../../../helper/protocol/frame.ts';
import type { ExitStatus, Method, ProtocolError } from '../../../helper/protocol/messages.ts';
import { HISTORY_STEPS } from '../../../helper/protocol/requests.ts';
import { History } from '../../../helper/shaping/history.ts';
import { ShapingError } from '../../../helper/shaping/failure.ts';
import { explainEntries } from '../../../helper/shaping/explain.ts';
import { Judgement, type Problem } from '../../../helper/shaping/judgement.ts';
import { DEFAULTS } from '../../../helper/shaping/rates.ts';
import { checkFailure, listItem, pageOf } from '../../../helper/control/reports.ts';
import type { AttachmentRecord } from '../../../helper/shaping/records.ts';
import { uncappedPage } from '../../../helper/control/uncapped-list.ts';
import type { Shaper } from '../../../helper/control/shaper.ts';

const EXITS = 600;
const QUEUES = 128;

const problems: readonly Problem[] = Array.from({ length: EXITS }, (_, index) => ({
  code: 'qdisc-replaced',
  text: `eth${index} has a htb root qdisc that somebody configured: remove it (tc qdisc del dev eth${index} root), let podpace replace it`,
  ...{ place: `eth${index}`, scopes: [{ of: 'senders' as const }] },
}));
const texts = problems.map(({ text }) => text);

function recordOf(index: number, exempt?: readonly string[]): AttachmentRecord {
  return {
    ...{
      containerId: `${index}`.padStart(64, 'c'),
      ifname: 'eth0',
      network: 'pods',
      sandbox: '/run/netns/x',
    },
    ...{
      hostInterface: `veth${index}`,
      hostInterfaceIndex: 1000 + index,
      egressAggregateId: 5000 + index,
    },
    caps: { egress: { rateBitsPerSec: 10_000_000 } },
    ...(exempt !== undefined && { exempt }),
  };
}

const manyCidrs = Array.from(
  { length: 1000 },
  (_, index) => `2001:db8:1111:2222:3333:4444:${index}::/112`,
);
const records = [
  recordOf(0, [...manyCidrs, ...manyCidrs]),
  ...Array.from({ length: 999 }, (_, index) => recordOf(index + 1)),
];
const judgement = new Judgement(problems, records);

const exits: readonly ExitStatus[] = texts.map((text, ifindex) => ({
  ...{
    name: `eth${ifindex}`,
    ifindex,
    kind: 'device',
    role: 'uplink',
    queues: QUEUES,
    rootQdisc: 'mq',
  },
  ...{ departureProgram: false, arrivalProgram: false },
  leafQdiscs: Array.from({ length: QUEUES }, () => 'pfifo_fast'),
  problems: [
    text,
    ...Array.from(
      { length: QUEUES },
      (_, queue) => `eth${ifindex} queue ${queue} has the leaf qdisc none`,
    ),
  ],
}));

const counters = {
  total: {},
  perCpu: Object.fromEntries(
    Array.from({ length: 4096 }, (_, cpu) => [cpu, { packets: cpu, bytes: cpu }]),
  ),
  backlogNs: 0,
};

const key = { containerId: 'c', ifname: 'eth0' };

const shaper = {
  attach: async () => ({ notices: texts, held: ['eth0'] }),
  detach: async () => undefined,
  check: async () => {
    throw checkFailure(records[1]!, judgement) ?? new Error('it is enforced');
  },
  gc: async () => records.map(({ containerId, ifname }) => ({ containerId, ifname })),
  status: async () => ({
    ...{ exits, problems: texts, notices: texts, attachments: records.length },
    notEnforced: records.map(({ containerId, ifname }) => ({
      containerId,
      ifname,
      directions: ['egress'],
    })),
  }),
  list: async () =>
    pageOf(
      records.slice(0, 100).map((record) => listItem(record, judgement, DEFAULTS)),
      records.length,
    ),
  uncapped: async () =>
    uncappedPage(
      {
        ...{ attachments: [], wishes: [], links: [], uplinks: new Set(), orphans: [] },
        uncapped: records.map(({ caps: _caps, ...record }) => ({
          ...record,
          noPair: texts.join('; '),
        })),
      },
      {},
    ),
  set: async () => {
    throw new ShapingError('unenforceable', `Cannot enforce the cap: ${texts.join('; ')}`);
  },
  counters: async () => pageOf([{ ...recordOf(1), egress: counters, ingress: counters }], 1),
  history: async () => {
    const history = new History();
    for (let step = 0; step <= HISTORY_STEPS; step++)
      history.add({
        ...{ step, atNs: step * 10e9, owner: 'c', bytes: step * 123_456_789_012_345 },
        ...{
          droppedPackets: 0,
          ceMarkedPackets: 0,
          throttledNs: step * 9_876_543_210,
          sojourn: [0, ...Array(14).fill(0), step],
        },
      });
    const last = history.last(HISTORY_STEPS, HISTORY_STEPS);
    return {
      ...key,
      stepSeconds: 10,
      endedMsAgo: 9999,
      effective: {},
      egress: last,
      ingress: last,
    };
  },
  explain: async () => ({ entries: explainEntries(records[1]!, [judgement]), exits }),
  named: <T>(attachment: T) => attachment,
  uninstall: async () => ({
    restoredExits: records.map(({ containerId }) => containerId),
    detached: records.length,
  }),
};

const items = texts.map((found, index) => ({
  ...{ name: `item ${index}`, ok: false, there: false, found },
  ...{ neededFor: 'to test', withoutIt: 'no test', remedy: 'none' },
}));

function contextOf(): HandlerContext {
  return {
    shaper: shaper as unknown as Shaper,
    ...{ version: '1', kernel: '6.12', defaults: DEFAULTS, startedAt: new Date(0) },
    features: () => items,
    probe: async () => ({ kernel: '6.12', items }),
    stop: () => undefined,
    log: () => undefined,
  };
}

const attachment = {
  ...key,
  network: 'pods',
  hostInterface: 'veth1',
  sandbox: '/x',
  caps: { egress: { rateBitsPerSec: 10_000_000 } },
};

const REQUESTS: Readonly<Record<Method, readonly [params: object, told: RegExp]>> = {
  attach: [attachment, /"notices":\["eth0 has .*and \d+ more"\]/],
  detach: [key, /"result":\{\}/],
  check: [
    attachment,
    /"check-failed".*\(egress\) is not enforced: eth0 has .*eth19 has .*; and 580 more/,
  ],
  gc: [{ network: 'pods', valid: [] }, /"removed":\[\{.*"moreRemoved":\d+/],
  status: [{}, /"state":"degraded".*and 5\d\d more.*"moreExits":\d+.*"moreNotEnforced":\d+/],
  list: [{}, /"problemsByDirection":\{"egress":\["eth0 .*and 580 more"\]\}.*"next":/],
  uncapped: [{}, /"noPair":"[^"]*more characters.*"next":/],
  set: [
    { ...key, direction: 'egress', changes: { rateBitsPerSec: 20_000_000 } },
    /"unenforceable".*\d+ more characters/,
  ],
  counters: [{ perCpu: true }, /"morePerCpu":\d+/],
  // Whole, with the widest numbers.
  history: [key, /"ingress":\{"bytesPerSec":\[(\d+,){359}\d+\],.*"p99Ns":\[(\d+,){359}\d+\]\}/],
  explain: [key, /"qdisc-replaced".*"moreE[a-z]+":\d+/],
  probe: [{}, /"moreItems":\d+/],
  uninstall: [{}, /"restoredExits":\[.*and \d+ more"\],"detached":1000/],
};

for (const [method, [params, told]] of Object.entries(REQUESTS)) {
  test(`the answer to ${method} fits into a message on a node with 600 faulty exits`, async (t) => {
    const response = await createHandler(contextOf())({ version: 2, method, params });
    t.regex(encodeLine(response).toString(), told);
  });
}

for (const version of [1, 2, 3]) {
  test(`what is asked in version ${version} is answered in it, an error too`, async (t) => {
    const handle = createHandler(contextOf());
    t.like(await handle({ version, method: 'detach', params: key }), { version, result: {} });
    const failed = { version, error: { code: 'check-failed' } };
    t.like(await handle({ version, method: 'check', params: attachment }), failed);
    const wrong = { version, error: { code: 'bad-request' } };
    t.like(await handle({ version, method: 'reboot', params: {} }), wrong);
  });
}

for (const version of [0, -1, 1.5, 4, 99, 2 ** 53, 1e308]) {
  test(`version ${version} is refused with what is served, whatever else is asked`, async (t) => {
    const answer = await createHandler(contextOf())({ version, method: 7, needs: 'all' });
    const error = { code: 'protocol-version', serves: { least: 1, most: 3 } };
    // Version 2: what was the only one takes an error in no other.
    t.like(answer, { version: 2, error });
    const { message, remedy = '' } = (answer as { error: ProtocolError }).error;
    t.true(message.endsWith(`protocol version 1 to 3, the caller speaks ${version}`), message);
    t.regex(remedy, version < 1 ? /^upgrade the executable that/ : /^upgrade podpaced .*restart/);
  });
}

/** A shaper that says what it was asked to do. */
function recordingContext(): { context: HandlerContext; done: string[] } {
  const done: string[] = [];
  const attach = async () => (done.push('attach'), { notices: [], held: ['eth0'] });
  return { context: { ...contextOf(), shaper: { attach } as unknown as Shaper }, done };
}

test('a need that the helper knows is met; nothing is done of a request with another', async (t) => {
  const { context, done } = recordingContext();
  const ask = (needs: unknown) =>
    createHandler(context)({ version: 3, method: 'attach', params: attachment, needs });
  t.like(await ask(['hostRouting', 'beside']), { version: 3, result: { held: ['eth0'] } });
  t.deepEqual(done, ['attach']);
  const refused = await ask(['beside', 'sharedCap', 'toString', 'a\u001b[2J']);
  t.like(refused, { version: 3, error: { code: 'unknown-need' } });
  const { message } = (refused as { error: ProtocolError }).error;
  t.regex(
    message,
    /needs "sharedCap" and "toString" and "a\\u001b\[2J", which this podpaced does not/,
  );
  const many = await ask(Array.from({ length: 5000 }, (_, index) => `need-${index}`));
  t.like(many, { version: 3, error: { code: 'unknown-need' } });
  t.notThrows(() => encodeLine(many));
  t.deepEqual(done, ['attach']);
});

for (const needs of ['beside', 7, null, {}, [7], [['beside']], [null], ['']]) {
  test(`needs that are ${JSON.stringify(needs)} are no list of names`, async (t) => {
    const { context, done } = recordingContext();
    const answer = await createHandler(context)({
      ...{ version: 3, method: 'attach', params: attachment, needs },
    });
    t.like(answer, { version: 3, error: { code: 'bad-request' } });
    t.regex((answer as { error: ProtocolError }).error.message, /needs/);
    t.deepEqual(done, []);
  });
}

test('all pages of a list whose first item is larger than a page come to an end', async (t) => {
  const [first] = records;
  const page = pageOf([listItem(first!, judgement, DEFAULTS)], records.length);
  t.is(page.next, `${first!.containerId}:eth0`);
  t.regex(page.attachments[0]?.exempt?.at(-1) ?? '', /^and \d+ more$/);
});
