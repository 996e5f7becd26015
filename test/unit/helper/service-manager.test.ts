import test from 'ava';
import { nodeProblem } from '../../../helper/shaping/judgement.ts';
import {
  bothOf,
  describeProblems,
  openServiceManager,
  type ServiceManager,
} from '../../../helper/service-manager.ts';

type Environment = Readonly<Record<string, string>>;

function opened(environment: Environment, fault?: { message?: string }) {
  const sent: string[] = [];
  const logged: string[] = [];
  const manager = openServiceManager(
    environment,
    (level, message) => logged.push(`${level} ${message}`),
    (place, text) => {
      if (fault?.message !== undefined) throw new Error(fault.message);
      sent.push(`${place} ${text}`);
    },
  );
  return { manager, sent, logged };
}

function live(manager: ServiceManager): void {
  manager.hearingToo(() => undefined)([]);
  manager.serves();
  manager.hasLooked();
  manager.close();
}

const PLACE = { NOTIFY_SOCKET: '/run/n' };
const WATCHED = { ...PLACE, WATCHDOG_USEC: '120000000' };

test('a manager hears of state, readiness, looks and the end, in the words of sd_notify(3)', (t) => {
  const { manager, sent } = opened({ ...WATCHED, WATCHDOG_PID: String(process.pid) });
  live(manager);
  t.deepEqual(sent, [
    ...['/run/n STATUS=Brings the node to its records', '/run/n STATUS=All caps are enforced'],
    ...['/run/n READY=1', '/run/n WATCHDOG=1'],
    '/run/n STOPPING=1\nSTATUS=Stopped; caps stay in force',
  ]);
});

// sd_watchdog_enabled(3): WATCHDOG_PID, where it is set, names whom the watchdog is of.
for (const [what, environment, isWatched] of [
  ['is asked for', WATCHED, true],
  ['is not asked for', PLACE, false],
  ['is of another process', { ...WATCHED, WATCHDOG_PID: '1' }, false],
] as const)
  test(`the watchdog ${what}`, (t) => {
    const { manager, sent } = opened(environment);
    live(manager);
    t.is(sent.includes('/run/n WATCHDOG=1'), isWatched);
  });

// sd_notify(3) knows paths and abstract names; vsock addresses are of no use on a node.
for (const environment of [{}, { NOTIFY_SOCKET: '' }, { NOTIFY_SOCKET: 'vsock:2:1' }])
  test(`nobody is told with ${JSON.stringify(environment)}`, (t) => {
    const { manager, sent, logged } = opened({ ...environment, WATCHDOG_USEC: '1' });
    live(manager);
    t.deepEqual([sent, logged], [[], []]);
  });

test('the state is told of when it changes, in one line whatever it holds', (t) => {
  const { manager, sent } = opened(PLACE);
  const problems = ['No cap on x\nREADY=1\u001b[2J', 'other'].map(nodeProblem);
  const heard: unknown[] = [];
  const tell = manager.hearingToo((found) => heard.push(found));
  const all = [[], [], problems, problems, []];
  for (const found of all) tell(found);
  t.deepEqual(heard, all);
  t.deepEqual(sent.slice(1), [
    '/run/n STATUS=All caps are enforced',
    String.raw`/run/n STATUS=2 problems, see podpaced status: No cap on x\nREADY=1\u001b[2J`,
    '/run/n STATUS=All caps are enforced',
  ]);
  t.true(describeProblems([nodeProblem('x'.repeat(100_000))]).length < 500);
});

test('a manager that cannot be told is no reason to end, and is logged once until it can', (t) => {
  const fault: { message?: string } = { message: 'ECONNREFUSED' };
  const { manager, sent, logged } = opened(WATCHED, fault);
  live(manager);
  t.is(logged.length, 1);
  t.regex(logged[0] ?? '', /^warn Cannot tell the service manager STATUS=.*: ECONNREFUSED$/);
  delete fault.message;
  manager.hasLooked();
  t.deepEqual(sent, ['/run/n WATCHDOG=1']);
  fault.message = 'again';
  manager.hasLooked();
  t.is(logged.length, 2);
});

test('probes and the manager are told the same', (t) => {
  const { manager, sent } = opened(WATCHED);
  const told: string[] = [];
  const other = {
    hasLooked: () => void told.push('looked'),
    serves: () => void told.push('serves'),
    close: () => void told.push('close'),
  };
  const both = bothOf(other, manager);
  both.serves();
  both.hasLooked();
  both.close();
  t.deepEqual(told, ['serves', 'looked', 'close']);
  t.is(sent.length, 4);
});
