import test from 'ava';
import fc from 'fast-check';
import { encodeAttributes } from '../../../../helper/wire/attributes.ts';
import {
  decodeBpfFilterOptions,
  decodeFilterInfo,
  decodeTcObject,
  encodeFilterInfo,
  encodeTcRequest,
  hookParent,
  writeBpfFilterOptions,
} from '../../../../helper/wire/tc-message.ts';
import { text } from '../../../kit/any-text.ts';
import { anyBytes, u32 } from '../../../kit/arbitraries.ts';
import { decodesAnything, hex } from '../../../kit/wire.ts';

test('decodeTcObject returns what encodeTcRequest wrote', (t) => {
  const object = fc.record({
    ifindex: fc.nat(0x7fff_ffff),
    handle: u32,
    parent: u32,
    info: u32,
    kind: text,
    options: anyBytes,
  });
  fc.assert(
    fc.property(object, (value) => {
      t.deepEqual(decodeTcObject(encodeTcRequest(value)), { ...value, chain: 0 });
    }),
  );
});

test('decodeTcObject takes any bytes', (t) => {
  decodesAnything(t, decodeTcObject, 20);
});

test('decodeBpfFilterOptions takes any bytes', (t) => {
  decodesAnything(t, decodeBpfFilterOptions, 0);
});

test('decodeFilterInfo reverses encodeFilterInfo', (t) => {
  fc.assert(
    fc.property(fc.nat(0xffff), fc.nat(0xffff), (priority, protocol) => {
      t.deepEqual(decodeFilterInfo(encodeFilterInfo(priority, protocol)), { priority, protocol });
    }),
  );
});

test('encodeFilterInfo puts the protocol in network order below the priority', (t) => {
  t.is(encodeFilterInfo(1, 0x0003), 0x0001_0300);
  t.is(encodeFilterInfo(0xc001, 0x0800), 0xc001_0008);
});

test('hookParent is the minor that pkt_sched.h gives the hook', (t) => {
  t.is(hookParent('ingress'), 0xffff_fff2);
  t.is(hookParent('egress'), 0xffff_fff3);
});

test('writeBpfFilterOptions asks for direct action', (t) => {
  const options = writeBpfFilterOptions({ programFd: 9, name: 'depart' });
  t.deepEqual(options, hex('0800060009000000 0b0007006465706172740000 0800080001000000'));
  t.like(decodeBpfFilterOptions(options), { name: 'depart', directAction: true });
});

test('decodeBpfFilterOptions reads the id and the tag', (t) => {
  const options = encodeAttributes((attributes) => {
    attributes.string(7, 'depart');
    attributes.u32(11, 42);
    attributes.bytes(10, Buffer.from('0123456789abcdef', 'hex'));
  });
  t.deepEqual(decodeBpfFilterOptions(options), {
    name: 'depart',
    programId: 42,
    programTag: '0123456789abcdef',
    directAction: false,
  });
});
