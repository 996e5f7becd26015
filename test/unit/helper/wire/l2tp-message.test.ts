import test from 'ava';
import { encodePayload, type AttributeWriter } from '../../../../helper/wire/attributes.ts';
import {
  decodeL2tpSession,
  decodeL2tpTunnel,
  encodeL2tpSessionQuery,
  encodeL2tpTunnelQuery,
} from '../../../../helper/wire/l2tp-message.ts';
import { decodesAnything } from '../../../kit/wire.ts';

const GENLMSGHDR_BYTES = 4;

function message(write: (attributes: AttributeWriter) => void): Buffer {
  return encodePayload(Buffer.alloc(GENLMSGHDR_BYTES), write);
}

function u16(number: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16LE(number);
  return bytes;
}

test('a tunnel says what is around its packets, a session what is in front of its frames', (t) => {
  const tunnel = message((attributes) => {
    attributes.u32(9, 3);
    attributes.u8(7, 3);
    attributes.bytes(2, u16(0));
    attributes.bytes(32, Buffer.alloc(16, 1));
  });
  t.deepEqual(decodeL2tpTunnel(tunnel), { id: 3, version: 3, isInUdp: true, isOuterIpv6: true });
  const inIp = message((attributes) => {
    attributes.u32(9, 4);
    attributes.u8(7, 2);
    attributes.bytes(2, u16(1));
  });
  t.deepEqual(decodeL2tpTunnel(inIp), { id: 4, version: 2, isInUdp: false, isOuterIpv6: false });
  const session = message((attributes) => {
    attributes.u32(9, 3);
    attributes.bytes(1, u16(5));
    attributes.string(8, 'l2tpeth0');
    attributes.bytes(15, Buffer.alloc(8));
    attributes.u8(19, 1);
  });
  t.deepEqual(decodeL2tpSession(session), {
    ...{ tunnelId: 3, ifname: 'l2tpeth0', isPpp: false, cookieBytes: 8, hasSequence: true },
  });
  const ppp = message((attributes) => attributes.bytes(1, u16(7)));
  t.deepEqual(decodeL2tpSession(ppp), {
    tunnelId: 0,
    isPpp: true,
    cookieBytes: 0,
    hasSequence: false,
  });
});

test('both are asked for by their commands', (t) => {
  t.deepEqual([...encodeL2tpTunnelQuery()], [4, 1, 0, 0]);
  t.deepEqual([...encodeL2tpSessionQuery()], [8, 1, 0, 0]);
});

test('L2TP messages may be any bytes', (t) => {
  decodesAnything(t, decodeL2tpTunnel, GENLMSGHDR_BYTES);
  decodesAnything(t, decodeL2tpSession, GENLMSGHDR_BYTES);
});
