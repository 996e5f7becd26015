import test from 'ava';
import {
  formatHeartbeat,
  outlookOf,
  type Heartbeat,
  type Outlook,
} from '../../../../helper/wire/heartbeat.ts';

const BOOT = '6f1c1d6e-52a4-4f0e-9a51-0c1f6b1f2a3d';
const NOW = { bootId: BOOT, bootSeconds: 1000 };
const AWAY_SECONDS = 120;

const written = (more: Partial<Heartbeat>): string =>
  formatHeartbeat({ bootId: BOOT, bootSeconds: 990, ...more });
const none = (why: string): Outlook => ({ state: 'none', why });

const HOPE: Outlook = { state: 'hope' };
const NEVER = none('it has not run since this node was started');
const DAMAGED = none('its sign of life is damaged');

const CASES: readonly [what: string, text: string | undefined, expected: Outlook][] = [
  ['just written', written({ bootSeconds: 1000 }), HOPE],
  ['ten seconds ago', written({}), HOPE],
  ['as long ago as it may be', written({ bootSeconds: 880 }), HOPE],
  ['longer ago', written({ bootSeconds: 879.5 }), none('it has been away for 120 s')],
  [
    'an hour of suspension later',
    written({ bootSeconds: -0 }),
    none('it has been away for 1000 s'),
  ],
  ['read before the clock went on', written({ bootSeconds: 1000.01 }), HOPE],
  ['of the future', written({ bootSeconds: 1100 }), none('its sign of life is of the future')],
  [
    'a kernel that holds no cap',
    written({ fault: 'no sch_fq' }),
    { state: 'unable', why: 'no sch_fq' },
  ],
  [
    'the same, of a helper that is gone',
    written({ fault: 'no sch_fq', bootSeconds: 1 }),
    none('it has been away for 999 s'),
  ],
  ['of another boot', written({ bootId: 'b9b6c2f5-0000-4000-8000-000000000000' }), NEVER],
  ['no file', undefined, NEVER],
  ['an empty file', '', DAMAGED],
  ['the first half', written({}).slice(0, 30), DAMAGED],
  ['no object', '7', DAMAGED],
  ['null', 'null', DAMAGED],
  ['no boot', '{"bootSeconds":990}', DAMAGED],
  ['no time', `{"bootId":"${BOOT}","bootSeconds":"990"}`, DAMAGED],
  ['a time that cannot be', `{"bootId":"${BOOT}","bootSeconds":-5}`, DAMAGED],
  ['a fault that is none', `{"bootId":"${BOOT}","bootSeconds":990,"fault":true}`, DAMAGED],
  ['fields of a newer release', `{"bootId":"${BOOT}","bootSeconds":990,"more":{}}`, HOPE],
];

for (const [what, text, expected] of CASES) {
  test(`a sign of life: ${what}`, (t) => {
    t.deepEqual(outlookOf(text, NOW, AWAY_SECONDS), expected);
  });
}

test("for how long a helper may be away is the configuration's", (t) => {
  const text = written({ bootSeconds: 700 });
  t.deepEqual(outlookOf(text, NOW, 300), HOPE);
  t.deepEqual(outlookOf(text, NOW, 299), none('it has been away for 300 s'));
});
