import test from 'ava';
import { isSameState } from '../../../../helper/control/map-watch.ts';

const RECORDS = [{}];
const STATE = [RECORDS, true, 'text', undefined, Buffer.from('image')] as const;

test('a state is the same by the bytes of its images and by the identity of all else', (t) => {
  t.true(isSameState(STATE, [RECORDS, true, 'text', undefined, Buffer.from('image')]));
});

const OTHERS: Readonly<Record<string, readonly unknown[]>> = {
  'other records that say the same': [[{}], ...STATE.slice(1)],
  'a page that is gone': [RECORDS, false, ...STATE.slice(2)],
  'another text': [...STATE.slice(0, 2), 'texts', ...STATE.slice(3)],
  'an image where there was none': [...STATE.slice(0, 3), Buffer.alloc(0), STATE[4]],
  'an image of another length': [...STATE.slice(0, 4), Buffer.from('imag')],
  'an image with another byte': [...STATE.slice(0, 4), Buffer.from('imagE')],
  'one image more': [...STATE, Buffer.alloc(0)],
  'nothing known': [],
};

for (const [what, other] of Object.entries(OTHERS))
  test(`${what}: another state`, (t) => {
    t.false(isSameState(STATE, other));
    t.false(isSameState(other, STATE));
  });
