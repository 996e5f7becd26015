// Host routing on nodes of their own: what hangs on other plugins and on the helper's life, and on
// no kernel.

import test from 'ava';
import { UndoStack } from '../bed/undo.ts';
import {
  ALL_ANSWERED,
  forwardedDuring,
  makeRoutingScene,
  PEER_IPV4,
  PEER_IPV6,
  ping,
  POD_IPV4,
  POD_IPV6,
  run,
} from '../kit/routing-scene.ts';

test.serial('pods of another plugin are routed past the stack as well', async (t) => {
  t.timeout(300_000);
  const undo = UndoStack.of(t);
  const chained = await makeRoutingScene({ keys: { hostRouting: true }, behind: 'ptp' }, undo);
  for (const to of [PEER_IPV4, PEER_IPV6]) t.is(await forwardedDuring(t, chained, to), 0, to);
  for (const to of [POD_IPV4[0], POD_IPV6[0]])
    t.is(await forwardedDuring(t, chained, to, { isFromPeer: true }), 0, to);
  await chained.call('check');
});

test.serial('an address that somebody else got while the helper was down is theirs', async (t) => {
  t.timeout(300_000);
  const undo = UndoStack.of(t);
  const lone = await makeRoutingScene({ keys: { hostRouting: true } }, undo);
  t.is(await forwardedDuring(t, lone, POD_IPV4[0], { isFromPeer: true }), 0);
  await lone.helper.stop();
  await lone.call('del');
  for (const address of [POD_IPV4[0], POD_IPV6[0]]) {
    run(lone.bed.node, 'ip', 'address', 'add', address, 'dev', 'lo');
    t.regex(await ping(lone, address, { isFromPeer: true }), ALL_ANSWERED);
  }
});
