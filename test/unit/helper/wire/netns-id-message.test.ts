import test from 'ava';
import { WireError } from '../../../../helper/wire/attributes.ts';
import { decodeNetnsId, encodeNetnsIdQuery } from '../../../../helper/wire/netns-id-message.ts';

test('a query names the descriptor', (t) => {
  t.is(encodeNetnsIdQuery(7).toString('hex'), '00000000' + '08000300' + '07000000');
});

test('an answer names the id, or says that there is none', (t) => {
  t.is(decodeNetnsId(Buffer.from('00000000' + '08000100' + '05000000', 'hex')), 5);
  t.is(decodeNetnsId(Buffer.from('00000000' + '08000100' + 'ffffffff', 'hex')), undefined);
  t.is(decodeNetnsId(Buffer.from('00000000', 'hex')), undefined);
  t.throws(() => decodeNetnsId(Buffer.from('0000', 'hex')), { instanceOf: WireError });
  t.throws(() => decodeNetnsId(Buffer.from('00000000' + '06000100' + '05000000', 'hex')), {
    instanceOf: WireError,
  });
});
