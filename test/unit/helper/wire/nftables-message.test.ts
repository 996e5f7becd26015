import test from 'ava';
import { decodeForwardChain } from '../../../../helper/wire/nftables-message.ts';

/** An attribute of netlink: length, type, value, padding. */
function attribute(type: number, value: Buffer): Buffer {
  const head = Buffer.alloc(4);
  head.writeUInt16LE(4 + value.length, 0);
  head.writeUInt16LE(type, 2);
  return Buffer.concat([head, value, Buffer.alloc((4 - (value.length % 4)) % 4)]);
}

const text = (value: string): Buffer => Buffer.from(`${value}\0`);
const number = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};

interface Chain {
  readonly family?: number;
  readonly hook?: number;
  readonly rules?: number;
  readonly policy?: number;
}

function chain({ family = 2, hook, rules = 1, policy = 1 }: Chain): Buffer {
  const base =
    hook === undefined
      ? []
      : [
          attribute(0x8004, Buffer.concat([attribute(1, number(hook)), attribute(2, number(100))])),
          attribute(5, number(policy)),
          attribute(7, text('nat')),
        ];
  return Buffer.concat([
    Buffer.from([family, 0, 0, 0]),
    attribute(1, text('nat')),
    attribute(3, text('POSTROUTING')),
    ...base,
    attribute(6, number(rules)),
  ]);
}

test('a chain that forwarded packets pass has a name that nft takes', (t) => {
  t.deepEqual(decodeForwardChain(chain({ hook: 4 })), {
    name: 'ip nat POSTROUTING',
    hook: 'postrouting',
    type: 'nat',
  });
  t.is(decodeForwardChain(chain({ family: 1, hook: 2 }))?.name, 'inet nat POSTROUTING');
  t.is(decodeForwardChain(chain({ family: 10, hook: 0 }))?.hook, 'prerouting');
});

test('chains that forwarded packets do not pass, or that let all pass, are left out', (t) => {
  t.is(decodeForwardChain(chain({})), undefined);
  t.is(decodeForwardChain(chain({ hook: 1 })), undefined);
  t.is(decodeForwardChain(chain({ hook: 3 })), undefined);
  t.is(decodeForwardChain(chain({ family: 3, hook: 2 })), undefined);
  t.is(decodeForwardChain(chain({ hook: 2, rules: 0 })), undefined);
  t.not(decodeForwardChain(chain({ hook: 2, rules: 0, policy: 0 })), undefined);
});
