import test from 'ava';
import { formatMessage } from 'netlink/dist/structs.js';
import { encodePayload, WireError } from '../../../../helper/wire/attributes.ts';
import {
  decodeChannelEvents,
  decodeFamily,
  encodeFamilyQuery,
} from '../../../../helper/wire/ethtool-message.ts';

const FAMILY = 21;

/** A message of the family: `tx` and `combined` of the device with an index. */
function message(
  command: number,
  ifindex: number,
  tx?: number,
  combined?: number,
  type = FAMILY,
): Buffer {
  const data = encodePayload(Buffer.from([command, 1, 0, 0]), (attributes) => {
    attributes.nested(1, (header) => header.u32(1, ifindex));
    attributes.u32(7, tx);
    attributes.u32(9, combined);
  });
  return Buffer.concat(formatMessage({ type, flags: 0, seq: 0, port: 0, data }));
}

test('changes of channels are told apart from all else', (t) => {
  const datagram = Buffer.concat([
    message(19, 7, 2),
    message(17, 8, 2),
    message(19, 9, undefined, 4),
    message(19, 10, 1, 1, 22),
  ]);
  t.deepEqual(decodeChannelEvents(datagram, FAMILY), [
    { ifindex: 7, queues: 2 },
    { ifindex: 9, queues: 4 },
  ]);
  t.deepEqual(decodeChannelEvents(message(19, 7), FAMILY), [{ ifindex: 7, queues: 0 }]);
  t.throws(() => decodeChannelEvents(Buffer.alloc(5, 1), FAMILY), { instanceOf: WireError });
});

test('a family is known by its number and its group of changes', (t) => {
  const groups = ['other', 'monitor'];
  const answer = (id: Buffer | undefined): Buffer =>
    encodePayload(Buffer.alloc(4), (attributes) => {
      attributes.bytes(1, id);
      attributes.nested(7, (list) => {
        for (const [index, name] of groups.entries()) {
          list.nested(index + 1, (group) => {
            group.string(1, name);
            group.u32(2, 5 + index);
          });
        }
      });
    });
  t.deepEqual(decodeFamily(answer(Buffer.from([FAMILY, 0]))), { id: FAMILY, monitorGroup: 6 });
  t.throws(() => decodeFamily(answer(undefined)), { instanceOf: WireError });
  t.is(encodeFamilyQuery('ethtool').toString('latin1', 8), 'ethtool\0');
});
