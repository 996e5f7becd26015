import test from 'ava';
import { encodeNeighbour } from '../../../../helper/wire/neighbour-message.ts';
import { hex } from '../../../kit/wire.ts';

test('encodeNeighbour writes ndmsg, NDA_DST and NDA_LLADDR', (t) => {
  const payload = encodeNeighbour({ ifindex: 5, address: '10.0.0.1', mac: '02:00:00:00:00:01' });
  t.deepEqual(payload, hex('02000000 05000000 80000000 080001000a000001 0a000200020000000001'));
});

test('encodeNeighbour takes IPv6', (t) => {
  const payload = encodeNeighbour({ ifindex: 1, address: 'fe80::1', mac: '02:00:00:00:00:01' });
  t.is(payload.readUInt8(0), 10);
  t.is(payload.subarray(16, 32).toString('hex'), 'fe800000000000000000000000000001');
});
