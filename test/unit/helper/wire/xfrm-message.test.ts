import test from 'ava';
import { encodePayload, type AttributeWriter } from '../../../../helper/wire/attributes.ts';
import { encodeAddress } from '../../../../helper/wire/ip-address.ts';
import { decodeXfrmState } from '../../../../helper/wire/xfrm-message.ts';
import { decodesAnything } from '../../../kit/wire.ts';

const USERSA_INFO_BYTES = 224;
const [ESP, AH] = [50, 51];
const [IPV4, IPV6] = [2, 10];

/**
 * struct xfrm_algo_auth and xfrm_algo_aead: name, bits of the key, bits of the check value, key.
 */
function algorithm(name: string, checkBits: number): Buffer {
  const bytes = Buffer.alloc(72 + 20);
  bytes.write(name, 'latin1');
  bytes.writeUInt32LE(160, 64);
  bytes.writeUInt32LE(checkBits, 68);
  return bytes;
}

interface State {
  readonly protocol?: number;
  readonly family?: number;
  readonly mode?: number;
  readonly destination?: string;
}

function state(
  write: (attributes: AttributeWriter) => void,
  { protocol = ESP, family = IPV4, mode = 1, destination = '192.0.2.2' }: State = {},
): Buffer {
  const header = Buffer.alloc(USERSA_INFO_BYTES);
  encodeAddress(destination).copy(header, 56);
  header.writeUInt8(protocol, 76);
  header.writeUInt16LE(family, 212);
  header.writeUInt8(mode, 214);
  return encodePayload(header, write);
}

test('a state says how long its packets are', (t) => {
  const mark = Buffer.alloc(8);
  mark.writeUInt32LE(9);
  mark.writeUInt32LE(0xff, 4);
  const aead = state((attributes) => {
    attributes.bytes(18, algorithm('rfc4106(gcm(aes))', 128));
    attributes.u32(31, 7);
    attributes.bytes(21, mark);
  });
  t.deepEqual(decodeXfrmState(aead), {
    ...{ destination: '192.0.2.2', isIpv6: false, isTunnel: true, icvBytes: 16, isInUdp: false },
    ...{ cipher: 'rfc4106(gcm(aes))', ifId: 7, mark: { value: 9, mask: 0xff } },
  });
  const parts = state(
    (attributes) => {
      attributes.bytes(2, algorithm('cbc(aes)', 0));
      attributes.bytes(20, algorithm('hmac(sha1)', 96));
      attributes.bytes(4, Buffer.alloc(24));
    },
    { family: IPV6, mode: 0, destination: '2001:db8::2' },
  );
  t.deepEqual(decodeXfrmState(parts), {
    ...{ destination: '2001:db8::2', isIpv6: true, isTunnel: false, icvBytes: 12, isInUdp: true },
    cipher: 'cbc(aes)',
  });
});

test('what is no ESP, or only received, is left out', (t) => {
  t.is(decodeXfrmState(state(() => undefined, { protocol: AH })), undefined);
  t.is(decodeXfrmState(state((attributes) => attributes.u8(33, 1))), undefined);
  t.not(decodeXfrmState(state((attributes) => attributes.u8(33, 2))), undefined);
});

test('decodeXfrmState takes any bytes', (t) => {
  decodesAnything(t, decodeXfrmState, USERSA_INFO_BYTES);
});
