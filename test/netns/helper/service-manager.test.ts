// What podpaced tells the service manager that started it, on a real socket.

import fs from 'node:fs';
import path from 'node:path';
import test from 'ava';
import { inNetns } from '../../../helper/kernel/netns.ts';
import { PODPACED } from '../../bed/helper.ts';
import { makeHelperDirectories, startOwnHelper } from '../../kit/helper.ts';
import { makeNetns } from '../../kit/netns.ts';
import { listenForNotices } from '../../kit/notify-socket.ts';
import { until } from '../../kit/wish-scene.ts';

/** Of both kinds that sd_notify(3) knows. */
const PLACES = {
  'a path': (directory: string) => path.join(directory, 'notify'),
  'an abstract name': () => `@podpace-test-${process.pid}`,
};

for (const [kind, placeIn] of Object.entries(PLACES)) {
  test.serial(`readiness, looks and the end are told at ${kind}`, async (t) => {
    const directories = makeHelperDirectories(t);
    fs.mkdirSync(directories.run, { recursive: true });
    const place = placeIn(directories.run);
    const node = makeNetns(t);
    // Abstract names are those of a network namespace.
    const received = inNetns(node.netns, () => listenForNotices(t, place));
    const podpaced = path.join(directories.run, 'podpaced');
    const environment = `NOTIFY_SOCKET=${place} WATCHDOG_USEC=120000000`;
    fs.writeFileSync(podpaced, `#!/bin/sh\n${environment} exec ${PODPACED} "$@"\n`, {
      mode: 0o755,
    });
    const helper = await startOwnHelper(t, node, directories, [], podpaced);
    const notices: string[] = [];
    const hears = (notice: string): Promise<void> =>
      until(t, notice, () => {
        notices.push(...received());
        return notices.includes(notice);
      });
    await hears('READY=1');
    await hears('WATCHDOG=1');
    t.is(notices[0], 'STATUS=Brings the node to its records');
    const [ready, watched] = ['READY=1', 'WATCHDOG=1'].map((one) => notices.indexOf(one));
    t.true((ready ?? 0) < (watched ?? 0), notices.join(', '));
    // Of a node without any pod.
    t.regex(
      notices.findLast((one) => one.startsWith('STATUS=')) ?? '',
      /^STATUS=(All caps are enforced|\d+ problems?, see podpaced status: .+)$/,
    );
    await helper.end('SIGTERM');
    await hears('STOPPING=1\nSTATUS=Stopped; caps stay in force');
    t.notRegex(helper.log(), /service manager/);
  });
}
