import test from 'ava';
import fc from 'fast-check';
import { eventOf, namespaceOf, Outbox, type Notice } from '../../../../helper/cluster/events.ts';

function notice(uid: string, more: Partial<Notice> = {}): Notice {
  const about = { kind: 'Pod', name: 'web-0', namespace: 'default', uid } as const;
  return { about, reason: 'BandwidthInvalid', message: 'why; what to do', ...more };
}

const TELLER = { nodeName: 'node-1', now: '2026-12-01T00:00:00Z' };

test('an event says what it is about, why, and who tells', (t) => {
  const event = eventOf(notice('u-1'), TELLER);
  t.like(event, {
    ...{ apiVersion: 'v1', kind: 'Event', reason: 'BandwidthInvalid', type: 'Warning', count: 1 },
    involvedObject: {
      ...{ apiVersion: 'v1', kind: 'Pod', name: 'web-0', namespace: 'default', uid: 'u-1' },
    },
    message: 'why; what to do',
    source: { component: 'podpaced', host: 'node-1' },
    ...{ firstTimestamp: TELLER.now, lastTimestamp: TELLER.now },
  });
  const node = { kind: 'Node', name: 'node-1', uid: 'node-1' } as const;
  t.is(namespaceOf(notice('', { about: node })), 'default');
});

const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

test('its name is one that Kubernetes takes, of the object and the reason alone', (t) => {
  const nameOf = (one: Notice): string =>
    (eventOf(one, TELLER) as { metadata: { name: string } }).metadata.name;
  fc.assert(
    fc.property(
      fc.stringMatching(/^[a-z0-9]([-.a-z0-9]{0,250}[a-z0-9])?$/),
      fc.string(),
      (name, uid) => {
        // What is checked is what is added, and where it is cut.
        fc.pre(SUBDOMAIN.test(name));
        const about = { kind: 'Pod', name, namespace: 'default', uid } as const;
        const called = nameOf(notice(uid, { about }));
        t.regex(called, SUBDOMAIN);
        t.true(called.length <= 253);
        t.is(called, nameOf(notice(uid, { about, message: 'another' })));
        t.not(called, nameOf(notice(uid, { about, reason: 'BandwidthCut' })));
      },
    ),
  );
});

test('a message is cut to what Kubernetes takes', (t) => {
  const { message } = eventOf(notice('u', { message: 'x'.repeat(5000) }), TELLER) as Notice;
  t.is(message.length, 1024);
});

test('a pod and a reason are told of once, and no more than a few in a second', (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 30 })),
      fc.array(fc.nat({ max: 700 })),
      (uids, gaps) => {
        const outbox = new Outbox();
        let nowMs = 1_000_000;
        const sentMs: number[] = [];
        const told: string[] = [];
        for (const [index, uid] of uids.entries()) {
          outbox.put(notice(String(uid)));
          nowMs += gaps[index] ?? 0;
          const one = outbox.take(nowMs);
          if (one === undefined) continue;
          sentMs.push(nowMs);
          told.push(one.about.uid);
        }
        t.is(new Set(told).size, told.length);
        for (const [index, fromMs] of sentMs.entries()) {
          const within = sentMs.slice(index).filter((atMs) => atMs - fromMs < 1000);
          t.true(within.length <= 5 + 2, `${within.length} in a second`);
        }
      },
    ),
  );
});

test('one that was put back comes first again, and it is said how long to wait', (t) => {
  const outbox = new Outbox();
  t.is(outbox.waitMs(1000), undefined);
  outbox.put(notice('a'));
  outbox.put(notice('b'));
  const first = outbox.take(100_000);
  t.is(first?.about.uid, 'a');
  if (first !== undefined) outbox.putBack(first);
  const taken = [1, 2, 3].map(() => outbox.take(100_000)?.about.uid);
  t.deepEqual(taken, ['a', 'b', undefined]);
  for (const uid of ['c', 'd', 'e']) outbox.put(notice(uid));
  outbox.take(100_000);
  outbox.take(100_000);
  t.is(outbox.take(100_000), undefined);
  t.is(outbox.waitMs(100_000), 500);
  t.is(outbox.take(100_500)?.about.uid, 'e');
});

test('a server that is away does not have notices pile up without end', (t) => {
  const outbox = new Outbox();
  for (let uid = 0; uid < 5000; uid += 1) outbox.put(notice(String(uid)));
  let count = 0;
  for (let nowMs = 0; outbox.take(nowMs) !== undefined; nowMs += 1000) count += 1;
  t.is(count, 1000);
});
