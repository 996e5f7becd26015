import test from 'ava';
import fc from 'fast-check';
import {
  encodeAttributes,
  encodePayload,
  type AttributeWriter,
} from '../../../../helper/wire/attributes.ts';
import { encodeAddress } from '../../../../helper/wire/ip-address.ts';
import { decodeLink } from '../../../../helper/wire/link-message.ts';
import { decodeTunnel, type Tunnel } from '../../../../helper/wire/tunnel.ts';
import { anyBytes, nearlyMessages } from '../../../kit/arbitraries.ts';

const IFINFOMSG_BYTES = 16;
const [LOCAL, REMOTE] = [encodeAddress('192.0.2.1'), encodeAddress('192.0.2.2')];
const REMOTE6 = encodeAddress('2001:db8::2');

function u16(number: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16LE(number);
  return bytes;
}

const big16 = (number: number): Buffer => u16(number).swap16();

/**
 * IFLA_INFO_DATA by kind, with the numbers of linux/if_link.h and linux/if_tunnel.h, and what is
 * made of it.
 */
const TUNNELS: readonly (readonly [string, (data: AttributeWriter) => void, Tunnel])[] = [
  [
    'ipip',
    (data) => {
      data.u32(1, 4);
      data.bytes(2, LOCAL);
      data.bytes(3, REMOTE);
      data.bytes(15, u16(2));
      data.bytes(16, u16(4));
      data.u32(20, 9);
    },
    {
      ...{ linkIndex: 4, local: '192.0.2.1', remote: '192.0.2.2', mark: 9 },
      udp: { type: 'gue', hasRemoteChecksum: true },
    },
  ],
  ['ipip', (data) => data.bytes(19, Buffer.alloc(0)), { isExternal: true }],
  ['ipip', (data) => data.bytes(3, Buffer.alloc(4)), {}],
  ['ip6tnl', (data) => data.u32(8, 0), { isOuterIpv6: true, hasEncapsulationLimit: true }],
  ['ip6tnl', (data) => data.u32(8, 1), { isOuterIpv6: true }],
  [
    'gre',
    (data) => {
      data.bytes(3, big16(0x2000 | 0x1000));
      data.bytes(7, REMOTE);
      data.bytes(14, u16(1));
      data.bytes(15, u16(0));
    },
    { greFields: 2, remote: '192.0.2.2', udp: { type: 'fou', hasRemoteChecksum: false } },
  ],
  ['gretap', (data) => data.bytes(3, big16(0x8000)), { greFields: 1 }],
  [
    'ip6gre',
    (data) => {
      data.bytes(7, REMOTE6);
      data.u32(13, 2);
    },
    { isOuterIpv6: true, remote: '2001:db8::2', hasEncapsulationLimit: true },
  ],
  [
    'erspan',
    (data) => {
      data.bytes(3, big16(0x2000 | 0x1000));
      data.u8(22, 2);
    },
    { greFields: 2, erspanVersion: 2 },
  ],
  [
    'vti',
    (data) => {
      data.bytes(3, Buffer.from([0, 0, 0, 9]));
      data.bytes(5, REMOTE);
    },
    { outKey: 9, remote: '192.0.2.2' },
  ],
  ['vxlan', (data) => data.bytes(16, REMOTE6), { isOuterIpv6: true, remote: '2001:db8::2' }],
  [
    'vxlan',
    (data) => {
      data.u32(3, 5);
      data.bytes(17, REMOTE6);
      data.u8(25, 0);
    },
    { isOuterIpv6: true, linkIndex: 5 },
  ],
  ['vxlan', (data) => data.u8(25, 1), { isExternal: true }],
  ['geneve', (data) => data.bytes(7, REMOTE6), { isOuterIpv6: true, remote: '2001:db8::2' }],
  ['geneve', (data) => data.bytes(6, Buffer.alloc(0)), { isExternal: true }],
  [
    'macsec',
    (data) => {
      data.u8(3, 12);
      data.u8(9, 0);
      data.u8(10, 1);
    },
    { icvBytes: 12, sci: false },
  ],
  ['macsec', (data) => data.u8(9, 1), { sci: true }],
  // It sends its identifier when it hears several others.
  ['macsec', (data) => data.u8(9, 0), {}],
  ['hsr', (data) => data.u32(1, 6), { linkIndex: 6 }],
  ['hsr', (data) => data.u8(7, 1), { isPrp: true }],
  ['xfrm', (data) => data.u32(2, 7), { ifId: 7 }],
  ['xfrm', (data) => data.bytes(3, Buffer.alloc(0)), { isExternal: true }],
];

for (const [index, [kind, write, expected]] of TUNNELS.entries()) {
  test(`tunnel ${index}, ${kind}: ${JSON.stringify(expected)}`, (t) => {
    t.deepEqual(decodeTunnel(kind, encodeAttributes(write)), expected);
  });
}

test('other kinds have no description, and one that cannot be read is none', (t) => {
  t.is(decodeTunnel(undefined, Buffer.alloc(0)), undefined);
  t.is(decodeTunnel('constructor', Buffer.alloc(0)), undefined);
  t.is(decodeTunnel('gre', undefined), undefined);
  const data = encodeAttributes((attributes) => attributes.bytes(1, Buffer.alloc(3)));
  t.is(decodeTunnel('gre', data), undefined);
});

test('no bytes end a list of devices', (t) => {
  const kinds = fc.constantFrom(...new Set(TUNNELS.map(([kind]) => kind)));
  fc.assert(
    fc.property(kinds, fc.oneof(anyBytes, nearlyMessages(0)), (kind, data) => {
      t.notThrows(() => decodeTunnel(kind, data));
    }),
  );
});

test('a link has the room that it asks for, and is known to have nothing behind it', (t) => {
  const of = (
    write: (attributes: AttributeWriter) => void,
    flags = 0,
  ): ReturnType<typeof decodeLink> => {
    const header = Buffer.alloc(IFINFOMSG_BYTES);
    header.writeUInt32LE(flags, 8);
    return decodeLink(encodePayload(header, write));
  };
  const rooms = of((link) => {
    link.bytes(68, u16(62));
    link.bytes(69, u16(16));
  });
  t.like(rooms, { headroomBytes: 62, tailroomBytes: 16, isUnbacked: true });
  const none = of((link) => link.bytes(68, u16(0)));
  t.is(none.headroomBytes, undefined);
  // A kernel that says it otherwise is not misread, and its devices are listed all the same.
  t.is(of((link) => link.u32(68, 62)).headroomBytes, undefined);
  t.is(of((link) => link.string(56, '0000:00:03.0')).isUnbacked, undefined);
  const ofKind = of((link) => link.nested(18, (info) => info.string(1, 'ipip')));
  t.is(ofKind.isUnbacked, undefined);
  t.is(of(() => undefined, 8).isUnbacked, undefined, 'loopback');
});
