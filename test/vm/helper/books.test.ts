// What leaves past every exit, by no way that the helper knows of: the books tell, and name the pod
// and the device. Here by filters and by tcx; what else there is to it is shown in test/netns.

import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import {
  addDevice,
  ELSEWHERE,
  leaks,
  makeBooksScene,
  PEER,
  redirect,
  requireNamed,
  startSending,
  TOLD_MS,
  untilLeaks,
  wayBy,
} from '../../kit/books-scene.ts';

test.serial(
  'a redirect past every exit is told of within 15 seconds, and so is a route by no uplink',
  async (t) => {
    t.timeout(600_000);
    const scene = await makeBooksScene(t, { pods: 2, flags: ['--uplink', 'uplink'] });
    const { helper, pods } = scene;
    addDevice(scene, 'leak0');
    wayBy(scene, 'eth1');
    const leave = await redirect(t, scene, pods[0]!, 'leak0');
    const stopRedirected = startSending(t, pods[0]!, PEER);
    const toldMs = await untilLeaks(helper, true, TOLD_MS);
    t.log(`a redirect: told after ${toldMs?.toFixed(0)} ms`);
    await requireNamed(t, helper, pods[0]!, 'leak0');
    await stopRedirected();
    await leave();

    const stopRouted = startSending(t, pods[1]!, ELSEWHERE);
    const isTold = async (): Promise<boolean> =>
      (await leaks(helper)).some((text) => text.includes('eth1'));
    const beginMs = performance.now();
    while (!(await isTold()) && performance.now() - beginMs < TOLD_MS) await sleep(200);
    t.log(
      `--uplink uplink, and a route by eth1: told after ${(performance.now() - beginMs).toFixed(0)} ms`,
    );
    t.true(await isTold());
    await stopRouted();
  },
);
